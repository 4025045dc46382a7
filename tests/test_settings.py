"""Settings: their sources and precedence, the values that are refused, where a token may go."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session import settings
from aind_session.errors import (
    CredentialsError,
    MissingTokenError,
    PartialAnswerWarning,
    SettingsWarning,
    UnsafeDomainError,
)
from aind_session.setting_values import looks_like_token, may_be_token
from aind_session.settings import DEFAULT, OTHER_TOKEN_NAMES, TOKEN_NAME
from aind_session.threads import gather
from aind_session.trace import tracing
from loopback import text_of_error

# Invented; the form is that of a token.
TOKEN = "cop_0Invented0Canary0Token0For0Tests0"
OTHER = "cop_1Another1Invented1Canary1Token1"
STRANGER = "https://stranger.example.org"
SESSION = "ecephys_676909_2023-12-13_13-43-40"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a home folder for each test, with a project in it as the working directory."""
    home = tmp_path / "home"
    project = home / "work" / "project"
    (project / "src" / "deep").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(project / "src" / "deep")
    settings.forget()
    yield home
    settings.forget()


@pytest.fixture
def write(home: Path) -> Write:
    """Write a `.env` file in a folder below home."""

    def write(folder: str, **values: str) -> Path:
        path = home / folder / ".env"
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        settings.forget()
        return path

    return write


def token() -> settings.SecretSetting:
    found = settings.current().token
    assert found is not None
    return found


def test_current_without_variables_returns_the_defaults() -> None:
    now = settings.current()
    assert now.token is None
    assert not now.has_token
    assert now.domain.value == "https://codeocean.allenneuraldynamics.org"
    assert now.docdb_host.value == "api.allenneuraldynamics.org"
    assert now.buckets.value == settings.DEFAULT_BUCKETS
    assert (now.timeout.value, now.cache_seconds.value, now.attempts.value) == (30.0, 600.0, 4)
    assert (now.max_response_bytes.value, now.unconfirmed_seconds.value) == (512 * 2**20, 600.0)
    assert now.rig_time_zone.value == "America/Los_Angeles"
    assert {setting.source for setting in now.all()} == {DEFAULT}
    assert len(now.all()) == 9


# --- the token ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [TOKEN, f" {TOKEN}\n", f'"{TOKEN}"', f"'{TOKEN}' ", f"\r\n\xa0{TOKEN}\t"]
)
def test_token_with_the_documented_name_is_used_first(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_SECRET", OTHER)
    monkeypatch.setenv(TOKEN_NAME, text)
    assert (token().value, token().place) == (TOKEN, f"{TOKEN_NAME} in the environment")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        *(({name: TOKEN.swapcase()}, name) for name in OTHER_TOKEN_NAMES),
        ({"ANY_NAME": "cop_short"}, "ANY_NAME"),
        ({"ANY_NAME": f'"{TOKEN.upper()}"'}, "ANY_NAME"),
        # The first of several, unless one has the form of a token.
        ({"FIRST_NAME": "cop_police_dept", "API_SECRET": "cop_out"}, "FIRST_NAME"),
        ({"FIRST_NAME": "cop_police_dept", "SECOND_NAME": TOKEN}, "SECOND_NAME"),
        ({"FIRST_NAME": f"{TOKEN}-x", "SECOND_NAME": f"COP_{'a' * 20}"}, "SECOND_NAME"),
        ({"FIRST_NAME": f"cop_{'a' * 19}", "SECOND_NAME": f"cop_{'a' * 20}"}, "SECOND_NAME"),
        ({"FIRST_NAME": TOKEN, "API_SECRET": OTHER}, "API_SECRET"),
    ],
)
def test_token_without_the_documented_name_is_a_value_that_begins_with_cop(
    variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert (token().name, token().value) == (name, variables[name].strip('"'))


@pytest.mark.parametrize("value", ["", "cop_", "copper", "x cop_1", "AKIA0000000000000000"])
def test_token_with_another_value_is_not_found(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SECRET", value)
    assert settings.current().token is None


@given(st.from_regex(r"cop_[a-z]{1,12}([_ -][a-z]{1,12}){1,3}", fullmatch=True))
def test_looks_like_token_with_words_is_false(words: str) -> None:
    assert may_be_token(words)
    assert not looks_like_token(words)


@given(st.text("abcXYZ019", min_size=20, max_size=64), st.sampled_from(["cop_", "COP_", "Cop_"]))
def test_looks_like_token_with_20_letters_and_digits_is_true(rest: str, beginning: str) -> None:
    assert looks_like_token(beginning + rest)


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        ("\u200b", "an invisible character"),
        ("\ufeff", "an invisible character"),
        ("\x07", "an invisible character"),
        ("\u201c", "a curly quotation mark"),
        ("\u2019", "a curly quotation mark"),
        ("é", "a character outside ASCII"),
        ("\uff10", "a character outside ASCII"),
        ("\n", "white space"),
        (" ", "white space"),
    ],
)
@pytest.mark.parametrize("name", [TOKEN_NAME, "ANY_NAME"])
def test_require_token_with_unsendable_character_raises_without_the_token(
    odd: str,
    kind: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(name, f"{TOKEN[:20]}{odd}{TOKEN[20:]}")
    now = settings.current()
    assert not now.has_token
    with pytest.raises(CredentialsError, match=f"{name} in the environment contains {kind}") as got:
        now.require_token()
    assert not isinstance(got.value, MissingTokenError)
    shown = text_of_error(got.value) + repr(now) + str(now.token) + caplog.text
    assert TOKEN[:20] not in shown
    assert TOKEN[20:] not in shown
    assert got.value.__cause__ is got.value.__context__ is None


def test_lookup_with_unsendable_token_uses_the_other_services() -> None:
    with aind_session.sandbox(), pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN_NAME, f"“{TOKEN}”")
        session = aind_session.Session(SESSION)
        with pytest.warns(PartialAnswerWarning, match="curly quotation mark"):
            assert session.raw_data_dir.name == SESSION
        with pytest.raises(CredentialsError, match=TOKEN_NAME):
            _ = session.raw_data_asset


