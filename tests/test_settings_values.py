"""Settings: values that are cleaned or refused, and lookups with one that is refused."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import aind_session
from aind_session import settings
from aind_session.errors import PartialAnswerWarning, SettingsError
from loopback import text_of_error

SESSION = "ecephys_676909_2023-12-13_13-43-40"


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Use an empty working directory; return the path of its `.env` file."""
    monkeypatch.chdir(tmp_path)
    settings.forget()
    yield tmp_path / ".env"
    settings.forget()


URL = "https://co.example.org"
VALUES = [
    ("CODE_OCEAN_DOMAIN", "domain", "co.example.org", URL),
    ("CODE_OCEAN_DOMAIN", "domain", " 'https://Co.Example.org/api/v1/' ", URL),
    ("CODE_OCEAN_DOMAIN", "domain", "HTTPS://co.example.org//", URL),
    ("CODE_OCEAN_DOMAIN", "domain", "co.example.org:8443/co", f"{URL}:8443/co"),
    ("CODE_OCEAN_DOMAIN", "domain", "http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
    ("CODE_OCEAN_DOMAIN", "domain", "http://[::1]:80", "http://[::1]:80"),
    ("AIND_SESSION_DOCDB_HOST", "docdb_host", '"https://api.example.org/"', "api.example.org"),
    ("AIND_SESSION_DOCDB_HOST", "docdb_host", "api.example.org/api/v1", "api.example.org"),
    ("AIND_SESSION_DOCDB_HOST", "docdb_host", "http://localhost:1", "http://localhost:1"),
    ("AIND_SESSION_BUCKETS", "buckets", "s3://one/, 'two',one,", ("one", "two")),
    ("AIND_SESSION_CACHE_SECONDS", "cache_seconds", "0", 0.0),
    ("AIND_SESSION_TIMEOUT", "timeout", "'7.5'", 7.5),
    ("AIND_SESSION_ATTEMPTS", "attempts", "2.0", 2),
    ("AIND_SESSION_MAX_RESPONSE_BYTES", "max_response_bytes", "1e6", 1_000_000),
    ("AIND_SESSION_RIG_TIME_ZONE", "rig_time_zone", "Europe/Vienna", "Europe/Vienna"),
    ("AIND_SESSION_UNCONFIRMED_SECONDS", "unconfirmed_seconds", "3600", 3600.0),
]


@pytest.mark.parametrize(("variable", "name", "text", "value"), VALUES)
def test_current_with_a_valid_value_knows_its_source(
    variable: str,
    name: str,
    text: str,
    value: object,
    env_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env_file.write_text(f"{variable}={text}\n")
    found = getattr(settings.current(), name)
    assert (found.value, found.place) == (value, f"{variable} in {env_file}")
    monkeypatch.setenv(variable, text)
    found = getattr(settings.current(), name)
    assert (found.value, found.place) == (value, f"{variable} in the environment")


INVALID = {
    "domain": [
        *("ftp://co.example.org", "http://co.example.org", "https://", "https:/co.example.org"),
        *("https://co.example.org:port", "co.example.org:0", "co.example.org:99999", "co.org:"),
        *("https://co example.org", "https://co..org", "-co.org", "https://[::1", "ü.org"),
        *("https://co.example.org?a=b", "https://co.example.org/#a", "https://co.org/a b"),
    ],
    "docdb_host": ["ftp://api.example.org", "api.example.org:x", "api example.org", "http://a.b"],
    "buckets": [", ,", "a bucket", "one/two", "bücket"],
    "cache_seconds": ["-1", "inf", "nan", "1e999", "many"],
    "timeout": ["0", "-3", "inf", "-inf", "nan", "1e10", "soon", "30s", "1 0"],
    "attempts": ["0", "-1", "1.5", "1e9", "tow", "nan"],
    "max_response_bytes": ["0", "1.5", "512 MB", "inf"],
    "rig_time_zone": ["Pacific", "../../etc/passwd", "/etc/localtime", "America", "PST8 PDT"],
    "unconfirmed_seconds": ["0", "599", "inf", "later"],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in INVALID.items() for text in texts]
)
def test_value_that_cannot_be_right_raises_settings_error(
    name: str, text: str, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "CODE_OCEAN_DOMAIN" if name == "domain" else f"AIND_SESSION_{name.upper()}"
    env_file.write_text(f"{variable}={'1000' if name[0] in 'cu' else '10'}\n")
    monkeypatch.setenv(variable, text)
    setting = getattr(settings.current(), name)
    with pytest.raises(SettingsError, match="Expected: ") as caught:
        _ = setting.value
    error = caught.value
    assert isinstance(error, ValueError)
    assert str(error).startswith(f"{variable} in the environment is not valid")
    assert (error.variable, str(env_file) in str(error)) == (variable, False)
    assert error.__cause__ is error.__context__ is None
    assert str(pickle.loads(pickle.dumps(error))) == str(setting) == setting.shown == str(error)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:Secret0Password@co.example.org",
        "https://Secret0Password@co.example.org",
        "user:Secret0Password@co.example.org",
        "https://user/Secret0Password@co.example.org",
        "https://co.example.org:Secret0Password",
        "Secret0Password://co.example.org",
    ],
)
@pytest.mark.parametrize("variable", ["CODE_OCEAN_DOMAIN", "AIND_SESSION_DOCDB_HOST"])
def test_secret_in_a_url_is_refused_and_not_shown(
    text: str,
    variable: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with aind_session.sandbox(), pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, text)
        session = aind_session.Session(SESSION)
        with pytest.warns(PartialAnswerWarning, match=variable) as caught:
            assert session.raw_data_dir.name == SESSION
        session.explain()
        shown = [*capsys.readouterr(), *(str(one.message) for one in caught), caplog.text]
        now = settings.current()
        setting = now.domain if "DOMAIN" in variable else now.docdb_host
        with pytest.raises(SettingsError) as got:
            _ = setting.value
    assert "Secret0Password" not in "".join(shown) + text_of_error(got.value) + repr(now)


@pytest.mark.parametrize(
    ("variable", "text", "service"),
    [
        ("CODE_OCEAN_DOMAIN", "ftp://co.example.org", "Code Ocean"),
        ("AIND_SESSION_DOCDB_HOST", "api.example.org:x", "DocDB"),
    ],
)
def test_lookup_with_an_invalid_setting_uses_the_other_services(
    variable: str, text: str, service: str
) -> None:
    with aind_session.sandbox() as box, pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, text)
        with pytest.warns(PartialAnswerWarning, match=variable) as caught:
            assert aind_session.Session(SESSION).raw_data_dir.name == SESSION
        assert {getattr(one.message, "service", "") for one in caught} == {service}
        assert not box.count("docdb" if service == "DocDB" else "codeocean")


def test_lookup_with_an_invalid_timeout_raises() -> None:
    with aind_session.sandbox(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIND_SESSION_TIMEOUT", "0")
        for name in ("raw_data_asset", "raw_data_dir", "is_uploaded", "modalities", "docdb"):
            with pytest.raises(SettingsError, match="AIND_SESSION_TIMEOUT in the environment"):
                getattr(aind_session.Session(SESSION), name)
