"""The documentation is complete and its links work; building it checks its examples."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aind_session

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md"))

# Documented as what they are: classes, or the module that they come from.
ELSEWHERE = {
    "ecephys": "aind_session.extensions.ecephys.EcephysExtension",
    "lims": "aind_session.extensions.lims.LimsExtension",
    "__version__": "",
}


def reference() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))


def is_documented(name: str, text: str) -> bool:
    value = getattr(aind_session, name)
    module = getattr(value, "__module__", "")
    directive = re.compile(rf"^\.\. auto\w+:: (?:[\w.]+\.)?{re.escape(name)}$", re.M)
    if directive.search(text):
        return True
    if name in ELSEWHERE:
        return ELSEWHERE[name] in text
    # By its module, with all members.
    whole = re.findall(r"^\.\. automodule:: ([\w.]+)\n(?!   :no-members:)", text, re.M)
    return any(
        module == one or name in getattr(importlib.import_module(one), "__all__", ())
        for one in whole
    )


def test_every_public_name_is_in_the_reference() -> None:
    text = reference()
    missing = [name for name in aind_session.__all__ if not is_documented(name, text)]
    assert missing == []


def test_every_page_is_reached() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.S)
    listed = {line for tree in trees for line in tree.splitlines() if re.fullmatch(r"[\w/]+", line)}
    reached = listed | {f"api/{name}" for name in listed}
    assert [page for page in PAGES if page != "index" and page not in reached] == []


@pytest.mark.parametrize("page", [page for page in PAGES if "/" not in page])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_the_picture_is_small() -> None:
    for picture in DOCS.joinpath("_static").iterdir():
        assert picture.stat().st_size < 150_000, picture.name
    for source in re.findall(r'(?:src|srcset)="([^"]+)"', (ROOT / "README.md").read_text("utf-8")):
        assert (ROOT / source).is_file(), source


def test_without_a_browser_there_are_no_pictures_and_no_error(tmp_path: Path) -> None:
    code = (
        "import runpy, shutil, sys; shutil.which = lambda *a, **k: None; "
        f"sys.argv = ['screenshots.py', {str(tmp_path)!r}]; "
        f"runpy.run_path({str(DOCS / 'screenshots.py')!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "no pictures" in done.stdout
    assert list(tmp_path.iterdir()) == []
