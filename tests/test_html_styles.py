"""Computed styles of the HTML in headless Chromium, beside the style sheets of notebooks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from typing import Any

import pytest

import aind_session
from aind_session import Sandbox, Session
from aind_session.runs.values import Mount, Parameter, Planned, RunPlan, RunReport, SessionRun

SESSION = "ecephys_676909_2023-12-13_13-43-40"
CAPSULE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)

#: Rules of JupyterLab and nbconvert, of the classic Notebook, and of VS Code, with their classes.
NOTEBOOKS = {
    "jupyterlab": (
        "jp-RenderedHTMLCommon jp-RenderedHTML",
        """
        .jp-RenderedHTMLCommon table {table-layout: fixed; margin-left: auto; font-size: 30px}
        .jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th, .jp-RenderedHTMLCommon tr {
            text-align: right; vertical-align: middle; padding: .5em; max-width: none}
        .jp-RenderedHTMLCommon :not(.jp-RenderedMarkdown) td {text-align: right}
        .jp-RenderedHTMLCommon tbody tr:nth-child(odd) {background: rgb(1, 2, 3)}
        .jp-RenderedHTMLCommon a:link {color: rgb(4, 5, 6); text-decoration: none}
        """,
    ),
    "classic": (
        "rendered_html output_subarea",
        """
        .rendered_html table {table-layout: fixed; margin-left: auto; font-size: 30px}
        .rendered_html tr, .rendered_html th, .rendered_html td {
            text-align: right; vertical-align: middle; padding: .5em; max-width: none}
        .rendered_html tbody tr:nth-child(odd) {background: rgb(1, 2, 3)}
        .rendered_html :link {color: rgb(4, 5, 6)}
        """,
    ),
    "vscode": (
        "output_container",
        """
        #container div.output_container table, th, tr {text-align: right}
        td {text-align: right; vertical-align: middle; white-space: nowrap}
        tbody tr:nth-child(odd) {background: rgb(1, 2, 3)}
        a {color: rgb(4, 5, 6)}
        """,
    ),
}
FITS = {"sticksOut": False, "scrolls": False}
THEMES = {
    "light": {"--jp-layout-color1": "rgb(255, 255, 255)", "--jp-content-font-color1": "#000000"},
    "dark": {"--jp-layout-color1": "rgb(17, 17, 17)", "--jp-content-font-color1": "#ffffff"},
}

READ = """
const lines = (page, cell) => {
  const range = page.createRange();
  range.selectNodeContents(cell.querySelector('a, div') || cell);
  return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size;
};
const read = page => {
  const style = element => page.defaultView.getComputedStyle(element);
  const cells = [...page.querySelectorAll('.aind-session td, .aind-session th')].map(cell => ({
    text: cell.textContent, align: style(cell).textAlign, color: style(cell).color,
    number: cell.classList.contains('aind-number'),
    background: style(cell.parentElement).backgroundColor,
    link: cell.querySelector('a') && style(cell.querySelector('a')).color,
    column: cell.closest('table').tHead?.rows[0].cells[cell.cellIndex]?.textContent ?? null,
    width: cell.clientWidth, lines: lines(page, cell),
  }));
  const boxes = [...page.querySelectorAll('.aind-session')].map(box => ({
    background: style(box).backgroundColor, color: style(box).color,
    sticksOut: box.getBoundingClientRect().right > page.documentElement.clientWidth,
    scrolls: box.scrollWidth > box.clientWidth,
  }));
  return {cells, boxes};
};
window.onload = () => {
  const found = [...document.querySelectorAll('iframe')].map(frame => read(frame.contentDocument));
  document.getElementById('result').textContent = JSON.stringify(found);
};
"""
PLAIN = "<div class='aind-session'><table><tr><td>x</td></tr></table></div>"
CASES = [(notebook, theme) for notebook in NOTEBOOKS for theme in THEMES]
#: Columns of sentences, which wrap; all others are names, IDs and numbers.
TEXTS = {"why", "project", "modalities"}


def page_of(body: str, notebook: str, theme: str) -> str:
    """Return a notebook's page with some views."""
    classes, rules = NOTEBOOKS[notebook]
    colors = "".join(f"{name}: {value};" for name, value in THEMES[theme].items())
    return (
        f"<!DOCTYPE html><meta charset='utf-8'><style>:root {{{colors}}} {rules}</style>"
        f"<div id='container'><div class='{classes}'>{body}</div></div>"
    )


def wide_tables() -> str:
    """Return the HTML of tables whose rows do not fit into a notebook."""
    why = "data asset 3f1c6f2e-6a0b-4a55-9d0c-0c1f9a6f7b11 to attach does not exist " * 3
    mounts = (Mount("3f1c6f2e-6a0b-4a55-9d0c-0c1f9a6f7b11", SESSION),)
    parameters = (Parameter("ecephys_ks4", "pipeline_type"),)
    planned = [Planned(SESSION, "start", "", mounts, parameters), Planned(SESSION, "error", why)]
    plan = RunPlan(CAPSULE, "dlc-eye", tuple(planned))
    runs = [
        SessionRun(SESSION, "done", "", (CAPSULE, CAPSULE), CAPSULE, f"{SESSION}_dlc-eye"),
        SessionRun(SESSION, "failed", why, (CAPSULE,)),
    ]
    report = RunReport("runs.json", tuple(runs), plan)
    with aind_session.sandbox():
        sessions = aind_session.get_sessions([676909, 668759, 717381])
        return "".join(one._repr_html_() for one in (plan, report, sessions))


