"""Calling the command as its users do: in a process of its own, with pipes or a terminal."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest

from aind_session.cli import main

SESSION = "ecephys_676909_2023-12-13_13-43-40"
RAW_ID = "16d46411-540a-4122-b47f-8cb2a15d593a"
COMMAND = [sys.executable, "-m", "aind_session"]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment with changes; None removes a variable."""
    env = dict(os.environ)
    for name, value in (changes or {}).items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


def call(*arguments: str, env: Mapping[str, str | None] | None = None, seconds: float = 60) -> Done:
    """Run the command with its output in pipes; a traceback fails the test."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
        env=environment(env),
        stdin=subprocess.DEVNULL,
    )
    return checked(done)


Done = subprocess.CompletedProcess[str]
Here = Callable[..., Done]


def checked(done: Done) -> Done:
    """Check what holds for all output to pipes."""
    if "--debug" not in done.args:
        assert "Traceback" not in done.stderr, done.stderr
    assert not ANSI.search(done.stdout + done.stderr)
    return done


def running_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """Return a function that runs the command in this process, which is quicker."""

    def run(*arguments: str, env: Mapping[str, str | None] | None = None) -> Done:
        with monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            logger = logging.getLogger("aind_session")
            handlers, level = logger.handlers[:], logger.level
            try:
                code = main(arguments)
            finally:
                # `--debug` adds a handler.
                logger.handlers[:] = handlers
                logger.setLevel(level)
        out, err = capsys.readouterr()
        return checked(subprocess.CompletedProcess(list(arguments), code, out, err))

    return run


def error_of(done: Done) -> tuple[str, str]:
    """Return an error's line and the command to try; nothing else is on standard error."""
    line, advice = done.stderr.splitlines()
    assert line.startswith("aind-session: ")
    assert advice.startswith("Try: aind-session")
    return line, advice
