"""Pictures of what people see: `python docs/screenshots.py [FOLDER]`.

Executes a notebook against the sandbox, and photographs it in a headless Chromium, in light and in
dark. The README shows these pictures. Building the documentation takes them, too, where there is a
browser.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "_static"
SESSION = "ecephys_676909_2023-12-13_13-43-40"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--force-device-scale-factor=1.5"),
)
CELLS = (
    "import aind_session",
    f'session = aind_session.Session("{SESSION}")\nsession',
    "session.modalities, session.docdb.genotype, session.ecephys.is_sorted\nsession",
    "aind_session.get_sessions([676909, 668759])",
)
#: Seconds that the browser may take for one picture.
LIMIT = 60


def main(folder: Path) -> int:
    """Take all pictures; gives the exit code, 0 also where there is no browser."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update({"AIND_SESSION_SANDBOX": "1", "AIND_SESSION_PROGRESS": "0"})
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no pictures: none of {', '.join(BROWSERS)} is installed")
        return 0
    views = executed()
    for theme in ("light", "dark"):
        print("wrote", photograph(browser, views, theme, folder / f"notebook-{theme}.png"))
    return 0


def executed() -> list[tuple[str, str]]:
    """Execute the cells in a kernel; gives each with the HTML of what it shows."""
    import nbclient
    import nbformat

    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(source) for source in CELLS])
    with tempfile.TemporaryDirectory() as here:
        resources = {"metadata": {"path": here}}
        nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()
    return [
        (cell.source, "".join(o.get("data", {}).get("text/html", "") for o in cell.outputs))
        for cell in notebook.cells
    ]


def photograph(browser: str, views: list[tuple[str, str]], theme: str, path: Path) -> Path:
    """Take one picture of executed cells."""
    is_dark = theme == "dark"
    paper, ink, code = ("#111418", "#dfe3e8", "#1c2128") if is_dark else ("#fff", "#222", "#f4f4f6")
    body = "".join(f"<pre>{escape(source)}</pre>{html}" for source, html in views)
    page = (
        f'<html data-theme="{theme}"><meta charset="utf-8"><style>'
        f"body{{background:{paper};color:{ink};font:14px system-ui,sans-serif;padding:1em}}"
        f"pre{{background:{code};padding:.6em .8em;border-radius:4px;white-space:pre-wrap}}"
        f"</style><body>{body}</body></html>"
    )
    with tempfile.TemporaryDirectory() as here:
        file = Path(here, "page.html")
        file.write_text(page, encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={here}/profile", "--window-size=900,1180"]
        subprocess.run(
            [*command, f"--screenshot={path.resolve()}", file.as_uri()],
            capture_output=True,
            check=True,
            timeout=LIMIT,
        )
    return trimmed(path, paper)


def trimmed(path: Path, paper: str) -> Path:
    """Cut off what is empty below, and keep the picture small."""
    from PIL import Image, ImageChops

    whole = Image.open(path).convert("RGB")
    box = ImageChops.difference(whole, Image.new("RGB", whole.size, paper)).getbbox()
    bottom = min(whole.height, (box[3] if box else whole.height) + 24)
    seen = whole.crop((0, 0, whole.width, bottom))
    seen.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else STATIC))
