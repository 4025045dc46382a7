"""The checks of `doctor`: each gives its results, and none raises."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata

from aind_session import capsule, extension, settings
from aind_session.errors import (
    AccessDeniedError,
    AindSessionError,
    CredentialsError,
    MissingTokenError,
)
from aind_session.services import codeocean, docdb, storage
from aind_session.services.http import Transport, bare_session
from aind_session.services.storage_client import has_credentials

OK, WARN, FAIL = "ok", "warn", "fail"

#: Seconds that a check takes at most; users may set less.
PATIENCE = 10.0
#: Seconds: S3 refuses what is signed by a clock that is off by more than a quarter of an hour.
SKEW_NOTED, SKEW_REFUSED = 60.0, 900.0
#: What the package stands on.
NEEDED = (
    *("aind-session", "aind-data-access-api", "boto3", "codeocean", "npc-session", "s3fs"),
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


@dataclass(frozen=True)
class Check:
    """One line of `doctor`."""

    state: str
    check: str
    told: str
    next: str = ""


Checks = Iterable[Check]


def run_all() -> list[Check]:
    """Run every check at the same time, and give the results in a fixed order."""
    now, written = settings.current(), dict(os.environ)
    with _patience():
        buckets = dict.fromkeys((*now.buckets.value, settings.RESULTS_BUCKET))
        asks: list[tuple[str, Callable[[], Checks]]] = [
            ("versions", versions),
            ("sandbox", sandbox),
            ("token", token),
            ("domain", domain),
            *((f"DocDB {g}", lambda g=g: generation(g)) for g in ("v1", "v2")),
            ("AWS credentials", aws),
            *(("bucket", lambda b=b: bucket(b)) for b in buckets),
            ("settings", lambda: limits(now, written)),
            ("mounts", mounts),
            ("namespaces", namespaces),
        ]
        pool = ThreadPoolExecutor(len(asks), thread_name_prefix="doctor")
        try:
            return [r for some in pool.map(lambda ask: _run(*ask), asks) for r in some]
        finally:
            # All have ended, unless somebody has lost patience: who then waits for no check.
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Let no service be waited for longer than somebody looks at an empty terminal."""
    limits = {"AIND_SESSION_TIMEOUT": min(PATIENCE, settings.current().timeout.value)}
    limits["AIND_SESSION_ATTEMPTS"] = min(2, settings.current().attempts.value)
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update({name: f"{value:g}" for name, value in limits.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _run(name: str, ask: Callable[[], Checks]) -> list[Check]:
    try:
        return list(ask())
    except Exception as error:
        line = _line(error)
        if isinstance(error, AindSessionError):
            is_aws = isinstance(error, CredentialsError) and name in ("AWS credentials", "bucket")
            return [Check(FAIL, name, line, _AWS_HELP if is_aws else _advice(error))]
        return [Check(FAIL, name, f"{type(error).__name__}: {line}", "Report it: it is a fault.")]


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _advice(error: AindSessionError) -> str:
    if isinstance(error, CredentialsError):
        return _TOKEN_HELP
    return "Check the network, a VPN or proxy; else wait: the service itself may be down."


def versions() -> Iterator[Check]:
    """Check the versions that are installed."""
    found = {name: _version(name) for name in NEEDED}
    told = ", ".join(
        [
            f"Python {platform.python_version()}",
            *(f"{name} {version}" for name, version in found.items() if version),
        ]
    )
    missing = [name for name, version in found.items() if not version]
    if missing:
        yield Check(FAIL, "versions", told, f"pip install {' '.join(missing)}")
    elif not (3, 10) <= sys.version_info[:2] <= (3, 13):
        yield Check(WARN, "versions", told, "Python 3.10 to 3.13 are tested.")
    else:
        yield Check(OK, "versions", told)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def sandbox() -> Iterator[Check]:
    """Tell where the live services are not asked."""
    if _in_sandbox():
        told = "a catalogue is served on this machine: no live service is checked"
        yield Check(OK, "sandbox", told)


def _in_sandbox() -> bool:
    return bool(os.environ.get(settings.SANDBOX_ACTIVE))


def token() -> Iterator[Check]:
    """Check that there is a token, that it may be sent, and what it is good for."""
    now = settings.current()
    if now.token is None:
        without = f"{_TOKEN_HELP} To look around without one: aind-session --sandbox show 676909"
        yield Check(FAIL, "token", "There is no Code Ocean token.", without)
        return
    try:
        now.require_token()
    except (MissingTokenError, CredentialsError) as error:
        yield Check(FAIL, "token", str(error), "Set both in the same place.")
        return
    if codeocean.probe_token():
        told = f"{now.token.place}: accepted, with the scope to read data assets"
        yield Check(OK, "token", told)
    else:
        told = f"{now.token.place}: refused by {now.domain.value}, or without the scope"
        yield Check(FAIL, "token", told, _TOKEN_HELP)


def domain() -> Iterator[Check]:
    """Check that Code Ocean is there, token or not, and our clock by its."""
    now = settings.current()
    service = Transport("Code Ocean", timeout=now.timeout.value, attempts=now.attempts.value)
    began = time.time()
    try:
        answer = bare_session(service).get(now.domain.value)
    except AindSessionError as error:
        yield Check(FAIL, "domain", _line(error), _advice(error))
        yield Check(WARN, "clock", "Code Ocean told no time to compare with.", _advice(error))
        return
    ended = time.time()
    told = f"{now.domain.value} ({_from(now.domain)}) answers in {1000 * (ended - began):.0f} ms"
    if answer.status_code >= 500:
        told = f"{now.domain.value} answers {answer.status_code}"
        yield Check(FAIL, "domain", told, "Wait: Code Ocean itself is down.")
    else:
        yield Check(OK, "domain", told)
    yield _clock(answer.headers.get("Date"), began, ended)


def limits(now: settings.Settings, written: Mapping[str, str]) -> Iterator[Check]:
    """Tell which of the other settings are not the default, and which cannot be read."""
    for setting in (now.buckets, now.cache_seconds, now.timeout, now.attempts):
        if setting.source != settings.DEFAULT:
            value = setting.value
            told = ", ".join(value) if isinstance(value, tuple) else f"{value:g}"
            yield Check(OK, "setting", f"{setting.place}: {told}")
        elif text := written.get(setting.name, "").strip():
            told = (
                f"{setting.name} in the environment cannot be read ({text!r}), the default counts"
            )
            yield Check(WARN, "setting", told, "Correct it, or take it away.")


def _from(setting: settings.Setting[str]) -> str:
    return "default" if setting.source == settings.DEFAULT else f"from {setting.place}"


def _clock(date: str | None, began: float, ended: float) -> Check:
    from email.utils import parsedate_to_datetime

    try:
        theirs = parsedate_to_datetime(str(date)).timestamp()
    except (TypeError, ValueError):
        told = "Code Ocean told no time to compare with."
        return Check(WARN, "clock", told, "Compare it with another machine's.")
    # A header has whole seconds: what lies between question and answer, or within one, is even.
    off = max(0.0, began - theirs - 1) - max(0.0, theirs - ended)
    if abs(off) < SKEW_NOTED:
        return Check(OK, "clock", f"within {max(1, round(abs(off)))} s of Code Ocean's")
    told = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} Code Ocean's"
    state = FAIL if abs(off) >= SKEW_REFUSED else WARN
    return Check(state, "clock", told, "Set this machine's clock: S3 refuses what is 15 min off.")


def generation(version: str) -> Iterator[Check]:
    """Check both ways in which a generation of DocDB is asked."""
    began = time.perf_counter()
    docdb.find_one(version, {"_id": "aind-session doctor"}, {"_id": 1})
    found = docdb.aggregate(version, [{"$limit": 1}, {"$project": {"name": 1}}])
    took = f"{1000 * (time.perf_counter() - began):.0f} ms"
    host = settings.current().docdb_host.value
    name = f"DocDB {version}"
    if found:
        yield Check(OK, name, f"{host} answers in {took}")
    else:
        told = f"{host} answers in {took}, but there is no record"
        yield Check(WARN, name, told, "Check AIND_SESSION_DOCDB_HOST.")


def aws() -> Iterator[Check]:
    """Check whether there are AWS credentials; each bucket tells whether they are good."""
    if has_credentials():
        yield Check(OK, "AWS credentials", "found")
    else:
        yield Check(WARN, "AWS credentials", "none: buckets are read anonymously", _AWS_HELP)


def bucket(name: str) -> Iterator[Check]:
    """Check that a bucket can be listed."""
    try:
        keys = storage.list_keys(name, "", limit=1)
    except AccessDeniedError:
        yield Check(WARN, "bucket", f"{name}: closed to this identity", _AWS_HELP)
        return
    how = "anonymously" if storage.is_anonymous(name) else "with credentials"
    if keys:
        yield Check(OK, "bucket", f"{name}: read {how}")
    elif _in_sandbox():
        yield Check(OK, "bucket", f"{name}: empty in this catalogue")
    else:
        yield Check(WARN, "bucket", f"{name}: empty, or not there", "Check AIND_SESSION_BUCKETS.")


def mounts() -> Iterator[Check]:
    """Check the folders that a capsule has."""
    in_capsule = bool(os.environ.get("CO_CAPSULE_ID") or os.environ.get("CO_COMPUTATION_ID"))
    named = os.environ.get(capsule.ROOT_NAME)
    if not (in_capsule or named):
        yield Check(OK, "mounts", "not in a capsule or pipeline: none are expected")
        return
    data = named or next(filter(os.path.isdir, capsule.ROOTS), capsule.ROOTS[0])
    try:
        attached = sorted(os.listdir(data))
    except OSError as error:
        told = f"{data} cannot be read: {error.strerror}"
        yield Check(FAIL, "mounts", told, "Restart the capsule.")
        return
    if attached:
        shown = ", ".join(attached[:5]) + (", ..." if len(attached) > 5 else "")
        yield Check(OK, "mounts", f"{data} has {len(attached)} attached: {shown}")
    else:
        yield Check(WARN, "mounts", f"{data} is empty", "Attach data assets to the capsule.")


def namespaces() -> Iterator[Check]:
    """Check the namespaces that other packages announce."""
    found = extension.namespaces()
    broken = [one for one in found if one.state.startswith("broken")]
    for one in broken:
        told = f"{one.target}.{one.name} of {one.owner}: {one.state}"
        yield Check(WARN, "namespaces", told, f"Update or uninstall {one.owner}.")
    if not broken:
        names = ", ".join(f"{one.target}.{one.name}" for one in found)
        yield Check(OK, "namespaces", names or "none")
