"""What a recording leaves out: every secret, and people's names unless they are requested.

A name becomes a placeholder that is always the same for it (``Person 1c9e06ab``), so that the
questions "whose" and "how many" keep their answers. Whoever has a name can find out whether it is
in a recording, but a name cannot be read out of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any

from aind_session import settings
from aind_session.services.redact import HIDDEN, scrub

#: Keys, without case and punctuation, whose texts are names of people.
PEOPLE = frozenset(
    {
        *("experimenter", "experimenters", "experimenterfullname", "experimentername"),
        *("keyexperimenters", "investigator", "investigators", "principalinvestigator"),
        *("evaluator", "reviewer", "curator", "annotator", "analystfullname", "fundee"),
        *("processorfullname", "surgeon", "owner", "owneremail", "useremail", "username"),
        *("createdby", "submittedby", "author", "authors"),
    }
)
#: Keys of an object that describes a person.
_OF_A_PERSON = frozenset(
    {"name", "fullname", "firstname", "lastname", "email", "registryidentifier", "orcid"}
)
_SECRET_KEYS = frozenset(
    {"password", "secret", "token", "apikey", "apitoken", "accesskey", "secretaccesskey"}
    | {"awssecretaccesskey", "awssessiontoken", "authorization", "sessiontoken"}
)

_PLACEHOLDER = re.compile(
    r"Person [0-9a-f]{8}|person-[0-9a-f]{8}@example\.org|[0-9a-f]{8}-0000-0000-0000-0{12}"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EMAIL = re.compile(
    r"\b(?!git@)[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b"
)
# The query of a link that is signed, and who logs in at an address.
_SIGNED = re.compile(
    r"(https?://[^\s\"'<>?\\]+)\?[^\s\"'<>\\]*"
    r"(?:signature|x-amz-|credential|sig=|token|accesskey|password)[^\s\"'<>\\]*",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?<=://)[^\s/@\"'<>]+:[^\s/@\"'<>]+@")
_KEYS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[oprsu]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
)
_ASSIGNED = re.compile(
    r"((?:password|secret|token|api_?key|access_?key|authorization)[\"']?\s*[:=]\s*[\"']?"
    r"(?:basic\s+|bearer\s+)?)[A-Za-z0-9/+=_.-]{12,}",
    re.IGNORECASE,
)


class Scrubber:
    """Removes secrets, and people's names, from recorded data.

    Parameters
    ----------
    names
        Whether people's names are kept.
    """

    def __init__(self, names: bool) -> None:
        self.names = names
        self._secrets = _own_secrets()

    def entry(self, entry: Any) -> Any:
        """Return an asset, a computation or a record without secrets and names."""
        found: set[str] = set()
        cleaned = self._walk(entry, False, found)
        # Names also occur in notes and file names of the same record.
        return _replaced(cleaned, found) if found else cleaned

    def file(self, path: str, text: str) -> str:
        """Return a file's text without secrets and names."""
        try:
            content = json.loads(text) if path.endswith((".json", ".zattrs")) else None
        except (ValueError, RecursionError):
            content = None
        if content is None:
            return self._text(text)
        cleaned = self.entry(content)
        if cleaned == content:
            return text
        indented = re.match(r"[{\[]\r?\n( *)", text)
        indent = len(indented[1]) if indented else None
        separators = None if indented or '": ' in text[:200] else (",", ":")
        return json.dumps(cleaned, ensure_ascii=False, indent=indent, separators=separators)

    def _walk(self, value: Any, is_person: bool, found: set[str]) -> Any:
        if isinstance(value, str):
            if is_person and not self.names and value.strip():
                if " " in value.strip() and not _PLACEHOLDER.fullmatch(value):
                    found.add(value.strip())
                return placeholder(value)
            return self._text(value)
        if isinstance(value, list):
            return [self._walk(each, is_person, found) for each in value]
        if isinstance(value, dict):
            return {
                self._text(key): self._member(key, each, is_person, found)
                for key, each in value.items()
            }
        return value

    def _member(self, key: str, value: Any, is_person: bool, found: set[str]) -> Any:
        plain = re.sub("[^a-z]", "", key.lower())
        if plain in _SECRET_KEYS and isinstance(value, str) and value:
            return HIDDEN
        return self._walk(value, plain in (_OF_A_PERSON if is_person else PEOPLE), found)

    def _text(self, text: str) -> str:
        text = scrub(text, self._secrets)
        if "://" in text:
            text = _LOGIN.sub("", _SIGNED.sub(r"\1", text))
        text = _ASSIGNED.sub(rf"\1{HIDDEN}", _KEYS.sub(HIDDEN, text))
        if not self.names and "@" in text:
            text = _EMAIL.sub(lambda match: placeholder(match[0]), text)
        return text


def placeholder(name: str) -> str:
    """Return the placeholder of a person: always the same for a name, in the form of the name.

    Examples
    --------
    >>> placeholder("A. Person") == placeholder(" a. person"), placeholder("Person 0a1b2c3d")
    (True, 'Person 0a1b2c3d')
    """
    if _PLACEHOLDER.fullmatch(name):
        return name
    plain = " ".join(name.split()).casefold()
    digest = hashlib.sha256(f"aind-session {plain}".encode()).hexdigest()[:8]
    if _UUID.fullmatch(name):
        return f"{digest}-0000-0000-0000-{'0' * 12}"
    return f"person-{digest}@example.org" if "@" in name else f"Person {digest}"


def _replaced(value: Any, names: set[str]) -> Any:
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in longest_first))

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda match: placeholder(match[0]), value)
        if isinstance(value, list):
            return [walk(each) for each in value]
        if isinstance(value, dict):
            return {key: walk(each) for key, each in value.items()}
        return value

    return walk(value)


def _own_secrets() -> tuple[str, ...]:
    """Return the secrets of this process, to be removed wherever they occur."""
    token = settings.current().token
    names = (settings.TOKEN_NAME, "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    found = [os.environ.get(name, "") for name in names]
    found += [token.value] if token is not None and not token.problem else []
    # A short one would hide half of the words.
    return tuple(secret for secret in found if len(secret) >= 16)