def test_require_token_without_token_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingTokenError, match=r"CODE_OCEAN_API_TOKEN.*Datasets: Read") as caught:
        settings.current().require_token()
    assert isinstance(caught.value, KeyError)
    assert "capitals" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="variables have no case there")
def test_require_token_with_variable_in_wrong_case_mentions_it(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("code_ocean_api_token", "7fq2Xk0aB3dZ9LmN4sT6")
    path = write("work/project", Aind_Session_Timeout="5")
    now = settings.current()
    with pytest.raises(MissingTokenError, match="code_ocean_api_token in the environment") as got:
        now.require_token()
    assert "7fq2Xk0aB3dZ9LmN4sT6" not in text_of_error(got.value)
    assert f"Aind_Session_Timeout in {path}" in now.misspelled


# --- .env files -----------------------------------------------------------------------------------


def test_current_with_several_sources_uses_the_nearest(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, folder in enumerate(("", "work/project", "work/project/src/deep")):
        path = write(folder, AIND_SESSION_ATTEMPTS=str(11 + number), CODE_OCEAN_API_TOKEN=TOKEN)
        assert settings.current().attempts.value == 11 + number
        assert token().source == str(path)
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "2")
    assert settings.current().attempts.value == 2


@pytest.mark.parametrize(
    ("folder", "here", "is_read"),
    [
        # Above the project's root.
        ("work", "work/project/src/deep", False),
        # Without a root, only the working directory.
        ("data", "data/inner", False),
        ("data", "data", True),
        # Above home, though there is a root.
        ("..", "data", False),
    ],
)
def test_current_with_a_file_in_a_parent_reads_it_up_to_the_root(
    folder: str,
    here: str,
    is_read: bool,
    write: Write,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / "data" / "inner").mkdir(parents=True)
    if folder == "..":
        (home.parent / "pyproject.toml").touch()
    write(folder, CODE_OCEAN_API_TOKEN=TOKEN)
    monkeypatch.chdir(home / here)
    settings.forget()
    assert (settings.current().token is not None) is is_read


def test_current_after_a_file_changed_reads_it_again(write: Write) -> None:
    write("work/project", AIND_SESSION_BUCKETS="one, two,")
    assert settings.current().buckets.value == ("one", "two")
    write("work/project", AIND_SESSION_BUCKETS="three")
    assert settings.current().buckets.value == ("three",)


def test_current_during_a_lookup_is_compared_with_the_environment_once_per_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tracing("a session", "a lookup"):
        before = settings.current()
        monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "7")
        assert gather(settings.current, settings.current) == [before, before]
        with monkeypatch.context() as patch:
            patch.setattr(settings, "FILES_FRESH", 0.0)
            assert settings.current().attempts.value == 7
        monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "8")
    # The next lookup, and whatever is outside of one, notices a change at once.
    assert settings.current().attempts.value == 8


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-16-be-bom"]
)
def test_current_with_a_file_in_another_encoding_reads_it(home: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("-bom") else ""
    text = f"{mark}CODE_OCEAN_API_TOKEN={TOKEN}\r\n# µ\r\nAIND_SESSION_ATTEMPTS='3'\r\n"
    (home / ".env").write_bytes(text.encode(encoding.removesuffix("-bom")))
    assert token().value == TOKEN
    assert settings.current().attempts.value == 3


@pytest.mark.parametrize(
    "content", [b"A=\xff\xfe", b"\x00\xd8\x00", b"\xff\xfeA", b"\0\0\0", "A=é".encode("latin-1")]
)
def test_current_with_a_file_that_is_not_text_warns_once(home: Path, content: bytes) -> None:
    (home / ".env").write_bytes(content)
    with pytest.warns(SettingsWarning, match=r"\.env cannot be read") as caught:
        assert settings.current().token is None
    assert str(home / ".env") in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings.FILES_FRESH, before = 0.0, settings.FILES_FRESH
        try:
            settings.current()
        finally:
            settings.FILES_FRESH = before


def test_current_with_a_file_without_permission_warns(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("", CODE_OCEAN_API_TOKEN=TOKEN)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    # Permissions do not stop root, who runs the tests in a container.
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.warns(SettingsWarning, match="Permission denied") as caught:
        assert settings.current().token is None
    assert str(path) in str(caught[0].message)


@pytest.mark.parametrize("content", [b"=\n==\nno value\n'", b"A" * 10_000, b""])
def test_current_with_a_file_without_settings_ignores_it(home: Path, content: bytes) -> None:
    (home / ".env").write_bytes(content)
    assert settings.current().token is None


def test_current_with_a_reference_in_a_file_does_not_resolve_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_NAME, TOKEN)
    write("work/project", AIND_SESSION_BUCKETS="${CODE_OCEAN_API_TOKEN}")
    assert TOKEN not in repr(settings.current())


def test_current_without_home_or_working_directory_still_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    def deleted() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(Path, "cwd", deleted)
    settings.forget()
    assert settings.current().attempts.value == 4


def test_current_with_a_home_of_another_user_still_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = os.stat

    def closed(path: Any, *args: Any, **kwargs: Any) -> Any:
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setattr(Path, "stat", lambda self, **kwargs: closed(self, **kwargs))
    settings.forget()
    assert settings.current().attempts.value == 4


# --- where a token may go -------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["environment", "file"])
def test_require_token_with_a_domain_of_another_source_raises(
    place: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "file":
        write("", CODE_OCEAN_API_TOKEN=TOKEN)
    else:
        monkeypatch.setenv(TOKEN_NAME, TOKEN)
    path = write("work/project", CODE_OCEAN_DOMAIN=STRANGER)
    with pytest.raises(UnsafeDomainError) as caught:
        settings.current().require_token()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, CredentialsError)
    assert f"{TOKEN_NAME} in " in str(caught.value)
    assert f"CODE_OCEAN_DOMAIN in {path}" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert not settings.current().has_token


@pytest.mark.parametrize("folder", ["", "work/project"])
def test_require_token_with_a_domain_of_the_same_file_returns_it(write: Write, folder: str) -> None:
    write(folder, CODE_OCEAN_API_TOKEN=TOKEN, CODE_OCEAN_DOMAIN="codeocean.example.org/")
    assert settings.current().require_token() == TOKEN
    assert settings.current().domain.value == "https://codeocean.example.org"


def test_require_token_with_a_domain_of_the_environment_returns_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN_NAME, TOKEN)
    assert settings.current().require_token() == TOKEN
    monkeypatch.setenv("CODE_OCEAN_DOMAIN", STRANGER)
    assert settings.current().require_token() == TOKEN


def test_settings_with_a_token_neither_show_nor_pickle_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_NAME, TOKEN)
    now = settings.current()
    for text in (repr(now), str(now), repr(now.token), str(now.token)):
        assert TOKEN not in text
    assert TOKEN_NAME in str(now.token)
    for thing in (now, now.token):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing)
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(thing)


def test_identity_differs_for_each_token_and_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for value in (TOKEN, OTHER):
        for domain in ("https://one.example.org", "https://two.example.org"):
            monkeypatch.setenv(TOKEN_NAME, value)
            monkeypatch.setenv("CODE_OCEAN_DOMAIN", domain)
            seen.add(settings.current().identity("Code Ocean"))
    assert len(seen) == 4
    assert not any(TOKEN in identity for identity in seen)


def test_identity_of_s3_differs_for_each_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for secret in ("one", "two"):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        seen.add(settings.current().identity("S3"))
    assert len(seen) == 2
