"""Where settings come from, which place wins, and where a token may go."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aind_session import settings
from aind_session.errors import CredentialsError, MissingTokenError, UnsafeDomainError

# Invented; the form is that of a token.
TOKEN = "cop_0Invented0Canary0Token0For0Tests0"
OTHER = "cop_1Another1Invented1Canary1Token1"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a home of its own to each test, and a project in it to stand in."""
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


def test_the_defaults_say_that_they_are() -> None:
    known = settings.current()
    assert known.token is None
    assert not known.has_token
    assert known.domain.value == "https://codeocean.allenneuraldynamics.org"
    assert known.docdb_host.value == "api.allenneuraldynamics.org"
    assert known.domain.source == known.docdb_host.source == settings.DEFAULT
    assert known.buckets.value == settings.DEFAULT_BUCKETS
    assert (known.timeout.value, known.cache_seconds.value, known.attempts.value) == (
        30.0,
        600.0,
        4,
    )


# --- the token ------------------------------------------------------------------------------------


def test_the_documented_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SECRET", OTHER)
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", f" {TOKEN}\n")
    token = settings.current().token
    assert token is not None
    assert (token.value, token.place) == (TOKEN, "CODE_OCEAN_API_TOKEN in the environment")


@pytest.mark.parametrize("name", [*settings.OTHER_TOKEN_NAMES, "WHATEVER_PEOPLE_CALL_IT"])
@pytest.mark.parametrize("value", [TOKEN, TOKEN.upper(), TOKEN.lower()])
def test_a_value_that_looks_like_a_token_is_one(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    token = settings.current().token
    assert token is not None
    assert (token.value, token.name) == (value, name)


def test_a_name_that_people_use_comes_before_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_NAME_OF_NOBODYS", TOKEN[:-1])
    monkeypatch.setenv("API_SECRET", TOKEN)
    token = settings.current().token
    assert token is not None
    assert (token.value, token.name) == (TOKEN, "API_SECRET")


@pytest.mark.parametrize("name", settings.OTHER_TOKEN_NAMES)
@pytest.mark.parametrize(
    "value", ["", "cop_", "cop_police_department", "cop_out", "copper", "AKIA0000000000000000"]
)
def test_what_only_begins_like_a_token_is_none(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert settings.current().token is None


@given(st.from_regex(r"cop_[a-z]{1,12}([_ -][a-z]{1,12}){1,3}", fullmatch=True))
def test_words_are_no_token(words: str) -> None:
    assert not settings.looks_like_token(words)


@given(st.text("abcXYZ019", min_size=24, max_size=64), st.sampled_from(["cop_", "COP_", "Cop_"]))
def test_long_runs_of_token_characters_are_one(rest: str, beginning: str) -> None:
    assert settings.looks_like_token(beginning + rest)


def test_without_a_token_the_error_says_what_to_set() -> None:
    with pytest.raises(MissingTokenError, match=r"CODE_OCEAN_API_TOKEN.*Datasets: Read") as caught:
        settings.current().require_token()
    assert isinstance(caught.value, KeyError)


# --- .env files -----------------------------------------------------------------------------------


def test_the_nearest_place_wins(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, folder in enumerate(("", "work/project", "work/project/src/deep")):
        path = write(folder, AIND_SESSION_ATTEMPTS=str(11 + number))
        assert settings.current().attempts.value == 11 + number
        write(folder, AIND_SESSION_ATTEMPTS=str(11 + number), CODE_OCEAN_API_TOKEN=TOKEN)
        token = settings.current().token
        assert token is not None
        assert token.source == str(path)
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "2")
    assert settings.current().attempts.value == 2


def test_a_file_above_the_projects_root_belongs_to_somebody_else(write: Write) -> None:
    write("work", CODE_OCEAN_API_TOKEN=TOKEN)
    assert settings.current().token is None


def test_outside_of_a_project_only_the_folder_itself_counts(
    write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data" / "inner").mkdir(parents=True)
    write("data", CODE_OCEAN_API_TOKEN=TOKEN)
    monkeypatch.chdir(home / "data" / "inner")
    settings.forget()
    assert settings.current().token is None
    monkeypatch.chdir(home / "data")
    settings.forget()
    assert settings.current().token is not None


def test_above_home_nothing_is_read(
    write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.parent / "pyproject.toml").touch()
    (home.parent / ".env").write_text(f"CODE_OCEAN_API_TOKEN={TOKEN}\n")
    (home / "data").mkdir()
    monkeypatch.chdir(home / "data")
    settings.forget()
    assert settings.current().token is None
    monkeypatch.setattr(Path, "home", lambda: home / "nobody")
    settings.forget()
    assert settings.current().token is not None


def test_a_file_that_changes_is_read_again(write: Write) -> None:
    write("work/project", AIND_SESSION_BUCKETS="one, two,")
    assert settings.current().buckets.value == ("one", "two")
    write("work/project", AIND_SESSION_BUCKETS="three")
    assert settings.current().buckets.value == ("three",)


@pytest.mark.parametrize("content", [b"\xff\xfe=\x00", b"=\n==\nno value\n'", b"A" * 10_000])
def test_a_file_that_cannot_be_read_is_passed_over(home: Path, content: bytes) -> None:
    (home / ".env").write_bytes(content)
    assert settings.current().token is None


def test_a_file_draws_nothing_out_of_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", TOKEN)
    write("work/project", AIND_SESSION_DOCDB_HOST="${CODE_OCEAN_API_TOKEN}.example.org")
    assert TOKEN not in settings.current().docdb_host.value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("buckets", "s3://one/, two,one,", ("one", "two")),
        ("cache_seconds", "5", 5.0),
        ("timeout", "7.5", 7.5),
        ("attempts", "2", 2),
    ],
)
def test_each_value_knows_where_it_came_from(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    variable = f"AIND_SESSION_{name.upper()}"
    monkeypatch.delenv(variable, raising=False)
    assert getattr(settings.current(), name).source == settings.DEFAULT
    path = write("work/project", **{variable: text})
    expected = settings.Setting(value, str(path), variable)
    assert getattr(settings.current(), name) == expected
    # What cannot be read there is none.
    monkeypatch.setenv(variable, ", ," if name == "buckets" else "many")
    assert getattr(settings.current(), name) == expected
    monkeypatch.setenv(variable, text)
    assert getattr(settings.current(), name).place == f"{variable} in the environment"


# --- where a token may go -------------------------------------------------------------------------


def test_a_file_cannot_send_a_token_from_elsewhere_to_its_domain(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", TOKEN)
    path = write("work/project", CODE_OCEAN_DOMAIN="https://stranger.example.org")
    with pytest.raises(UnsafeDomainError) as caught:
        settings.current().require_token()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, CredentialsError)
    assert "CODE_OCEAN_API_TOKEN in the environment" in str(caught.value)
    assert f"CODE_OCEAN_DOMAIN in {path}" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert not settings.current().has_token


def test_nor_can_one_file_send_another_files_token(write: Write) -> None:
    write("", CODE_OCEAN_API_TOKEN=TOKEN)
    write("work/project", CODE_OCEAN_DOMAIN="https://stranger.example.org")
    with pytest.raises(UnsafeDomainError):
        settings.current().require_token()


@pytest.mark.parametrize("folder", ["", "work/project"])
def test_token_and_domain_of_one_file_go_together(write: Write, folder: str) -> None:
    write(folder, CODE_OCEAN_API_TOKEN=TOKEN, CODE_OCEAN_DOMAIN="codeocean.example.org/")
    known = settings.current()
    assert known.require_token() == TOKEN
    assert known.domain.value == "https://codeocean.example.org"


def test_the_environments_token_and_domain_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", TOKEN)
    assert settings.current().require_token() == TOKEN
    monkeypatch.setenv("CODE_OCEAN_DOMAIN", "https://codeocean.example.org")
    assert settings.current().require_token() == TOKEN


# --- secrets and numbers --------------------------------------------------------------------------


def test_a_token_is_neither_shown_nor_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", TOKEN)
    known = settings.current()
    for text in (repr(known), str(known), repr(known.token), str(known.token)):
        assert TOKEN not in text
    assert "CODE_OCEAN_API_TOKEN" in str(known.token)
    for thing in (known, known.token):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing)
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(thing)


def test_another_token_or_domain_is_another_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for token in (TOKEN, OTHER):
        for domain in ("https://one.example.org", "https://two.example.org"):
            monkeypatch.setenv("CODE_OCEAN_API_TOKEN", token)
            monkeypatch.setenv("CODE_OCEAN_DOMAIN", domain)
            seen.add(settings.current().identity("Code Ocean"))
    assert len(seen) == 4
    assert not any(TOKEN in identity for identity in seen)


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5.0), ("0.5", 0.5), ("-3", 0.0), ("soon", 30.0), ("", 30.0)]
)
def test_a_number_that_is_none_leaves_the_default(
    value: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_TIMEOUT", value)
    assert settings.current().timeout.value == seconds


class TestOddSurroundings:
    @pytest.mark.parametrize("number", ["inf", "nan", "-inf", "1e999", "many"])
    def test_a_number_without_end_leaves_the_default(
        self, monkeypatch: pytest.MonkeyPatch, number: str
    ) -> None:
        names = ("CACHE_SECONDS", "TIMEOUT", "ATTEMPTS")
        for name in names:
            monkeypatch.delenv(f"AIND_SESSION_{name}", raising=False)
        default = settings.current()
        for name in names:
            monkeypatch.setenv(f"AIND_SESSION_{name}", number)
        assert settings.current() == default

    def test_a_home_that_cannot_be_found_or_read(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def nowhere() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", nowhere)
        settings.forget()
        assert settings.current().attempts.value

        # As another user's home folder answers, for which this process is no owner.
        real = os.stat

        def closed(path: Any, *args: Any, **kwargs: Any) -> Any:
            if str(path).startswith(str(tmp_path)):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        monkeypatch.setattr(os, "stat", closed)
        monkeypatch.setattr(Path, "stat", lambda self, **kwargs: closed(self, **kwargs))
        settings.forget()
        assert settings.current().attempts.value

    def test_a_working_directory_that_was_deleted(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def gone() -> Path:
            raise FileNotFoundError(2, "No such file or directory")

        monkeypatch.setattr(Path, "cwd", gone)
        settings.forget()
        assert settings.current().attempts.value
