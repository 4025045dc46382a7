"""What every test shares: no network but loopback, real records where they are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")

#: Real records and names, beside the checkout where they are at hand; no part of the project.
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that runs what is slow."""
    parser.addoption("--slow", action="store_true", help="also run soak tests and benchmarks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, unless it is asked for."""
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _no_network(socket_disabled: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse every socket but those to loopback."""
    import pytest_socket

    pytest_socket.enable_socket()
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    yield
    pytest_socket._remove_restrictions()


@pytest.fixture
def shared_data() -> Path:
    """Give the folder of real records and names, or skip the test where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real records are not at hand")
    return SHARED_DATA
