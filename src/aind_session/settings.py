"""Settings, each with the place that it came from.

Read when a service is first asked, never at import. The real environment comes first, then a
`.env` file in the working directory or a parent of it up to the project's root, then one in the
home directory, then the defaults.

==============================  ======================================================  =======
variable                        what it sets                                            default
==============================  ======================================================  =======
``CODE_OCEAN_API_TOKEN``        access token, scope `Datasets: Read`                    none
``CODE_OCEAN_DOMAIN``           Code Ocean                                              AIND's
``AIND_SESSION_DOCDB_HOST``     host of the metadata database's gateway                 AIND's
``AIND_SESSION_BUCKETS``        buckets searched by name, separated by commas           eight
``AIND_SESSION_CACHE_SECONDS``  how long an answer that can change is kept              600
``AIND_SESSION_TIMEOUT``        seconds for any question, retries included              30
``AIND_SESSION_ATTEMPTS``       how often a question is put at most                     4
``AIND_SESSION_SANDBOX``        ``1`` or a catalogue's folder: ask no live service      none
==============================  ======================================================  =======

Read from the environment alone: ``AIND_SESSION_PROGRESS=0`` shows no progress bar, and
``AIND_SESSION_DATA_DIR`` is the folder in which attached data are looked for.

Without ``CODE_OCEAN_API_TOKEN``, the names that people use in capsules are tried, then the first
variable whose value looks like a token.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from aind_session.errors import MissingTokenError, UnsafeDomainError

T = TypeVar("T")

DEFAULT_DOMAIN = "https://codeocean.allenneuraldynamics.org"
DEFAULT_DOCDB_HOST = "api.allenneuraldynamics.org"
#: Where Code Ocean keeps the files of internal results, one folder an asset ID.
RESULTS_BUCKET = "codeocean-s3datasetsbucket-1u41qdg42ur9"
#: Buckets that hold, or held, folders named after a session. Results are not among them: their
#: folders are named by asset ID.
DEFAULT_BUCKETS: tuple[str, ...] = (
    "aind-ephys-data",
    "aind-ophys-data",
    "aind-behavior-data",
    "aind-private-data-prod-o5171v",
    "aind-open-data",
    "aind-open-data-prod-o5171v",
    "aind-msma-morphology-data",
    "aibs-behavior-data",
)
SCRATCH_BUCKET = "aind-scratch-data"

#: Asks for a sandbox: `1`, or the folder of a catalogue.
SANDBOX = "AIND_SESSION_SANDBOX"
#: Set while one serves.
SANDBOX_ACTIVE = "AIND_SESSION_SANDBOX_ACTIVE"
#: Set with it: the folder of its catalogue, empty where it has none.
SANDBOX_CATALOGUE = "AIND_SESSION_SANDBOX_CATALOGUE"
#: What makes a folder a catalogue.
CATALOGUE_HEADER = "catalogue.json"

TOKEN_NAME = "CODE_OCEAN_API_TOKEN"
# Names under which people attach the token's secret to a capsule.
OTHER_TOKEN_NAMES = (
    "CODEOCEAN_API_TOKEN",
    "CODEOCEAN_TOKEN",
    "CO_API_TOKEN",
    "CO_TOKEN",
    "API_SECRET",
    "CUSTOM_KEY",
)
# `cop_` and then token characters only: a sentence or a word such as `cop_police_department`,
# with underscores or without a digit, is no token.
_TOKEN = re.compile(r"cop_(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{8,}", re.IGNORECASE)
_LONG_TOKEN = re.compile(r"cop_[A-Za-z0-9]{24,}", re.IGNORECASE)

DEFAULT = "default"
ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A value and the place that it came from."""

    value: T
    source: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.value} (from {self.place})"

    @property
    def place(self) -> str:
        """The source, with the variable's name: "CODE_OCEAN_DOMAIN in the environment"."""
        if self.source == DEFAULT:
            return "the default"
        where = "the environment" if self.source == ENVIRONMENT else self.source
        return f"{self.name} in {where}"


