"""Where a URL leads: what credentials belong to, and what of it may be told."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit, urlunsplit

Origin = tuple[str, str, int]
_DEFAULT_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:-]*")


def origin_of(url: str) -> Origin:
    """Give scheme, host and port: what credentials belong to."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme, 0)


def is_url(text: str) -> bool:
    """Tell whether a server's text is a URL that can be asked.

    Examples
    --------
    >>> is_url("https://example.org/a"), is_url("example.org/a"), is_url("http://[")
    (True, False, False)
    """
    try:
        scheme, host, _ = origin_of(text)
    except ValueError:
        return False
    return scheme in _DEFAULT_PORTS and _HOST.fullmatch(host) is not None


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this very machine.

    Examples
    --------
    >>> is_loopback("http://127.0.0.1:8000/api"), is_loopback("https://example.org")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def place_of(url: str | None) -> str:
    """Give host and path of a URL: no user, no query (the signature of a presigned link)."""
    parts = urlsplit(url or "")
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def bare_url(url: str | None) -> str:
    """Give a URL without user and query; nothing of what is none."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
