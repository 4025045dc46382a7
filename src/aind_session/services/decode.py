"""Decoding of the services' JSON, such that one invalid value does not lose the others."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from aind_session.errors import AindSessionError, BadAnswerError
from aind_session.services.redact import without_text

log = logging.getLogger("aind_session.services")

#: Raised by decoders for JSON that they cannot decode; RecursionError for deep nesting.
UNDECODABLE = (ValueError, RecursionError)

# A string, closed or not, or a structural character: linear time, whatever the input.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{},]', re.DOTALL)
_KEY = re.compile(rb'\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:', re.DOTALL)
#: Digits of the largest int that msgspec decodes.
_MAX_DIGITS = 300
_list = msgspec.json.Decoder(list[msgspec.Raw])


def decode_strict(raw: bytes, *, null_if_infinite: bool = False) -> tuple[Any, bytes]:
    """Decode JSON; return it with JSON that every decoder accepts, null for `NaN` and `Infinity`.

    Raises `ValueError` or `RecursionError` if it is not JSON, contains half of a surrogate pair or
    a number out of range (such as 1e400; null with `null_if_infinite`), or is nested too deeply.
    """
    try:
        return msgspec.json.decode(raw), raw
    except UNDECODABLE:
        pass

    def whole(text: str) -> int:
        if len(text) > _MAX_DIGITS:
            raise ValueError(f"a number out of range, {text[:20]}...")
        return int(text)

    def decimal(text: str) -> float:
        if math.isinf(value := float(text)) and not null_if_infinite:
            raise ValueError(f"a number out of range, {text}")
        return value

    loose = json.loads(raw, parse_constant=lambda _: None, parse_float=decimal, parse_int=whole)
    strict = msgspec.json.encode(loose)
    return msgspec.json.decode(strict), strict


@contextmanager
def decoding(service: str) -> Iterator[None]:
    """Turn an unexpected error while an answer is decoded into a `BadAnswerError`."""
    try:
        yield
    except AindSessionError:
        raise
    except Exception as error:
        log.debug("Unexpected error while decoding an answer of %s", service, exc_info=True)
        raise BadAnswerError(
            f"{service}'s answer could not be decoded ({type(error).__name__}).", service=service
        ) from without_text(error)


def split_list(body: bytes) -> list[bytes]:
    """Split a complete JSON list into the JSON of its items, without decoding them.

    Examples
    --------
    >>> split_list(b'[{"a": [1, NaN]}, "x,y"]')
    [b'{"a": [1, NaN]}', b'"x,y"']
    """
    try:
        return [bytes(raw) for raw in _list.decode(body)]
    except UNDECODABLE:
        return _split(body, b"[", b"]")


def split_object(body: bytes) -> dict[str, bytes]:
    """Split a complete JSON object into the JSON of its values by key, without decoding them.

    Examples
    --------
    >>> split_object(b'{"results": [NaN], "has_more": false}')
    {'results': b'[NaN]', 'has_more': b'false'}
    """
    members = {}
    for part in _split(body, b"{", b"}"):
        key = _KEY.match(part)
        if key is None:
            raise ValueError("not a JSON object: a key is missing")
        members[msgspec.json.decode(key.group(1), type=str)] = part[key.end() :].strip()
    return members


def _split(body: bytes, first: bytes, last: bytes) -> list[bytes]:
    """Split at the outermost commas; brackets are counted, so that no depth is too much."""
    body = body.strip()
    if not (body.startswith(first) and body.endswith(last)):
        raise ValueError("not a complete JSON list or object")
    parts: list[bytes] = []
    depth, start = 0, 1
    for token in _TOKEN.finditer(body):
        character = token[0][:1]
        depth += (character in b"[{") - (character in b"]}")
        if depth < 1 or (depth == 1 and character == b","):
            parts.append(body[start : token.start()].strip())
            start = token.end()
        if depth < 1:
            break
    if depth or start != len(body):
        raise ValueError("not a complete JSON list or object")
    return [] if parts == [b""] else parts


def is_json(body: bytes) -> bool:
    """Whether bytes are JSON in UTF-8; with NaN and Infinity, which Python's own JSON writes."""
    try:
        body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)
    except UnicodeDecodeError:
        return False
    except msgspec.MsgspecError:
        try:
            # As text: a number may have more digits than Python reads.
            json.loads(body, parse_int=str)
        except RecursionError:
            return True
        except ValueError:
            return False
    except RecursionError:
        # Too deep to check; whoever decodes it leaves out what is too deep.
        return True
    return True
