"""The checks, each in its own environment: `nox`, or `nox -s lint types`, `nox -s "tests-3.12"`."""

from __future__ import annotations

from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
# The lowest supported Code Ocean library, and the newest that the package allows.
CODEOCEAN = {"lowest": "codeocean==0.12.*", "newest": "codeocean>=0.12"}

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
@nox.parametrize("library", [*CODEOCEAN.values()], ids=[*CODEOCEAN])
def tests(session: nox.Session, library: str) -> None:
    """Run the tests; arguments after `--` are passed to pytest."""
    session.install("-e", ".[test]", library)
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Run soak tests and benchmarks."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "0", "--slow", "-m", "slow", "-o", "timeout=1200", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the layers of imports."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of source and tests."""
    session.install("-e", ".[test,lint]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    if not Path("docs/conf.py").is_file():
        session.skip("there is no documentation yet")
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")
