"""Tests of everybody's pipelines, offline: a pytest plugin, and the same for unittest.

The plugin is there as soon as the package is installed with ``pip install
"aind-session[sandbox]"``, and loads nothing until a test asks for its fixture::

    def test_my_report(aind_sandbox):
        aind_sandbox.add_session("ecephys_999999_2024-01-01_10-00-00", sorted_by="kilosort4")
        assert my_package.report(999999) == ...

The fixture `aind_sandbox` serves a catalogue to the real clients, in place of the live services: a
fresh copy for each test, by default of the catalogue that comes with the package. Another one is
chosen for all tests by the option ``aind_sandbox_catalogue`` of pytest's configuration file, and
for some by the mark ``@pytest.mark.aind_sandbox("my_study/")``; "empty" is a catalogue with nothing
in it, "bundled" the package's own. Relative paths begin at pytest's root folder. In unittest::

    class Test(unittest.TestCase):
        def setUp(self):
            self.box = aind_session.testing.sandbox("empty")
            self.addCleanup(self.box.close)
            self.box.__enter__()
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ImportError:  # the context manager alone needs no pytest
    pytest = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from aind_session.sandbox import Catalogue, Sandbox

MARK = "aind_sandbox"
OPTION = "aind_sandbox_catalogue"
BUNDLED, EMPTY = "bundled", "empty"

__all__ = ["sandbox"]


def sandbox(
    catalogue: Catalogue | str | os.PathLike[str] | None = None, latency: float = 0.0
) -> Sandbox:
    """Serve a copy of a catalogue inside of a ``with`` block, in place of the live services.

    Parameters
    ----------
    catalogue
        The folder of one, a `Catalogue`, "bundled" (as None) or "empty".
    latency
        Seconds that each request takes, at least.

    Returns
    -------
    Sandbox
        Nothing that happens in it changes what was given.

    Raises
    ------
    MissingExtraError
        ``pip install "aind-session[sandbox]"`` has not been done.
    CatalogueFormatError
        The folder is no catalogue.

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

    if catalogue is None or catalogue == BUNDLED:
        chosen = Catalogue.bundled()
    elif isinstance(catalogue, Catalogue):
        chosen = copy.deepcopy(catalogue)
    elif catalogue == EMPTY:
        chosen = Catalogue(description="empty")
    else:
        chosen = Catalogue.load(os.fspath(catalogue))
    return Sandbox(chosen, latency)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that chooses the catalogue of all tests."""
    parser.addini(
        OPTION,
        "catalogue of the fixture aind_sandbox: a folder, 'bundled' or 'empty'",
        default=BUNDLED,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(catalogue, latency=0.0): what the fixture aind_sandbox serves: a folder, "
        "'bundled', 'empty' or a Catalogue; seconds for each request",
    )


def _chosen(node: Any, config: pytest.Config) -> tuple[Any, float]:
    """Give the catalogue that a test is to have, and its latency: the nearest mark counts."""

    def read(catalogue: Any = None, latency: float = 0.0) -> tuple[Any, float]:
        return catalogue, latency

    mark = node.get_closest_marker(MARK)
    catalogue, latency = read() if mark is None else read(*mark.args, **mark.kwargs)
    if catalogue is None:
        catalogue = config.getini(OPTION)
    if isinstance(catalogue, str | Path) and catalogue not in (BUNDLED, EMPTY, ""):
        catalogue = config.rootpath / catalogue
    return catalogue or None, latency


if pytest is not None:

    @pytest.fixture
    def aind_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
        """Serve a catalogue in place of Code Ocean, DocDB and S3: a fresh copy for this test.

        `add_session` invents sessions; `fail`, `down` and `latency` are for bad days; `requests`
        and `count` tell what was asked, `launched` what was launched.
        """
        catalogue, latency = _chosen(request.node, request.config)
        with sandbox(catalogue, latency) as box:
            yield box
