"""JSON split into the JSON of its parts, so that one invalid part does not lose the others."""

from __future__ import annotations

import re

import msgspec

#: Raised by decoders for JSON that they cannot decode; RecursionError for deep nesting.
UNDECODABLE = (ValueError, RecursionError)

# A string, closed or not, or a structural character: linear time, whatever the input.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{},]', re.DOTALL)
_KEY = re.compile(rb'\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:', re.DOTALL)
_list = msgspec.json.Decoder(list[msgspec.Raw])


def split_list(body: bytes) -> list[bytes]:
    """Split a JSON list into the JSON of its items, without decoding them.

    Raises
    ------
    ValueError
        It is not a complete JSON list.

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
    """Split a JSON object into the JSON of its values by key, without decoding them.

    Raises
    ------
    ValueError
        It is not a complete JSON object.

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
