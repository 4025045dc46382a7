"""Notebook HTML: what is cached, without a request, and everything escaped."""

from __future__ import annotations

import html.parser
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import aind_session
from aind_session.cli import main
from aind_session.sandbox import Sandbox

SESSION = "ecephys_676909_2023-12-13_13-43-40"
RAW_ID = "16d46411-540a-4122-b47f-8cb2a15d593a"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


class _Reader(html.parser.HTMLParser):
    """Collect the text, and check that every tag that opens closes again."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)


def read(made: str) -> _Reader:
    reader = _Reader()
    reader.feed(made)
    reader.close()
    assert reader.open == []
    return reader


def words(made: str) -> str:
    return " ".join(read(made).texts)


def test_html_of_a_new_session_loads_nothing_and_a_table_no_sdk() -> None:
    code = (
        "import sys, aind_session\n"
        f"made = aind_session.Session('{SESSION}')._repr_html_()\n"
        "assert '676909' in made and 'Not looked up yet' in made\n"
        "loaded = {'codeocean', 'requests', 'botocore', 'msgspec', 'rich', 'typer'}\n"
        "assert not loaded & set(sys.modules), loaded & set(sys.modules)\n"
        "import aind_session.table\n"
        "assert 'codeocean' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_html_sends_no_request(box: Sandbox) -> None:
    session = aind_session.Session(SESSION)
    things: list[Any] = [session, session.subject, aind_session.Sessions([session])]
    for thing in things:
        assert "676909" in thing._repr_html_()
    assert box.count() == 0
    sessions = aind_session.get_sessions([676909, 668759, 999999])
    _ = session.data_assets
    for known in (*sessions, *(s.subject for s in sessions)):
        assert known.id in known._repr_html_()
    before = box.count()
    for thing in (*things, *sessions, *(s.subject for s in sessions), sessions):
        thing._repr_html_()
    assert box.count() == before


def test_html_of_a_session_shows_what_is_cached(box: Sandbox) -> None:
    session = aind_session.Session(SESSION)
    assert "Not looked up yet: data assets, records." in words(session._repr_html_())
    assert RAW_ID not in session._repr_html_()
    count = len(session.data_assets)
    known = words(session._repr_html_())
    assert RAW_ID in known
    assert f"{count} data assets" in known
    assert "s3://aind-ephys-data/" in known
    assert "Pvalb-IRES-Cre" in known
    assert "Not looked up" not in known
    assert session.modalities == ("behavior", "behavior_videos", "ecephys")
    assert "behavior, behavior-videos, ecephys" in words(session._repr_html_())


def test_html_with_another_token_shows_nothing_cached(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = aind_session.Session(SESSION)
    assert session.raw_data_asset.id in session._repr_html_()
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_another0token0another0token")
    assert RAW_ID not in session._repr_html_()


def test_html_linked_asset_is_counted_once_it_is_cached(box: Sandbox) -> None:
    box.catalogue.docdb_v1.append(
        {
            "_id": "a-linked-record",
            "name": f"{SESSION}_linked_2025-01-01_00-00-00",
            "location": "s3://aind-open-data/linked",
            "created": "2025-01-01T00:00:00Z",
            "subject": {"subject_id": "676909"},
            "external_links": {"Code Ocean": ["e5c90cdd-bbf5-542b-9b06-ae47b5222078"]},
        }
    )
    (session,) = aind_session.get_sessions(676909, date="2023-12-13")
    known = words(session._repr_html_())
    assert "Not looked up yet: data assets." in known
    assert RAW_ID in known
    count = len(session.data_assets)
    assert f"{count} data assets" in words(session._repr_html_())


def test_html_of_an_unknown_session_and_of_a_subject_show_what_was_found(box: Sandbox) -> None:
    unknown = aind_session.Session("ecephys_123456_2001-01-01_00-00-00")
    assert unknown.data_assets == ()
    assert "123456" in words(unknown._repr_html_())
    assert "Not looked up" not in words(unknown._repr_html_())
    subject = aind_session.Subject(676909)
    assert "Not looked up yet" in words(subject._repr_html_())
    count = len(subject.data_assets)
    known = words(subject._repr_html_())
    assert f"{count} data assets" in known
    assert SESSION in known


def test_html_of_sessions_is_a_table(box: Sandbox) -> None:
    sessions = aind_session.get_sessions([676909, 668759])
    known = words(sessions._repr_html_())
    assert f"{len(sessions)} sessions of 2 subjects" in known
    assert all(session.id in known for session in sessions)
    assert "behavior-videos" in known
    assert "none" in words(aind_session.Sessions()._repr_html_())
    (one,) = [s for s in sessions if s.id == SESSION]
    assert "1 session of 1 subject" in words(aind_session.Sessions([one])._repr_html_())


@pytest.mark.parametrize(
    ("number", "hidden"), [(20, 0), (21, 0), (25, 0), (26, 6), (27, 7), (28, 8)]
)
def test_html_of_many_sessions_shows_the_ends_unless_few_are_hidden(
    number: int, hidden: int
) -> None:
    ids = [f"ecephys_123456_2024-01-{day:02}_00-00-00" for day in range(1, number + 1)]
    known = words(aind_session.Sessions(aind_session.Session(i) for i in ids)._repr_html_())
    shown = [one for one in ids if one in known]
    assert shown == (ids if not hidden else [*ids[:10], *ids[-10:]])
    assert re.findall(r"\.\.\. (\d+) more \.\.\.", known) == ([str(hidden)] if hidden else [])


def test_html_platform_from_metadata_is_shown(box: Sandbox) -> None:
    session = aind_session.Session("828418_2026-02-13_18-31-13")
    asset = next(a for a in box.catalogue.data_assets if a["name"] == session.id)
    asset["custom_metadata"] = {"experiment type": "a-platform"}
    assert "platform" not in words(session._repr_html_())
    assert session.platform == "a-platform"
    assert "platform a-platform" in words(session._repr_html_())


def test_html_any_text_is_escaped(box: Sandbox) -> None:
    evil = "<script>alert('&\"')</script>"
    asset = next(a for a in box.catalogue.data_assets if a["id"] == RAW_ID)
    named = f"{SESSION}_{evil}_2024-01-01_00-00-00"
    box.catalogue.add_asset({**asset, "id": "evil-1", "name": named, "tags": [], "created": 2e9})
    record = next(r for r in box.catalogue.docdb_v1 if r["name"] == SESSION)
    record["subject"]["genotype"] = evil
    session = aind_session.Session(SESSION)
    assets = session.data_assets
    assert evil in assets[-1].name
    _ = session.docdb
    made = session._repr_html_()
    assert words(made).count(evil) > 1
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in read(made).tags}
    assert "<script" not in made


@pytest.mark.parametrize("created", [10**15, -(10**15), 10**300], ids=["late", "early", "never"])
def test_html_invalid_time_hides_nothing(
    box: Sandbox, created: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asset = next(a for a in box.catalogue.data_assets if a["id"] == RAW_ID)
    asset["created"] = created
    session = aind_session.Session(SESSION)
    assert session.data_assets
    assert RAW_ID in words(session._repr_html_())
    assert main(["show", SESSION]) == 0
    assert RAW_ID in capsys.readouterr().out


def test_html_loads_nothing_and_is_the_same_after_a_pickle(box: Sandbox) -> None:
    session = aind_session.Session(SESSION)
    _ = session.data_assets
    made = session._repr_html_() + session.subject._repr_html_()
    assert pickle.loads(pickle.dumps(session))._repr_html_() == session._repr_html_()
    assert "url(" not in made
    assert "@import" not in made
    attributes = {name for _, attrs in read(made).tags for name in attrs}
    assert not attributes & {"src", "srcset", "onclick", "style"}
    # Links are followed by a click only.
    assert {tag for tag, attrs in read(made).tags if "href" in attrs} <= {"a"}


def test_html_style_has_light_and_dark_colors() -> None:
    made = aind_session.Session(SESSION)._repr_html_()
    style = re.search(r"<style>(.*?)</style>", made, re.DOTALL)
    assert style is not None
    assert "prefers-color-scheme:dark" in style[1]
    assert "--jp-layout-color1" in style[1]
    assert "--vscode-editor-background" in style[1]
    # Every rule is about our own box: nothing of the page changes.
    body = re.sub(r"@media[^{]*\{", "", style[1])
    selectors = re.findall(r"(?:^|\})\s*([^{}@]+)\{", body)
    assert selectors
    assert all(".aind-session" in part for s in selectors for part in s.split(","))
