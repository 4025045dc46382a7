"""Computed styles of the HTML in headless Chromium, beside the style sheets of notebooks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session import Sandbox, Session

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
const found = [];
for (const cell of document.querySelectorAll('.aind-session td, .aind-session th')) {
  const style = getComputedStyle(cell);
  const link = cell.querySelector('a');
  found.push({
    text: cell.textContent, align: style.textAlign, number: cell.classList.contains('aind-number'),
    color: style.color, background: getComputedStyle(cell.parentElement).backgroundColor,
    link: link && getComputedStyle(link).color,
  });
}
const boxes = [...document.querySelectorAll('.aind-session')].map(box => ({
  background: getComputedStyle(box).backgroundColor, color: getComputedStyle(box).color,
  sticksOut: box.getBoundingClientRect().right > document.documentElement.clientWidth,
  scrolls: box.scrollWidth > box.clientWidth,
}));
document.getElementById('result').textContent = JSON.stringify({cells: found, boxes: boxes});
"""


def computed(tmp_path: Path, body: str, classes: str, rules: str, theme: str) -> dict[str, Any]:
    """Return the styles that the browser computes for a notebook's page with some views."""
    assert CHROMIUM is not None
    colors = "".join(f"{name}: {value};" for name, value in THEMES[theme].items())
    page = tmp_path / "page.html"
    page.write_text(
        f"<!DOCTYPE html><meta charset='utf-8'><style>:root {{{colors}}} {rules}</style>"
        f"<div id='container'><div class='{classes}'>{body}</div></div>"
        f"<pre id='result'></pre><script>{READ}</script>",
        encoding="utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    options += ["--no-first-run", "--disable-background-networking", "--window-size=1300,900"]
    done = subprocess.run(
        [
            CHROMIUM,
            *options,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    result = re.search(r'<pre id="result">(.+?)</pre>', done.stdout, re.DOTALL)
    assert result is not None, done.stderr
    styles: dict[str, Any] = json.loads(unescape(result[1]))
    return styles


@pytest.fixture(scope="module")
def views() -> Iterator[str]:
    """Serve the bundled catalogue, and return the HTML of everything that has any."""
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
        yield made


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_html_in_a_notebook_is_left_aligned_in_its_colors(
    views: str, tmp_path: Path, notebook: str, theme: str
) -> None:
    styles = computed(tmp_path, views, *NOTEBOOKS[notebook], theme)
    assert len(styles["boxes"]) == 6
    texts = {cell["text"] for cell in styles["cells"]}
    assert {SESSION, "sorted", "raw asset", "yes"} <= texts
    for cell in styles["cells"]:
        expected = "right" if cell["number"] else "left"
        assert cell["align"] == expected, cell
        # The notebook's stripes and link color are not mixed with our own.
        assert cell["background"] == "rgba(0, 0, 0, 0)", cell
        assert cell["link"] in (None, cell["color"]), cell
    background = THEMES[theme]["--jp-layout-color1"]
    color = {"light": "rgb(0, 0, 0)", "dark": "rgb(255, 255, 255)"}[theme]
    for box in styles["boxes"]:
        assert box == {"background": background, "color": color, **FITS}


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_notebook_rules_alone_align_to_the_right(tmp_path: Path) -> None:
    # Shows that the rules above reach a table that does not defend itself.
    plain = "<div class='aind-session'><table><tr><td>x</td></tr></table></div>"
    for classes, rules in NOTEBOOKS.values():
        styles = computed(tmp_path, plain, classes, rules, "light")
        assert [cell["align"] for cell in styles["cells"]] == ["right"]


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