@dataclass(frozen=True)
class SecretSetting(Setting[str]):
    """A secret value: shown by its source only, never pickled."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return f"*** (from {self.place})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled: each process reads its own settings")


@dataclass(frozen=True)
class Settings:
    """What this process uses, read from its environment.

    Examples
    --------
    >>> from aind_session import settings
    >>> settings.current().docdb_host.source
    'environment'
    """

    token: SecretSetting | None
    domain: Setting[str]
    docdb_host: Setting[str]
    buckets: Setting[tuple[str, ...]]
    cache_seconds: Setting[float]
    timeout: Setting[float]
    attempts: Setting[int]
    #: Largest decoded body of a response, in bytes.
    max_response_bytes: Setting[int]
    #: IANA name of the time zone in which the rigs write times without an offset.
    rig_time_zone: Setting[str]
    #: Seconds after which a run whose start was never confirmed may be started again.
    unconfirmed_seconds: Setting[float]
    identities: Mapping[str, str] = field(repr=False, default_factory=dict)

    def require_token(self) -> str:
        """Give the token, if it may be sent to the domain.

        Raises
        ------
        MissingTokenError
            There is none (a `KeyError`).
        UnsafeDomainError
            The domain is neither the default nor from the token's own source (a `ValueError`).
        """
        if self.token is None:
            raise MissingTokenError(
                f"No Code Ocean token: set {TOKEN_NAME} in the environment or a .env file (scope "
                "`Datasets: Read`; in a capsule attach the `API credentials` secret). "
                "`aind-session doctor` shows what was looked at."
            )
        if self.domain.source not in (DEFAULT, self.token.source):
            raise UnsafeDomainError(
                f"The Code Ocean token is {self.token.place}, but the domain is "
                f"{self.domain.place}: a token is sent only to the default domain or to one from "
                "its own source. Set both in the same place."
            )
        return self.token.value

    @property
    def has_token(self) -> bool:
        """Whether a token was found that may be sent to the domain."""
        try:
            self.require_token()
        except (MissingTokenError, UnsafeDomainError):
            return False
        return True

    def identity(self, service: str) -> str:
        """Name who asks: answers to one are never given to another.

        Parameters
        ----------
        service
            "Code Ocean", "DocDB" or "S3".
        """
        return self.identities[service]


_AWS_IDENTITY = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
)


#: Seconds for which the `.env` files are taken to be as they were.
FILES_FRESH = 1.0

_last: tuple[object, float, Settings] | None = None


def current() -> Settings:
    """Read the settings as they are now.

    Returns
    -------
    Settings
        Cheap, since it is asked for with every question: read again where the environment has
        changed, and where a second has passed, in which a `.env` file could have.
    """
    global _last
    if os.environ.get(SANDBOX) and not os.environ.get(SANDBOX_ACTIVE):
        _start_sandbox(os.environ[SANDBOX])
    # The environment as the interpreter holds it: a copy through its public face decodes each
    # value anew, and costs twenty times as much.
    environment = getattr(os.environ, "_data", os.environ)
    last = _last
    if last is not None and last[0] == environment and time.monotonic() - last[1] < FILES_FRESH:
        return last[2]
    settings = _read()
    _last = (dict(environment), time.monotonic(), settings)
    return settings


def forget() -> None:
    """Read everything again when next asked: for who changes a `.env` file or the folder."""
    global _last
    _last = None
    _parsed.clear()


def _read() -> Settings:
    sources = list(_sources())
    sandbox = _find(sources, SANDBOX, "", str)
    is_active = bool(os.environ.get(SANDBOX_ACTIVE))
    if sandbox.source not in (DEFAULT, ENVIRONMENT) and not is_active:
        # A folder in a file is seen from there, wherever below it the program was started.
        beside = os.path.join(os.path.dirname(sandbox.source), sandbox.value)
        _start_sandbox(beside if os.path.isdir(beside) else sandbox.value)
    token = _find_token(sources)
    domain = _find(sources, "CODE_OCEAN_DOMAIN", DEFAULT_DOMAIN, _clean_domain)
    docdb_host = _find(sources, "AIND_SESSION_DOCDB_HOST", DEFAULT_DOCDB_HOST, _clean_host)
    return Settings(
        token=token,
        domain=domain,
        docdb_host=docdb_host,
        buckets=_find(sources, "AIND_SESSION_BUCKETS", DEFAULT_BUCKETS, _names),
        cache_seconds=_find(sources, "AIND_SESSION_CACHE_SECONDS", 600.0, _number),
        timeout=_find(sources, "AIND_SESSION_TIMEOUT", 30.0, _number),
        attempts=_find(sources, "AIND_SESSION_ATTEMPTS", 4, _count),
        max_response_bytes=_find(sources, "AIND_SESSION_MAX_RESPONSE_BYTES", 512 * 2**20, _count),
        rig_time_zone=_find(sources, "AIND_SESSION_RIG_TIME_ZONE", "America/Los_Angeles", str),
        unconfirmed_seconds=_find(sources, "AIND_SESSION_UNCONFIRMED_SECONDS", 600.0, _number),
        identities={
            "Code Ocean": _digest(domain.value, token.value if token else ""),
            "DocDB": _digest(docdb_host.value),
            "S3": _digest(*(os.environ.get(name, "") for name in _AWS_IDENTITY)),
        },
    )


def _digest(*parts: str) -> str:
    """Name who asks, without telling: a secret cannot be read out of it."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _start_sandbox(wanted: str) -> None:
    # A dotted path, as for namespaces: the sandbox stands on a higher floor, and only the
    # environment can ask for it from down here.
    import importlib

    importlib.import_module("aind_session.catalogue.serving").autostart(wanted)


