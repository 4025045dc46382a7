"""A small catalogue in a sandbox, requests to it, and code in new processes."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import codeocean
import requests

from aind_session.sandbox import Catalogue, Sandbox

NAME = "ecephys_000001_2024-01-01_12-00-00"


def invented() -> Catalogue:
    """Return a catalogue of one session."""
    catalogue = Catalogue(description="one invented session")
    source = {"bucket": "aind-open-data", "prefix": NAME, "origin": "aws", "external": True}
    catalogue.add_asset({"id": "raw", "name": NAME, "source_bucket": source})
    catalogue.add_record(1, {"_id": "one", "name": NAME})
    catalogue.add_record(2, {"_id": "two", "name": NAME})
    catalogue.add_object("aind-open-data", f"{NAME}/subject.json", "{}")
    return catalogue


def asset_url(box: Sandbox, asset_id: str = "raw") -> str:
    return f"{box.urls['codeocean']}/api/v1/data_assets/{asset_id}"


def get(box: Sandbox, **options: Any) -> requests.Response:
    """Request the asset."""
    return requests.get(asset_url(box), **{"auth": (box.token, ""), "timeout": 5, **options})


def sdk(box: Sandbox) -> Iterator[codeocean.CodeOcean]:
    """Yield Code Ocean's own client of a sandbox."""
    made = codeocean.CodeOcean(domain=box.urls["codeocean"], token=box.token)
    # It would wait for ever.
    made.session.request = functools.partial(made.session.request, timeout=5)
    yield made
    made.session.close()


def python(code: str, **environment: str) -> str:
    """Run code in a new process, warnings being errors; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
