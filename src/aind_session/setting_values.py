"""Read `.env` files, and parse the values of settings.

No error contains a value: it may be a secret set by mistake.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_TOKEN = re.compile(r"cop_[A-Z0-9]{20,}", re.IGNORECASE)
_HOST = re.compile(r"(?!.*\.\.)[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.IGNORECASE)
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|\[::1\]")


class InvalidValueError(ValueError):
    """Why a value is not valid, without the value."""


def bare(text: str) -> str:
    """Remove white space and quotes around a value."""
    return text.strip(" \t\r\n\v\f\xa0\"'")


def looks_like_token(value: str) -> bool:
    """Return True if a value has the form of a Code Ocean token.

    Examples
    --------
    >>> looks_like_token("cop_7fq2Xk0aB3dZ9LmN4sT6")
    True
    >>> looks_like_token("cop_police_department")
    False
    """
    return _TOKEN.fullmatch(bare(value)) is not None


def may_be_token(value: str) -> bool:
    """Return True if a value begins like a Code Ocean token.

    Examples
    --------
    >>> may_be_token("COP_police_department"), may_be_token("copper")
    (True, False)
    """
    text = bare(value)
    return text[:4].lower() == "cop_" and len(text) > 4


def unsendable(token: str) -> str:
    """Return the kind of the first character that cannot be part of a token, or ""."""
    for character in token:
        if character in "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb":
            return "a curly quotation mark"
        if character.isspace():
            return "white space"
        if not character.isprintable():
            return "an invisible character"
        if not character.isascii():
            return "a character outside ASCII"
    return ""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How a setting's text is read, and a description of the valid values."""

    read: Callable[[str], T]
    expected: str


def number(least: float, most: float, unit: str = "number of seconds") -> Kind[float]:
    """Return the kind of numbers in a range; NaN is not in it."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise InvalidValueError
        return value

    return Kind(read, f"a {unit} from {least:g} to {most:.0f}")


def count(least: int, most: int) -> Kind[int]:
    """Return the kind of whole numbers in a range."""
    kind = number(least, most, "whole number")

    def read(text: str) -> int:
        value = kind.read(text)
        if value != int(value):
            raise InvalidValueError
        return int(value)

    return Kind(read, kind.expected)


def time_zone(text: str) -> str:
    """Return the name of a time zone."""
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise InvalidValueError("it is not a known time zone") from None
    return text


def clean_url(text: str) -> str:
    """Return scheme, host, port and path of a URL, without `/api/v1` and slashes at its end."""
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        host, colon, port = parts.netloc.lower().rpartition(":")
        if not colon or "]" in port:
            host, colon, port = parts.netloc.lower(), "", ""
    except ValueError:
        raise InvalidValueError("it is not a URL") from None
    if re.search(r"[\s\x00-\x1f]", text):
        raise InvalidValueError("it contains white space")
    if "@" in text:
        raise InvalidValueError("it contains a user name or password, which are never used")
    if parts.scheme not in ("https", "http"):
        raise InvalidValueError("its scheme is not https")
    if not _HOST.fullmatch(host):
        raise InvalidValueError("its host name is not valid")
    if colon and not (
        port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536
    ):
        raise InvalidValueError("its port is not a number from 1 to 65535")
    if parts.query or parts.fragment:
        raise InvalidValueError("it contains a query or fragment")
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(host):
        raise InvalidValueError("https only, except on this machine")
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
    return f"{parts.scheme}://{host}{colon}{port}{path}"


def clean_host(text: str) -> str:
    """Return a URL like `clean_url`, without `https://`."""
    return clean_url(text).removeprefix("https://")


def check_url(text: str) -> str:
    """Return why a text is not a valid URL, without showing it; "" if it is one."""
    try:
        clean_url(text)
    except InvalidValueError as error:
        return str(error) or "it is not valid"
    return ""


def bucket_names(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas, each once."""
    names = (bare(name).removeprefix("s3://").rstrip("/") for name in text.split(","))
    found = tuple(dict.fromkeys(filter(None, names)))
    if not found:
        raise InvalidValueError("it contains no name")
    if not all(re.fullmatch(r"[A-Za-z0-9._-]{1,255}", name) for name in found):
        raise InvalidValueError("it contains a name that no bucket can have")
    return found


# -- files -----------------------------------------------------------------------------------------

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class EnvFile:
    """A `.env` file; `problem` is the reason if it could not be read."""

    path: str
    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""


def env_files() -> Iterator[EnvFile]:
    """Yield the `.env` files of the working directory, its parents up to the root, and home."""
    here, home = _path_of(Path.cwd), _path_of(Path.home)
    seen: set[Path] = set()
    for folder in (here, *here.parents) if here is not None else ():
        # The project's root is the first folder with `.git` or `pyproject.toml`; a file above it
        # is not the project's. Without a root only the working directory itself is searched.
        candidate = folder / ".env"
        if candidate not in seen and os.path.isfile(candidate):
            seen.add(candidate)
            yield _read_file(candidate)
        if folder == home or _is_root(folder):
            break
        if folder == here and not any(map(_is_root, here.parents)):
            break
    if home is not None and (home / ".env") not in seen and os.path.isfile(home / ".env"):
        yield _read_file(home / ".env")


def _path_of(find: Callable[[], Path]) -> Path | None:
    """Return a folder, or None if it was deleted or the user of a container has none."""
    try:
        return find()
    except (OSError, RuntimeError):
        return None


def _is_root(folder: Path) -> bool:
    # `os.path.exists` is False for a folder without read permission; `Path.exists` raises.
    return any(os.path.exists(folder / name) for name in (".git", "pyproject.toml"))


def _read_file(path: Path) -> EnvFile:
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        return EnvFile(str(path), problem=error.strerror or type(error).__name__)
    except UnicodeError:
        return EnvFile(str(path), problem="it is neither UTF-8 nor UTF-16 text")
    from dotenv import dotenv_values

    # Without interpolation: a file cannot copy a secret of the environment into its own values.
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return EnvFile(str(path), {name: value for name, value in values.items() if value})


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:
        # UTF-16 without a mark: every second byte of ASCII text is zero.
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    text = data.decode(encoding)
    if "\0" in text:
        raise UnicodeError("binary content")
    return text
