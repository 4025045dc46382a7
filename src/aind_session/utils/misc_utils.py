"""Hashes that change with time, and running the examples of docstrings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import doctest
    from types import ModuleType

__all__ = ["get_ttl_hash", "testmod"]


def get_ttl_hash(seconds: float = 600) -> int:
    """Return a number that stays the same within a window of time.

    For the argument `ttl_hash` of functions: a result that was cached before this hash was first
    used is requested anew. Without a hash, results are cached as in the settings
    (`AIND_SESSION_CACHE_SECONDS`).

    Parameters
    ----------
    seconds
        Length of the window.

    Returns
    -------
    int
        The number of the current window.

    Raises
    ------
    ValueError
        The length is not positive.

    Examples
    --------
    >>> get_ttl_hash(seconds=10**9) == get_ttl_hash(seconds=10**9)
    True
    """
    if not seconds > 0:
        raise ValueError(f"a window of {seconds} s has no length")
    return int(time.time() // seconds)


def testmod(**kwargs: Any) -> doctest.TestResults:
    """Run the examples in docstrings.

    In a script, those of the script: ``if __name__ == "__main__": aind_session.testmod()``. If
    the script has none, or without a script, those of this package, in the sandbox.

    Parameters
    ----------
    **kwargs
        As `doctest.testmod` takes them; `m` is another module to test. White space is normalised
        and exception messages are not compared, unless `optionflags` says otherwise.

    Returns
    -------
    doctest.TestResults
        How many examples were `attempted`, and how many `failed`.

    Raises
    ------
    MissingExtraError
        The examples of this package need the extra `sandbox`.

    Examples
    --------
    >>> import aind_session
    >>> aind_session.testmod(m=aind_session.utils.s3_utils).failed
    0
    """
    import doctest
    import sys

    flags = doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE
    options = {"optionflags": flags, **kwargs}
    script = sys.modules.get("__main__")
    if "m" not in options and script is not None and _has_examples(script):
        options["m"] = script
    if "m" in options:
        return doctest.testmod(**options)
    # Later Pythons add fields to the results.
    failed = attempted = 0
    # A lazy name of the package: this module does not depend on the sandbox.
    import aind_session

    for module in _modules_with_examples():
        # A sandbox for each: the examples of one module must not affect the next.
        with aind_session.sandbox():
            results = doctest.testmod(m=module, **options)
        failed, attempted = failed + results.failed, attempted + results.attempted
    return doctest.TestResults(failed, attempted)


# pytest would collect it as a test from modules that import it by name.
testmod.__test__ = False  # type: ignore[attr-defined]


def _has_examples(module: ModuleType) -> bool:
    import doctest

    if not getattr(module, "__file__", None):
        return False
    return any(test.examples for test in doctest.DocTestFinder().find(module))


def _modules_with_examples() -> list[ModuleType]:
    """Import the modules of this package that have examples, except those of missing extras."""
    import importlib
    from pathlib import Path

    root = Path(__file__).parents[1]
    found = []
    for path in sorted(root.rglob("*.py")):
        if ">>> " not in path.read_text(encoding="utf-8"):
            continue
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        try:
            found.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if (error.name or "").startswith(root.name):
                raise
    return found
