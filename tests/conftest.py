"""What every test shares: a world without network and secrets, the sandbox, real records."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3.connectionpool
from hypothesis import HealthCheck, settings

from loopback import FakeClock, Serve, serving

if TYPE_CHECKING:
    from aind_session.sandbox import Sandbox
    from cli_calls import Here

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")

#: Real records and names, beside the checkout where they are at hand; no part of the project.
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

_NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_OURS = ("CODE_OCEAN_", "AIND_SESSION_", "AWS_")


class ForbiddenRequestError(RuntimeError):
    """Something would have left this machine, or might have waited for ever."""


#: What the guards refused during the running test: refusals that are caught fail the test, too.
refused: list[str] = []


def _refuse(what: str) -> None:
    refused.append(what)
    raise ForbiddenRequestError(what)


def _address(host: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _is_local(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _guard_sockets(event: str, args: tuple[Any, ...]) -> None:
    """Refuse names and addresses that are not this machine's, whoever asks for them."""
    if not event.startswith("socket."):
        return
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            # `socket.create_connection` closes it after an OSError only.
            args[0].close()
            _refuse(f"{event} to {address[0]}")
    # An address is no question to anybody; connecting to it is what is refused.
    elif event in _NAMES and not _is_local(args[0]) and _address(args[0]) is None:
        _refuse(f"{event} of {args[0]}")


def _guard_timeouts() -> None:
    """Refuse every request that is sent without limits for connecting and for reading."""
    pool = urllib3.connectionpool.HTTPConnectionPool
    make_request: Callable[..., Any] = pool._make_request

    def guarded(self: Any, conn: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        timeout = self._get_timeout(kwargs.get("timeout", self.timeout))
        if timeout.connect_timeout is None or timeout.read_timeout is None:
            _refuse(f"{method} {url} without a timeout")
        return make_request(self, conn, method, url, *args, **kwargs)

    pool._make_request = guarded  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    """Remove the user's secrets, and set the guards, before anything is imported."""
    config.addinivalue_line("markers", "live: reads from the live services (`--live` selects them)")
    _guard_timeouts()
    if config.getoption("--live"):
        # Nothing but the live tests runs, with the user's own settings.
        return
    for name, value in list(os.environ.items()):
        if name.startswith(_OURS) or value[:4].lower() == "cop_":
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    # An audit hook sees every socket, made in Python or not, and cannot be patched away.
    sys.addaudithook(_guard_sockets)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switches for slow tests and for tests of the live services."""
    parser.addoption("--slow", action="store_true", help="also run soak tests and benchmarks")
    parser.addoption("--live", action="store_true", help="run only the tests of the live services")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests and live tests unless they are selected; with `--live` all others."""
    live = config.getoption("--live")
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if ("live" in item.keywords) != live:
            reason = "not live" if live else "live services: run with --live"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True, scope="session")
def _no_user_files(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Hide the `.env` files of the user's home and of the checkout."""
    if request.config.getoption("--live"):
        yield
        return
    empty = str(tmp_path_factory.mktemp("empty"))
    before, here = dict(os.environ), Path.cwd()
    os.environ["HOME"] = os.environ["USERPROFILE"] = empty
    os.chdir(empty)
    yield
    os.chdir(here)
    for name in ("HOME", "USERPROFILE"):
        os.environ.pop(name)
        if name in before:
            os.environ[name] = before[name]


@pytest.fixture(autouse=True)
def _nothing_refused() -> Iterator[None]:
    """Fail a test that ran into a guard, even where the refusal was caught."""
    refused.clear()
    yield
    if refused:
        pytest.fail("; ".join(refused))


@pytest.fixture
def refusals(_nothing_refused: None) -> Iterator[list[str]]:
    """Give what the guards refused, to a test that means to run into them."""
    yield refused
    refused.clear()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Serve the bundled catalogue, anew for each test: additions and faults go with it."""
    import aind_session

    with aind_session.sandbox() as box:
        yield box


@pytest.fixture(scope="module")
def bundled() -> Iterator[Sandbox]:
    """Serve the bundled catalogue to all tests of a module that only read it.

    What they request stays cached: tests that count requests, add data or simulate failures use
    `sandbox`.
    """
    import aind_session

    with aind_session.sandbox() as box:
        yield box
        assert box.launched == []
        assert len(box.catalogue.data_assets) == len(aind_session.Catalogue.bundled().data_assets)


@pytest.fixture
def cold(bundled: Sandbox) -> Iterator[Sandbox]:
    """Serve the bundled catalogue with an empty cache, no faults and no counts.

    For tests that count requests or simulate failures, but add no data.
    """
    bundled.reset()
    yield bundled
    bundled.heal()
    bundled.reset()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """Let time pass by waiting only, and at once."""
    from aind_session.clock import use_clock

    fake = FakeClock()
    with use_clock(fake):
        yield fake


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> Iterator[Serve]:
    """Return a function that starts a scripted server in place of all services."""
    with serving(monkeypatch, clock) as start:
        yield start


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Run the command in this process, which is quicker than in one of its own."""
    from cli_calls import running_here

    return running_here(capsys, monkeypatch)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real records and names, or skip the test where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real records are not at hand")
    return SHARED_DATA


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """Serve a catalogue that holds nothing yet, for a test to invent sessions in."""
    import aind_session
    from aind_session.settings import RESULTS_BUCKET

    catalogue = aind_session.Catalogue(buckets={RESULTS_BUCKET: {"public": False}})
    for name in ("aind-open-data", "aind-ephys-data"):
        catalogue.buckets[name] = {"public": True}
    with aind_session.sandbox(catalogue) as box:
        yield box
