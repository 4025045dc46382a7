"""Bodies of responses: read within limits of time and size, decompressed a chunk at a time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from aind_session import settings
from aind_session.errors import BadAnswerError
from aind_session.services.exchange import Exchange
from aind_session.services.redact import excerpt

_CHUNK = 2**16
# How `zlib` names them.
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _GarbledError(Exception):
    """A body that cannot be decompressed."""


def read_body(raw: Any, exchange: Exchange, decode: bool) -> bytes:
    """Read the body of urllib3's response to its end."""
    most = settings.current().max_response_bytes.value
    encoding = raw.headers.get("Content-Encoding", "").strip().lower() if decode else ""
    parts: list[bytes] = []
    size = 0
    try:
        if (limit := getattr(raw.connection, "limit", None)) is not None:
            # The headers have come: the body may take the rest of the time.
            limit.allow(exchange.remaining)
        for part in _parts(_chunks(raw), encoding):
            parts.append(part)
            size += len(part)
            if size > most:
                raise BadAnswerError(
                    f"{exchange.service} sent more than {most:,} bytes, the limit that "
                    f"AIND_SESSION_MAX_RESPONSE_BYTES sets. Request: {exchange.summary()}",
                    **exchange.facts(raw.status),
                )
    except _GarbledError as problem:
        raw.close()
        why = str(problem)
    except BaseException:
        raw.close()
        raise
    else:
        raw.release_conn()
        return b"".join(parts)
    raise BadAnswerError(
        f"{exchange.service} sent {why}. Request: {exchange.summary()}",
        **exchange.facts(raw.status),
    )


def _chunks(raw: Any) -> Iterator[bytes]:
    while chunk := raw.read1(_CHUNK, decode_content=False):
        yield chunk


def _parts(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield what chunks decompress to, in pieces of limited size."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in _ENCODINGS:
        # Several layers, too: a few hundred bytes could become terabytes.
        raise _GarbledError(f"an unexpected Content-Encoding, {excerpt(encoding)!r}")
    bits = _ENCODINGS[encoding]
    inflate = zlib.decompressobj(bits)
    begun = False
    for chunk in chunks:
        data = chunk
        while data:
            try:
                part = inflate.decompress(data, _CHUNK)
            except zlib.error:
                if begun or bits != 15:
                    raise _GarbledError("garbled compression") from None
                # "deflate" without the header that the standard asks for.
                bits, begun = -15, True
                inflate = zlib.decompressobj(bits)
                continue
            begun = True
            yield part
            data = inflate.unconsumed_tail
            if inflate.eof and inflate.unused_data:
                data, inflate = inflate.unused_data, zlib.decompressobj(bits)
    if begun and not inflate.eof:
        raise _GarbledError("compressed data that end too early")


def is_json(body: bytes) -> bool:
    """Whether bytes are JSON in UTF-8; with NaN and Infinity, which Python's own JSON writes."""
    try:
        body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)
    except UnicodeDecodeError:
        return False
    except RecursionError:
        # Too deep to check; whoever decodes it leaves out what is too deep.
        return True
    except msgspec.MsgspecError:
        try:
            json.loads(body)
        except ValueError:
            return False
        except RecursionError:
            return True
    return True
