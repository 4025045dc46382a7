"""Tests of your own pipelines, offline: a pytest plugin, and the same for unittest.

The plugin is active as soon as the package is installed with ``pip install
"aind-session[sandbox]"``, and loads nothing until a test uses its fixture::

    def test_my_report(aind_sandbox):
        aind_sandbox.add_session("ecephys_999999_2024-01-01_10-00-00", sorted_by="kilosort4")
        assert my_package.report(999999) == ...

The fixture `aind_sandbox` serves a catalogue to the real clients, in place of the live services: a
fresh copy for each test, by default of the catalogue that comes with the package. The option
``aind_sandbox_catalogue`` of pytest's configuration file selects another one for all tests, the
mark ``@pytest.mark.aind_sandbox("my_study/")`` for some; "empty" is a catalogue without content,
"bundled" the package's own. Relative paths begin at pytest's root folder. In unittest::

    class Test(unittest.TestCase):
        def setUp(self):
            self.box = aind_session.testing.sandbox("empty").start()
            self.addCleanup(self.box.close)
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ImportError:  # the context manager alone does not need pytest
    pytest = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from aind_session.sandbox import Catalogue, Sandbox

MARK = "aind_sandbox"
OPTION = "aind_sandbox_catalogue"
BUNDLED, EMPTY = "bundled", "empty"

__all__ = ["sandbox"]


def sandbox(
    catalogue: Catalogue | str | os.PathLike[str] | None = None,
    latency: float = 0.0,
    **options: Any,
) -> Sandbox:
    """Serve a copy of a catalogue inside of a ``with`` block, in place of the live services.

    Parameters
    ----------
    catalogue
        The folder of a catalogue, a `Catalogue`, "bundled" (as None) or "empty".
    latency
        Minimum duration of each request, in seconds.
    **options
        Further options of `aind_session.sandbox`: `tls`, `server_version`.

    Returns
    -------
    Sandbox
        Changes in it do not change what was given.

    Raises
    ------
    MissingExtraError
        ``pip install "aind-session[sandbox]"`` has not been run.
    CatalogueFormatError
        The folder is not a catalogue.

    Examples
    --------
    >>> import aind_session
    >>> from aind_session.testing import sandbox
    >>> with sandbox("empty") as box:
    ...     made = box.add_session("ecephys_999999_2024-01-01_10-00-00", generation="v2")
    ...     aind_session.get_sessions(999999)
    (Session('ecephys_999999_2024-01-01_10-00-00'),)
    """
    import copy

    from aind_session.sandbox import Catalogue, Sandbox

    if isinstance(catalogue, Catalogue):
        catalogue = copy.deepcopy(catalogue)
    elif catalogue == EMPTY:
        catalogue = Catalogue(description="empty")
    elif catalogue is not None:
        catalogue = None if catalogue == BUNDLED else os.fspath(catalogue)
    return Sandbox(catalogue, latency, **options)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that selects the catalogue of all tests."""
    parser.addini(
        OPTION,
        "catalogue of the fixture aind_sandbox: a folder, 'bundled' or 'empty'",
        default=BUNDLED,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(catalogue, latency=0.0, **options): what the fixture aind_sandbox serves: a "
        "folder, 'bundled', 'empty' or a Catalogue; seconds per request; tls, server_version",
    )


if pytest is not None:

    @pytest.fixture
    def aind_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
        """Serve a catalogue in place of Code Ocean, DocDB and S3: a fresh copy for this test.

        `add_session` invents sessions; `fail`, `down` and `latency` simulate failures; `requests`
        and `count` show the requests, `launched` what was launched.
        """
        # The nearest mark counts.
        mark = request.node.get_closest_marker(MARK) or pytest.mark.aind_sandbox.mark
        given = inspect.signature(sandbox).bind(*mark.args, **mark.kwargs).arguments
        catalogue = given.pop("catalogue", None) or request.config.getini(OPTION)
        if isinstance(catalogue, str | Path) and catalogue not in (BUNDLED, EMPTY, ""):
            catalogue = request.config.rootpath / catalogue
        with sandbox(catalogue or None, **given.pop("options", {}), **given) as box:
            yield box
