"""`aind-session selfcheck`: check what the code assumes about the services, and write a report."""

from __future__ import annotations

import os
import platform
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from aind_session.cli import output
from aind_session.cli.app import FOUND, NOT_FOUND, UNKNOWN
from aind_session.cli.output import AsJson
from aind_session.errors import (
    AindSessionError,
    BadAnswerError,
    CredentialsError,
    InvalidFilterError,
    NotFoundError,
    PartialAnswerWarning,
    ServiceError,
)

SAME, DIFFERENT, NOT_CHECKED = "same", "different", "could not check"
#: Limits for all checks together, and for each.
MAX_REQUESTS, MAX_SECONDS, CHECK_SECONDS = 80, 120.0, 30.0


class NotChecked(Exception):
    """An assumption could not be checked; the text is the reason."""


class NotSeen(NotChecked):
    """The situation that would test it did not occur."""


#: Whether an assumption holds, and what was seen.
Seen = tuple[bool, str]


@dataclass
class Traffic:
    """Sends one request at a time, up to a limit."""

    sent: int = 0
    refused: list[bool] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def attempt(self, send: Callable[[], Any]) -> Any:
        """Send a request; raise `NotChecked` beyond the limit."""
        with self.lock:
            if self.sent >= MAX_REQUESTS:
                raise NotChecked(f"{MAX_REQUESTS} requests were sent already")
            self.sent += 1
            response = send()
        if getattr(response, "status_code", None) == 429:
            self.refused.append("Retry-After" in response.headers)
        return response

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count all requests of the current context."""
        from aind_session import context

        current = context.current()
        before, current.attempt = current.attempt, self.attempt
        try:
            yield
        finally:
            current.attempt = before


@dataclass(frozen=True)
class Assumption:
    """An assumption about a service.

    Attributes
    ----------
    id, group : str
        Its ID, and the service that it is about.
    assumed, source : str
        The assumption, and where it comes from.
    used_by, constants : str
        The function that depends on it (of `services`, unless the name says otherwise), and the
        constants to correct if it is wrong.
    check : callable
        Sends the requests; raises `NotChecked` or the error of a request.
    """

    id: str
    group: str
    assumed: str
    source: str
    used_by: str
    constants: str
    check: Callable[[Traffic], Seen] = field(repr=False)


def assumes(
    group: str, source: str, used_by: str, *, each: Iterable[Any] = (), **constants: Any
) -> Callable[[Callable[..., Seen]], tuple[Assumption, ...]]:
    """Make assumptions of a function that checks one: its docstring, once for each value."""

    def make(function: Callable[..., Seen], *value: Any) -> Assumption:
        words = [group, function.__name__.replace("_", "-"), *map(str, value)]
        return Assumption(
            "-".join(words),
            group,
            str(function.__doc__).format(each=value[0] if value else "", **constants),
            source,
            used_by.format(each=value[0] if value else ""),
            ", ".join(constants),
            partial(function, *value),
        )

    return lambda function: (
        tuple(make(function, value) for value in each) if each else (make(function),)
    )


@dataclass(frozen=True)
class Result:
    """The result of one check: same, different or could not check, and what was seen.

    `untested`: nothing contradicts the assumption, but what would show it did not happen.
    """

    assumption: Assumption
    state: str
    seen: str
    untested: bool = False

    @property
    def row(self) -> dict[str, str]:
        """What the report contains, by name."""
        one = self.assumption
        used_by = one.used_by + (f" ({one.constants})" if one.constants else "")
        row = {"state": self.state, "id": one.id, "assumed": one.assumed, "seen": self.seen}
        return {**row, "used_by": used_by, "source": one.source}


def check_all(assumptions: Sequence[Assumption]) -> list[Result]:
    """Check assumptions one after the other."""
    from aind_session.clock import at_most

    traffic = Traffic()
    with at_most(MAX_SECONDS), traffic.counted():
        return [_check(assumption, traffic) for assumption in assumptions]


def _check(assumption: Assumption, traffic: Traffic) -> Result:
    from aind_session.clock import at_most, time_left

    try:
        if time_left() <= 0:
            raise NotChecked(f"{MAX_SECONDS:.0f} s were over")
        with at_most(CHECK_SECONDS), warnings.catch_warnings():
            # What is missing because a service failed is not different.
            warnings.simplefilter("error", PartialAnswerWarning)
            same, seen = assumption.check(traffic)
        state = SAME if same else DIFFERENT
    except NotSeen as reason:
        return Result(assumption, SAME, f"nothing contradicts it: {reason}", untested=True)
    except NotChecked as reason:
        state, seen = NOT_CHECKED, str(reason)
    except Exception as error:
        state, seen = _state_of(error)
    return Result(assumption, state, seen)


def _state_of(error: Exception) -> tuple[str, str]:
    """Return what an error shows. Its message is left out: it may quote a response."""
    status = getattr(error, "status", None)
    text = type(error).__name__ + (f", status {status}" if status else "")
    if isinstance(error, CredentialsError):
        return NOT_CHECKED, text
    if isinstance(error, NotFoundError | BadAnswerError):
        return DIFFERENT, text
    if isinstance(error, ServiceError):
        # A refusal is an answer; a failure of the service or the network is none.
        is_answer = status is not None and 400 <= status < 500 and status != 429
        return (DIFFERENT if is_answer else NOT_CHECKED), text
    if isinstance(error, AindSessionError | PartialAnswerWarning):
        return NOT_CHECKED, text
    return DIFFERENT, f"an unexpected response ({text})"


# -- the command -----------------------------------------------------------------------------------


def selfcheck(
    as_json: AsJson = False,
    report: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Also write the report to a Markdown file."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Check one assumption, or one group: codeocean, docdb, ...; may be repeated.",
        ),
    ] = None,
) -> int:
    """Check what this package assumes about the services.

    Reads only: at most 80 requests, one at a time, in at most 2 minutes. The report has no secrets,
    names or contents of records, so that it can be sent along with an issue. The exit code is 1 if
    an assumption is wrong, 3 if one could not be checked because a credential is missing or a
    service failed, else 0. What did not happen, such as a large answer, is marked as not tested.
    """
    with output.waiting("checking"):
        results = check_all(_selected(only or []))
    if report is not None:
        report.write_text(markdown(results), encoding="utf-8")
    if as_json:
        output.write_json([result.row for result in results])
    else:
        _write(results)
    states = {result.state for result in results}
    return NOT_FOUND if DIFFERENT in states else UNKNOWN if NOT_CHECKED in states else FOUND


def _selected(only: Sequence[str]) -> list[Assumption]:
    from aind_session.cli.assumptions import ASSUMPTIONS

    known = {name for one in ASSUMPTIONS for name in (one.id, one.group)}
    if unknown := sorted(set(only) - known):
        groups = ", ".join(dict.fromkeys(one.group for one in ASSUMPTIONS))
        raise InvalidFilterError(
            f"{unknown[0]!r} is not the ID of an assumption or one of {groups}."
        )
    return [one for one in ASSUMPTIONS if not only or {one.id, one.group} & set(only)]


def _write(results: Sequence[Result]) -> None:
    for result in results:
        row = result.row
        output.write_line(f"{row.pop('state')}: {row.pop('id')}", bold=result.state != SAME)
        for name, text in row.items():
            output.write_line(f"  {name.replace('_', ' ') + ':':<8} {text}")
    output.write_line(_summary(results))


def _summary(results: Sequence[Result]) -> str:
    counts = Counter(result.state for result in results)
    summary = ", ".join(f"{counts[state]} {state}" for state in (SAME, DIFFERENT, NOT_CHECKED))
    untested = sum(result.untested for result in results)
    return f"{summary} ({untested} of the same not tested)" if untested else summary


def _circumstances() -> str:
    from aind_session import settings

    now = settings.current()
    where = "sandbox" if os.environ.get(settings.SANDBOX_ACTIVE) else "live services"
    default = now.domain.value == settings.DEFAULT_DOMAIN
    return (
        f"aind-session {version('aind-session')}, codeocean {version('codeocean')}, Python "
        f"{platform.python_version()}, {where}, {'default' if default else 'other'} domain"
    )


def markdown(results: Sequence[Result]) -> str:
    """Return the report as Markdown: what is not as assumed comes first."""
    lines = ["# aind-session selfcheck", "", _circumstances(), "", _summary(results), ""]
    lines += ["| state | ID | assumed | seen | used by | source |", "|---|---|---|---|---|---|"]
    order = (DIFFERENT, NOT_CHECKED, SAME)
    for result in sorted(results, key=lambda result: order.index(result.state)):
        cells = (cell.replace("|", " ") for cell in result.row.values())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
