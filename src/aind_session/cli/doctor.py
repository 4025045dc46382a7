"""`aind-session doctor`: check that everything needed is there, and what to do if not."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata

from aind_session import settings
from aind_session.cli import output
from aind_session.cli.app import FOUND, NOT_FOUND, import_services
from aind_session.cli.output import AsCsv, AsJson
from aind_session.errors import (
    AccessDeniedError,
    AindSessionError,
    CredentialsError,
    ServiceConnectionError,
    ServiceError,
    SettingsError,
)
from aind_session.threads import gather, outcomes

OK, WARN, FAIL = "ok", "warn", "fail"

#: Most seconds for one check.
CHECK_SECONDS = 10.0
#: Seconds: S3 refuses signatures of a clock that is off by more than a quarter of an hour.
SKEW_NOTED, SKEW_REFUSED = 60.0, 900.0
NEEDED = (
    *("aind-session", "aind-data-access-api", "botocore", "codeocean", "npc-session", "s3fs"),
    *("typer", "universal-pathlib"),
)
_TOKEN_HELP = (
    "In Code Ocean: Account > Access Tokens, scope `Datasets: Read`; in a capsule attach the "
    f"`API credentials` secret, elsewhere set {settings.TOKEN_NAME}."
)
_AWS_HELP = (
    "In a capsule attach the AWS secret, elsewhere set a profile (`aws configure`); without, only "
    "public buckets are read."
)
_NETWORK_HELP = "Check the network, a VPN or proxy; else wait: the service itself may be down."
_SETTING_HELP = "Correct it or remove it; docs: Credentials."


@dataclass(frozen=True)
class Check:
    """One line of `doctor`."""

    state: str
    check: str
    text: str
    next: str = ""


Checks = Iterable[Check]


def doctor(as_json: AsJson = False, as_csv: AsCsv = False) -> int:
    """Check the settings, token, services, buckets and clock.

    The checks run at the same time. Each is ok, warn or fail, with what to do next. The exit code
    is 1 if one fails. No secret is printed, so the output can be sent along when you ask for help.
    """
    with output.waiting("checking"):
        results = run_all()
    rows = [vars(result) for result in results]
    if as_json or as_csv:
        output.write_rows(rows, as_json, as_csv)
    else:
        output.write_checks(results)
    return NOT_FOUND if any(result.state == FAIL for result in results) else FOUND


@dataclass(frozen=True)
class _Result:
    checks: list[Check]
    error: Exception | None = None


def run_all() -> list[Check]:
    """Run every check at the same time; return the results in a fixed order."""
    import_services()
    local: list[tuple[str, Callable[[], Checks]]] = [
        ("versions", versions),
        ("settings", limits),
        ("sandbox", sandbox),
        ("AWS credentials", aws),
        ("mounts", mounts),
        ("namespaces", namespaces),
    ]
    remote: list[tuple[str, Callable[[], Checks]]] = [
        ("token", token),
        ("domain", domain),
        ("DocDB v1", lambda: docdb("v1")),
        ("DocDB v2", lambda: docdb("v2")),
        ("bucket", buckets),
    ]
    # These threads are not waited for after Ctrl-C.
    results = gather(*(lambda one=one: _run(*one) for one in local + remote))
    here, there = results[: len(local)], results[len(local) :]
    errors = [result.error for result in there if result.error is not None]
    # The token is not sent if there is none; the other four are.
    if len(errors) >= 4 and all(isinstance(error, ServiceConnectionError) for error in errors):
        text = f"no service can be reached; the first error: {_line(errors[0])}"
        offline = Check(FAIL, "network", text, "Connect to the network; check a VPN or proxy.")
        there = [_Result([offline]), *(result for result in there if result.error is None)]
    checks = [result.checks for result in (*here[:3], *there, *here[3:])]
    return [check for some in checks for check in some]


def _run(name: str, check: Callable[[], Checks]) -> _Result:
    from aind_session.clock import at_most

    try:
        with at_most(CHECK_SECONDS):
            return _Result(list(check()))
    except Exception as error:
        return _Result(_failed(name, error), error)


def _failed(name: str, error: Exception) -> list[Check]:
    if isinstance(error, SettingsError):
        # `limits` reports the package's own settings, once for all checks that need them.
        is_ours = any(one.name == error.variable for one in settings.current().all())
        return [] if is_ours else [Check(FAIL, name, _line(error), _SETTING_HELP)]
    if isinstance(error, CredentialsError):
        is_token = name in ("token", "domain")
        return [Check(FAIL, name, _line(error), _TOKEN_HELP if is_token else _AWS_HELP)]
    if isinstance(error, AindSessionError):
        failed = Check(FAIL, name, _line(error), _NETWORK_HELP)
        return [failed, _clock(None, 0.0, 0.0)] if name == "domain" else [failed]
    text = f"{type(error).__name__}: {_line(error)}"
    return [Check(FAIL, name, text, "Please report this as a bug.")]


def _line(error: Exception | None) -> str:
    return next(iter(str(error).splitlines()), "")


def versions() -> Iterator[Check]:
    """Check the installed versions, and show the server version that the SDK requires."""
    from aind_session.services.sdk import CodeOcean

    found = {name: _version(name) for name in NEEDED}
    shown = [f"{name} {version}" for name, version in found.items() if version]
    text = ", ".join([f"Python {platform.python_version()}", *shown])
    missing = [name for name, version in found.items() if not version]
    if missing:
        yield Check(FAIL, "versions", text, f"pip install {' '.join(missing)}")
    elif not (3, 10) <= sys.version_info[:2] <= (3, 14):
        yield Check(WARN, "versions", text, "Python 3.10 to 3.14 are supported.")
    else:
        yield Check(OK, "versions", text)
    server = getattr(CodeOcean, "MIN_SERVER_VERSION", "unknown")
    yield Check(
        OK,
        "SDK",
        f"codeocean {found['codeocean']} requires Code Ocean {server} when used by itself; "
        "aind_session does not send this requirement and works with older servers",
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def limits() -> Iterator[Check]:
    """Check every setting; show those that are not the default."""
    now = settings.current()
    for setting in now.all():
        if setting.problem:
            yield Check(FAIL, "setting", setting.problem, _SETTING_HELP)
        elif setting.source != settings.DEFAULT and setting not in (now.domain, now.docdb_host):
            value = setting.value
            shown = ", ".join(value) if isinstance(value, tuple) else f"{value}"
            yield Check(OK, "setting", f"{setting.place}: {shown}")
    for place in now.misspelled:
        name = place.split()[0].upper()
        text = f"{place} is ignored: names of variables are case-sensitive"
        yield Check(WARN, "setting", text, f"Rename it to {name}.")
    for text in now.unreadable:
        yield Check(WARN, "setting", text, "Save it as UTF-8 text and check its permissions.")


def sandbox() -> Iterator[Check]:
    """Report that the sandbox replaces the live services."""
    if _in_sandbox():
        text = "a catalogue is served on this machine: no live service is checked"
        yield Check(OK, "sandbox", text)


def _in_sandbox() -> bool:
    return bool(os.environ.get(settings.SANDBOX_ACTIVE))


def token() -> Iterator[Check]:
    """Check that there is a token, that it may be sent, and its scope."""
    from aind_session.services import codeocean

    now = settings.current()
    if now.token is None:
        text = "There is no Code Ocean token."
        if similar := [place for place in now.misspelled if settings.TOKEN_NAME in place.upper()]:
            text = f"{text} {similar[0]} is ignored: write {settings.TOKEN_NAME} in capitals."
        without = f"{_TOKEN_HELP} To look around without one: aind-session --sandbox show 676909"
        yield Check(FAIL, "token", text, without)
        return
    if not now.has_token and not now.token.problem:
        text = f"The token is {now.token.place}, but the domain is {now.domain.place}."
        yield Check(FAIL, "token", text, "Set both in the same place.")
        return
    now.require_token()
    if codeocean.probe_token():
        text = f"{now.token.place}: accepted, with the scope to read data assets"
        yield Check(OK, "token", text)
    else:
        text = f"{now.token.place}: refused by {now.domain.value}, or without the scope"
        yield Check(FAIL, "token", text, _TOKEN_HELP)


def domain() -> Iterator[Check]:
    """Check that Code Ocean answers, with or without a token, and the clock against its own."""
    from aind_session.services.http import Transport, bare_session

    now = settings.current()
    service = Transport("Code Ocean", timeout=now.timeout.value, attempts=now.attempts.value)
    began = time.time()
    answer = bare_session(service).get(now.domain.value)
    ended = time.time()
    if answer.status_code >= 500:
        text = f"{now.domain.value} answers {answer.status_code}"
        yield Check(FAIL, "domain", text, "Wait: Code Ocean itself is down.")
    else:
        source = "default" if now.domain.source == settings.DEFAULT else f"from {now.domain.place}"
        took = f"{1000 * (ended - began):.0f} ms"
        yield Check(OK, "domain", f"{now.domain.value} ({source}) answers in {took}")
    yield _clock(answer.headers.get("Date"), began, ended)


def _clock(date: str | None, began: float, ended: float) -> Check:
    try:
        theirs = parsedate_to_datetime(str(date)).timestamp()
    except (TypeError, ValueError):
        text = "Code Ocean sent no time to compare with."
        return Check(WARN, "clock", text, "Compare it with another machine's.")
    # A header has whole seconds; the difference within the duration of the request is unknown.
    off = max(0.0, began - theirs - 1) - max(0.0, theirs - ended)
    if abs(off) < SKEW_NOTED:
        return Check(OK, "clock", f"within {max(1, round(abs(off)))} s of Code Ocean's")
    text = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} Code Ocean's"
    state = FAIL if abs(off) >= SKEW_REFUSED else WARN
    return Check(state, "clock", text, "Set this machine's clock: S3 refuses what is 15 min off.")


def docdb(version: str) -> Iterator[Check]:
    """Check both kinds of request to a schema version of DocDB."""
    from aind_session.services import docdb as service

    if version in service.retired_schemas():
        yield Check(WARN, f"DocDB {version}", "retired: this schema is not queried any more")
        return
    began = time.perf_counter()
    service.find_one(version, {"_id": "aind-session doctor"}, {"_id": 1})
    found = service.aggregate(version, [{"$limit": 1}, {"$project": {"name": 1}}])
    took = f"{1000 * (time.perf_counter() - began):.0f} ms"
    text = f"{settings.current().docdb_host.value} answers in {took}"
    if found:
        yield Check(OK, f"DocDB {version}", text)
    else:
        help_text = "Check AIND_SESSION_DOCDB_HOST."
        yield Check(WARN, f"DocDB {version}", f"{text}, but there is no record", help_text)


def aws() -> Iterator[Check]:
    """Check whether there are AWS credentials; the buckets show whether they are valid."""
    from aind_session.services import s3

    if s3.has_credentials():
        yield Check(OK, "AWS credentials", "found")
    else:
        yield Check(WARN, "AWS credentials", "none: buckets are read anonymously", _AWS_HELP)


def buckets() -> Iterator[Check]:
    """Check that each bucket can be listed; a fault that concerns all is reported once."""
    names = list(dict.fromkeys((*settings.current().buckets.value, settings.RESULTS_BUCKET)))
    answers = outcomes(*(lambda n=n: _run("bucket", lambda: [_bucket(n)]) for n in names))
    results = [answer.unwrap() for answer in answers]
    first = results[0].error
    known = ServiceError | CredentialsError
    if first is not None and all(isinstance(result.error, known) for result in results):
        raise first
    for result in results:
        yield from result.checks


def _bucket(name: str) -> Check:
    from aind_session.services import s3

    try:
        keys = s3.list_keys(name, "", limit=1)
    except AccessDeniedError as error:
        if isinstance(error, CredentialsError):
            raise
        return Check(WARN, "bucket", f"{name}: closed to this identity", _AWS_HELP)
    how = "anonymously" if s3.is_anonymous(name) else "with credentials"
    if keys:
        return Check(OK, "bucket", f"{name}: read {how}")
    if _in_sandbox():
        return Check(OK, "bucket", f"{name}: empty in this catalogue")
    return Check(WARN, "bucket", f"{name}: empty or missing", "Check AIND_SESSION_BUCKETS.")


def mounts() -> Iterator[Check]:
    """Check the folder of attached data."""
    from aind_session import attached_data

    in_capsule = bool(os.environ.get("CO_CAPSULE_ID") or os.environ.get("CO_COMPUTATION_ID"))
    named = os.environ.get(attached_data.ROOT_NAME)
    if not (in_capsule or named):
        yield Check(OK, "mounts", "not in a capsule or pipeline: none are expected")
        return
    data = named or next(filter(os.path.isdir, attached_data.ROOTS), attached_data.ROOTS[0])
    try:
        attached = sorted(os.listdir(data))
    except OSError as error:
        text = f"{data} cannot be read: {error.strerror}"
        yield Check(FAIL, "mounts", text, "Restart the attached.")
        return
    if attached:
        shown = ", ".join(attached[:5]) + (", ..." if len(attached) > 5 else "")
        yield Check(OK, "mounts", f"{data} has {len(attached)} attached: {shown}")
    else:
        yield Check(WARN, "mounts", f"{data} is empty", "Attach data assets to the attached.")


def namespaces() -> Iterator[Check]:
    """Check the namespaces that other packages announce."""
    from aind_session import extension

    found = extension.namespaces()
    broken = [one for one in found if one.state.startswith("broken")]
    for one in broken:
        text = f"{one.target}.{one.name} of {one.owner}: {one.state}"
        yield Check(WARN, "namespaces", text, f"Update or uninstall {one.owner}.")
    if not broken:
        names = ", ".join(f"{one.target}.{one.name}" for one in found)
        yield Check(OK, "namespaces", names or "none")
