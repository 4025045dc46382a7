"""Which requests may be repeated, and how long to wait before.

The rule follows the operation, not the HTTP verb: a search is a POST that reads, and may be
repeated; a POST that starts or creates something may not, however it failed.
"""

from __future__ import annotations

import email.utils
import random
import re
from datetime import timezone
from urllib.parse import urlsplit

from aind_session.services.clock import CLOCK

#: Answers after which a question may be put again.
PASSING = frozenset({429, 500, 502, 503, 504})
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0
#: A service that names a time is heeded up to this many seconds.
LONGEST_RETRY_AFTER = 15.0

_READING_VERBS = frozenset({"GET", "HEAD", "OPTIONS"})
# Code Ocean lists the files of an asset, and the results of a computation, by POST as well.
_READING_POST = re.compile(
    r"/(search|aggregate|data_assets/[^/]+/files|computations/[^/]+/results)/?$"
)

_random = random.Random()


def is_read(method: str | None, url: str | None) -> bool:
    """Tell whether a request changes nothing, so that it may be repeated.

    Examples
    --------
    >>> is_read("POST", "https://host/api/v1/data_assets/search")
    True
    >>> is_read("POST", "https://host/api/v1/computations")
    False
    """
    verb = (method or "GET").upper()
    if verb in _READING_VERBS:
        return True
    return verb == "POST" and bool(_READING_POST.search(urlsplit(url or "").path))


def wait_before(attempt: int, retry_after: str | None = None) -> float:
    """Give the seconds to wait before the next attempt.

    Parameters
    ----------
    attempt
        How many attempts were made.
    retry_after
        The answer's `Retry-After`: seconds or a date. What cannot be read is passed over.

    Returns
    -------
    float
        What the service asked for, up to `LONGEST_RETRY_AFTER`; else a time that doubles with
        each attempt up to `LONGEST_WAIT`, less up to a half at random, so that many clients do
        not come back at the same moment.
    """
    asked = _seconds(retry_after)
    if asked is not None:
        return min(asked, LONGEST_RETRY_AFTER)
    full = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    return full * (0.5 + 0.5 * _random.random())


def _seconds(retry_after: str | None) -> float | None:
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    ahead = date.timestamp() - CLOCK.time()
    return ahead if ahead > 0 else None