def views() -> str:
    """Return the HTML of everything that has any."""
    with aind_session.sandbox() as box:
        session = Session(SESSION)
        sessions = aind_session.get_sessions(676909, platform="ecephys")
        plan = sessions.run(CAPSULE, label="dlc-eye", dry_run=True)
        assert session.ecephys.is_sorted
        shown: list[Any] = [session, session.subject, sessions, plan]
        shown += [session.get_derived_data_assets("sorted")[-1]]
        shown += [session.ecephys.sorted_data_assets[-1]]
        before = box.count()
        made = "".join(one._repr_html_() for one in shown)
        assert box.count() == before
        return made


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what the browser, started once, computes for the views in each notebook and theme.

    After these, a plain table in each of them, and wide tables in a narrow frame of each.
    """
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("pages")
    bodies = ((views(), 1300), (PLAIN, 1300), (wide_tables(), 700))
    pages = [(page_of(body, *case), width) for body, width in bodies for case in CASES]
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{escape(page)}"></iframe>'
        for page, width in pages
    )
    whole = folder / "page.html"
    whole.write_text(
        f"<!DOCTYPE html><meta charset='utf-8'>{frames}<pre id='result'></pre>"
        f"<script>{READ}</script>",
        encoding="utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options += ["--no-first-run", "--disable-background-networking", "--dump-dom"]
    command = [CHROMIUM, *options, f"--user-data-dir={folder / 'profile'}", whole.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    result = re.search(r'<pre id="result">(.+?)</pre>', done.stdout, re.DOTALL)
    assert result is not None, done.stderr
    found: list[dict[str, Any]] = json.loads(unescape(result[1]))
    assert len(found) == len(pages)
    return found


@pytest.mark.parametrize(("notebook", "theme"), CASES)
def test_html_in_a_notebook_is_left_aligned_in_its_colors(
    styles: list[dict[str, Any]], notebook: str, theme: str
) -> None:
    found = styles[CASES.index((notebook, theme))]
    assert len(found["boxes"]) == 6
    texts = {cell["text"] for cell in found["cells"]}
    assert {SESSION, "sorted", "raw asset", "yes"} <= texts
    for cell in found["cells"]:
        expected = "right" if cell["number"] else "left"
        assert cell["align"] == expected, cell
        # The notebook's stripes and link color are not mixed with our own.
        assert cell["background"] == "rgba(0, 0, 0, 0)", cell
        assert cell["link"] in (None, cell["color"]), cell
    background = THEMES[theme]["--jp-layout-color1"]
    color = {"light": "rgb(0, 0, 0)", "dark": "rgb(255, 255, 255)"}[theme]
    for box in found["boxes"]:
        assert box == {"background": background, "color": color, **FITS}


def test_notebook_rules_alone_align_to_the_right(styles: list[dict[str, Any]]) -> None:
    # Shows that the rules above reach a table that does not defend itself.
    for found in styles[len(CASES) : 2 * len(CASES)]:
        assert [cell["align"] for cell in found["cells"]] == ["right"]


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_html_table_cells_do_not_wrap_below_a_readable_width(
    styles: list[dict[str, Any]], notebook: str
) -> None:
    case = CASES.index((notebook, "light"))
    for found in (styles[case], styles[2 * len(CASES) + case]):
        in_tables = [cell for cell in found["cells"] if cell["column"]]
        assert len(in_tables) > 20
        for cell in in_tables:
            is_readable = cell["lines"] <= 1 or cell["width"] > 300
            assert is_readable if cell["column"] in TEXTS else cell["lines"] <= 1, cell
        # What is too wide scrolls inside of the view.
        assert not any(box["sticksOut"] for box in found["boxes"])
    # The reason is visible without scrolling: IDs of any number follow it.
    assert [cell["column"] for cell in in_tables][:4] == ["session", "action", "why", "mounts"]
    reasons = [cell["lines"] for cell in in_tables if "does not exist" in cell["text"]]
    # Nor does a short text make a row as wide as a long one.
    assert [1 < lines <= 5 for lines in reasons] == [True, True]
    assert all(cell["width"] < 300 for cell in in_tables if cell["text"] == "behavior")


def test_repr_of_assets_is_one_short_line(sandbox: Sandbox) -> None:
    session = Session(SESSION)
    sorted_asset = session.ecephys.sorted_data_assets[-1]
    derived_asset = session.get_derived_data_assets("sorted")[-1]
    for asset in (sorted_asset, derived_asset):
        expected = f"<{type(asset).__name__} {asset.name} ({asset.id})>"
        assert repr(asset) == str(asset) == expected
        assert len(repr(asset)) < 150
        html = asset._repr_html_()
        assert asset.name in html
        assert asset.url in html
        assert "custom_metadata" not in html


@pytest.mark.parametrize(("fails", "expected"), [(False, "yes"), (True, "no")])
def test_session_html_shows_sorted_once_it_is_cached(
    sandbox: Sandbox, fails: bool, expected: str
) -> None:
    name = "ecephys_999996_2024-05-01_10-00-00"
    sandbox.add_session(name, sorted_by="kilosort4", failed=fails)
    session = Session(name)
    raw = session.raw_data_asset
    assert f'href="{session.url}"' in session._repr_html_()
    assert raw.id in session.url
    assert ">sorted</th>" not in session._repr_html_()
    assert session.ecephys.is_sorted is not fails
    before = sandbox.count()
    assert f'>sorted</th><td class="aind-name">{expected}</td>' in session._repr_html_()
    assert sandbox.count() == before