def _sources() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the places where settings stand, the most binding first."""
    yield ENVIRONMENT, os.environ
    for path in _env_files():
        yield str(path), _read_env_file(path)


def _env_files() -> Iterator[Path]:
    """Yield the `.env` files: working directory, its parents to the project's root, home."""
    here, home = _path_of(Path.cwd), _path_of(Path.home)
    seen: set[Path] = set()
    for folder in (here, *here.parents) if here is not None else ():
        # The project's root is the first folder with one of these; a file above it belongs to
        # somebody else. Without a root only the working directory itself is looked at.
        candidate = folder / ".env"
        if candidate not in seen and os.path.isfile(candidate):
            seen.add(candidate)
            yield candidate
        if folder == home or _is_root(folder):
            break
        if folder == here and not any(map(_is_root, here.parents)):
            break
    if home is not None and (home / ".env") not in seen and os.path.isfile(home / ".env"):
        yield home / ".env"


def _path_of(find: Callable[[], Path]) -> Path | None:
    """Give a folder; None where it was deleted, or where a container's user has none."""
    try:
        return find()
    except (OSError, RuntimeError):
        return None


def _is_root(folder: Path) -> bool:
    # `os.path`, which a folder that may not be read does not stop: `Path.exists` raises.
    return any(os.path.exists(folder / name) for name in (".git", "pyproject.toml"))


_parsed: dict[Path, tuple[tuple[int, int], dict[str, str]]] = {}


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = _parsed.get(path)
        if known is None or known[0] != stamp:
            from dotenv import dotenv_values

            # No interpolation: a file cannot draw a secret of the environment into its own values.
            values = dotenv_values(path, interpolate=False)
            known = (stamp, {k: v for k, v in values.items() if v})
            _parsed[path] = known
        return known[1]
    except (OSError, UnicodeDecodeError):
        return {}


def looks_like_token(value: str) -> bool:
    """Tell whether a value has the form of a Code Ocean token.

    Examples
    --------
    >>> looks_like_token("cop_7fq2Xk0aB3dZ9LmN")
    True
    >>> looks_like_token("cop_police_department")
    False
    """
    text = value.strip()
    return bool(_TOKEN.fullmatch(text) or _LONG_TOKEN.fullmatch(text))


def _find_token(sources: list[tuple[str, Mapping[str, str]]]) -> SecretSetting | None:
    for source, values in sources:
        value = values.get(TOKEN_NAME, "").strip()
        if value:
            return SecretSetting(value, source, TOKEN_NAME)
    for source, values in sources:
        for name in (*OTHER_TOKEN_NAMES, *values):
            value = values.get(name, "")
            if value[:4].lower() == "cop_" and looks_like_token(value):
                return SecretSetting(value.strip(), source, name)
    return None


def _find(
    sources: list[tuple[str, Mapping[str, str]]], name: str, default: T, clean: Callable[[str], T]
) -> Setting[T]:
    for source, values in sources:
        text = values.get(name, "").strip()
        with contextlib.suppress(ValueError):
            if text:
                return Setting(clean(text), source, name)
    return Setting(default, DEFAULT, name)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return max(0.0, number)


def _count(text: str) -> int:
    return max(1, int(_number(text)))


def _clean_domain(text: str) -> str:
    text = text.rstrip("/")
    return text if "://" in text else f"https://{text}"


def _clean_host(text: str) -> str:
    return text.rstrip("/").removeprefix("https://")


def _names(text: str) -> tuple[str, ...]:
    names = (name.strip().removeprefix("s3://").rstrip("/") for name in text.split(","))
    found = tuple(dict.fromkeys(filter(None, names)))
    if not found:
        raise ValueError(text)
    return found
