"""Parse the values of settings. No error contains the value: it may be a secret set by mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
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
