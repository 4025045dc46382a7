"""Settings of this process, each with the place that it came from.

They are read when a service is first used, never at import. The environment comes first, then a
`.env` file in the working directory or a parent of it up to the project's root, then one in the
home directory, then the defaults. Spaces and quotes around a value are removed.

====================================  ==================================================  =========
variable                              meaning                                             default
====================================  ==================================================  =========
``CODE_OCEAN_API_TOKEN``              access token, scope `Datasets: Read`                none
``CODE_OCEAN_DOMAIN``                 URL of Code Ocean                                   AIND's
``AIND_SESSION_DOCDB_HOST``           host of the metadata database (DocDB)               AIND's
``AIND_SESSION_BUCKETS``              buckets searched by name, separated by commas       eight
``AIND_SESSION_CACHE_SECONDS``        seconds for which results that can change are kept  600
``AIND_SESSION_TIMEOUT``              seconds per request, repeated attempts included     30
``AIND_SESSION_ATTEMPTS``             largest number of attempts per request              4
``AIND_SESSION_MAX_RESPONSE_BYTES``   largest body of a response, decompressed            512 MiB
``AIND_SESSION_RIG_TIME_ZONE``        time zone of acquisition times without an offset    Pacific
``AIND_SESSION_UNCONFIRMED_SECONDS``  wait before an unconfirmed run is started again     600
``AIND_SESSION_SANDBOX``              ``1`` or a catalogue folder: use no live service    none
====================================  ==================================================  =========

These are read from the environment only: ``AIND_SESSION_PROGRESS=0`` turns progress bars off, and
``AIND_SESSION_DATA_DIR`` is the folder that attached data assets are searched in.

If ``CODE_OCEAN_API_TOKEN`` is not set, a variable whose value begins with `cop_` is used instead,
preferably one with 20 or more letters and digits after it.

An invalid value raises `SettingsError` when its service is used. Other services are not
affected.
"""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aind_session import setting_values as parse
from aind_session.errors import (
    CredentialsError,
    MissingTokenError,
    SettingsError,
    SettingsWarning,
    UnsafeDomainError,
)

T = TypeVar("T")

DEFAULT_DOMAIN = "https://codeocean.allenneuraldynamics.org"
DEFAULT_DOCDB_HOST = "api.allenneuraldynamics.org"
#: Bucket with the files of Code Ocean's internal results, one folder per asset ID.
RESULTS_BUCKET = "codeocean-s3datasetsbucket-1u41qdg42ur9"
#: Buckets with folders named after sessions, now or formerly. `RESULTS_BUCKET` is not one of them.
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

#: Requests a sandbox: `1`, or a catalogue folder.
SANDBOX = "AIND_SESSION_SANDBOX"
#: Set while a sandbox is active.
SANDBOX_ACTIVE = "AIND_SESSION_SANDBOX_ACTIVE"
#: Set with it: the catalogue folder, empty if it has none.
SANDBOX_CATALOGUE = "AIND_SESSION_SANDBOX_CATALOGUE"
#: File that makes a folder a catalogue.
CATALOGUE_HEADER = "catalogue.json"

TOKEN_NAME = "CODE_OCEAN_API_TOKEN"
DOMAIN_NAME = "CODE_OCEAN_DOMAIN"
DOCDB_NAME = "AIND_SESSION_DOCDB_HOST"
# Names that people give to the token's secret in a capsule.
OTHER_TOKEN_NAMES = (
    "CODEOCEAN_API_TOKEN",
    "CODEOCEAN_TOKEN",
    "CO_API_TOKEN",
    "CO_TOKEN",
    "API_SECRET",
    "CUSTOM_KEY",
)

DEFAULT = "default"
ENVIRONMENT = "environment"
DAY, YEAR = 86_400.0, 366 * 86_400.0

_AWS_NAMES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
)
_TIME_ZONE = parse.Kind(parse.time_zone, "a time zone such as America/Los_Angeles")
_URL = parse.Kind(parse.clean_url, f"a URL such as {DEFAULT_DOMAIN}")
_HOST = parse.Kind(parse.clean_host, f"a host such as {DEFAULT_DOCDB_HOST}")
_BUCKETS = parse.Kind(parse.bucket_names, "names of buckets separated by commas")
# Field: variable, default, kind of value, service. A shorter wait than 600 s for an unconfirmed run
# could start it twice.
_FIELDS: dict[str, tuple[str, object, parse.Kind[Any], str]] = {
    "domain": (DOMAIN_NAME, DEFAULT_DOMAIN, _URL, "Code Ocean"),
    "docdb_host": (DOCDB_NAME, DEFAULT_DOCDB_HOST, _HOST, "DocDB"),
    "buckets": ("AIND_SESSION_BUCKETS", DEFAULT_BUCKETS, _BUCKETS, "S3"),
    "cache_seconds": ("AIND_SESSION_CACHE_SECONDS", 600.0, parse.number(0, YEAR), ""),
    "timeout": ("AIND_SESSION_TIMEOUT", 30.0, parse.number(0.001, DAY), ""),
    "attempts": ("AIND_SESSION_ATTEMPTS", 4, parse.count(1, 100), ""),
    "max_response_bytes": (
        *("AIND_SESSION_MAX_RESPONSE_BYTES", 512 * 2**20),
        *(parse.count(1, 2**40), ""),
    ),
    "rig_time_zone": ("AIND_SESSION_RIG_TIME_ZONE", "America/Los_Angeles", _TIME_ZONE, ""),
    "unconfirmed_seconds": (
        *("AIND_SESSION_UNCONFIRMED_SECONDS", 600.0),
        *(parse.number(600, YEAR), ""),
    ),
}
_READ_NAMES = frozenset(
    {TOKEN_NAME, SANDBOX, "AIND_SESSION_PROGRESS", "AIND_SESSION_DATA_DIR", *_AWS_NAMES}
    | {variable for variable, *_ in _FIELDS.values()}
)

Sources = list[tuple[str, Mapping[str, str]]]


def _place(name: str, source: str) -> str:
    return f"{name} in {'the environment' if source == ENVIRONMENT else source}"


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A value and the place that it came from.

    Attributes
    ----------
    value
        The value. Reading it raises `SettingsError` if it is invalid.
    source : str
        "environment", the path of a `.env` file, or "default".
    name : str
        Name of the variable.
    problem : str
        What is wrong with the value; empty if it is valid.

    Examples
    --------
    >>> Setting(30.0, "environment", "AIND_SESSION_TIMEOUT").place
    'AIND_SESSION_TIMEOUT in the environment'
    """

    _value: T
    source: str
    name: str = ""
    problem: str = ""
    service: str = ""

    def __str__(self) -> str:
        return self.problem or f"{self._value} (from {self.place})"

    @property
    def value(self) -> T:
        """The value; raises `SettingsError` if it is invalid."""
        if self.problem:
            raise SettingsError(self.problem, service=self.service, variable=self.name)
        return self._value

    @property
    def shown(self) -> str:
        """The value as text, or what is wrong with it."""
        return self.problem or str(self._value)

    @property
    def place(self) -> str:
        """The source with the variable's name, such as "CODE_OCEAN_DOMAIN in the environment"."""
        return "the default" if self.source == DEFAULT else _place(self.name, self.source)


@dataclass(frozen=True)
class SecretSetting(Setting[str]):
    """A secret value: only its source is shown, and it is never pickled."""

    _value: str = field(repr=False)

    def __str__(self) -> str:
        return f"*** (from {self.place})"

    @property
    def value(self) -> str:
        """The secret; raises `CredentialsError` if it cannot be sent."""
        if self.problem:
            raise CredentialsError(self.problem, service=self.service)
        return self._value

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled: each process reads its own settings")


@dataclass(frozen=True)
class Settings:
    """The settings of this process, read from its environment and `.env` files.

    Attributes
    ----------
    token : SecretSetting or None
        Code Ocean's access token.
    domain, docdb_host : Setting of str
        URL of Code Ocean; host of DocDB (a URL only if it is plain http on this machine).
    buckets : Setting of tuple of str
        Buckets that are searched by name.
    cache_seconds, timeout : Setting of float
        Seconds for which results are kept; seconds per request, repeated attempts included.
    attempts : Setting of int
        Largest number of attempts per request.
    max_response_bytes : Setting of int
        Largest body of a response after decompression, in bytes.
    rig_time_zone : Setting of str
        IANA name of the time zone of acquisition times without an offset.
    unconfirmed_seconds : Setting of float
        Seconds to wait before a run whose start was not confirmed may be started again.

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
    max_response_bytes: Setting[int]
    rig_time_zone: Setting[str]
    unconfirmed_seconds: Setting[float]
    identities: Mapping[str, str] = field(repr=False, default_factory=dict)
    #: Places of variables whose names differ from a setting's in upper and lower case only.
    misspelled: tuple[str, ...] = ()
    #: `.env` files that cannot be read, each with the reason.
    unreadable: tuple[str, ...] = ()

    def require_token(self) -> str:
        """Return the token if it may be sent to the domain.

        Returns
        -------
        str
            The Code Ocean token.

        Raises
        ------
        MissingTokenError
            No token is set (a `KeyError`).
        CredentialsError
            The token contains characters that cannot be sent.
        UnsafeDomainError
            The domain is neither the default nor from the token's own source (a `ValueError`).
        """
        if self.token is None:
            similar = [place for place in self.misspelled if TOKEN_NAME in place.upper()]
            hint = f" {similar[0]} is ignored: write {TOKEN_NAME} in capitals." if similar else ""
            raise MissingTokenError(
                f"No Code Ocean token: set {TOKEN_NAME} in the environment or a .env file (scope "
                f"`Datasets: Read`; in a capsule attach the `API credentials` secret).{hint} "
                "`aind-session doctor` shows which places were searched."
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
        """Whether there is a token that may be sent to the domain."""
        try:
            self.require_token()
        except CredentialsError:
            return False
        return True

    def all(self) -> tuple[Setting[object], ...]:
        """Return every setting except the token."""
        return tuple(value for value in vars(self).values() if type(value) is Setting)

    def identity(self, service: str) -> str:
        """Return a digest of the service's address and credentials, to keep its results apart.

        Parameters
        ----------
        service
            "Code Ocean", "DocDB" or "S3".
        """
        return self.identities[service]


#: Seconds for which the `.env` files are assumed to be unchanged.
FILES_FRESH = 1.0


@dataclass
class Lookup:
    """A lookup under way: it compares its settings with the environment once per second.

    The comparison takes 20 microseconds, and a lookup needs the settings dozens of times.
    """

    settings: Settings | None = field(default=None, init=False, repr=False, compare=False)
    compared: float = field(default=0.0, init=False, repr=False, compare=False)


#: The lookup under way, in the pool's threads too; `trace.tracing` begins and ends it.
lookup: ContextVar[Lookup | None] = ContextVar("lookup", default=None)

_last: tuple[dict[str, str], float, Settings] | None = None


def current() -> Settings:
    """Return the current settings.

    Returns
    -------
    Settings
        Read again if a variable has changed, and once per second because a `.env` file may have.
        A lookup under way notices a change within a second.

    Warns
    -----
    SettingsWarning
        A `.env` file cannot be read.

    Examples
    --------
    >>> from aind_session import settings
    >>> settings.current().attempts.value
    4
    """
    global _last
    last, now, under_way = _last, time.monotonic(), lookup.get()
    if (
        under_way
        and last
        and under_way.settings is last[2]
        and now - under_way.compared < FILES_FRESH
    ):
        return last[2]
    if os.environ.get(SANDBOX) and not os.environ.get(SANDBOX_ACTIVE):
        _autostart(os.environ[SANDBOX])
    environment = dict(os.environ)
    if last and last[0] == environment and now - last[1] < FILES_FRESH:
        settings = last[2]
    else:
        settings = _read()
        _last = (environment, now, settings)
        for text in settings.unreadable:
            if last is None or text not in last[2].unreadable:
                warnings.warn(SettingsWarning(text), stacklevel=2)
    if under_way:
        under_way.settings, under_way.compared = settings, now
    return settings


def forget() -> None:
    """Read everything again at the next use, after a change of a `.env` file or the folder."""
    global _last
    _last = None


def _read() -> Settings:
    files = list(parse.env_files())
    sources: Sources = [(ENVIRONMENT, os.environ), *((file.path, file.values) for file in files)]
    wanted, place = _first(sources, SANDBOX)
    if place not in (DEFAULT, ENVIRONMENT) and not os.environ.get(SANDBOX_ACTIVE):
        # A relative path in a file is relative to that file.
        beside = os.path.join(os.path.dirname(place), wanted)
        _autostart(beside if os.path.isdir(beside) else wanted)
    token = _find_token(sources)
    fields: dict[str, Any] = {name: _find(sources, *row) for name, row in _FIELDS.items()}
    named, domain, docdb = (_first(sources, n)[0] for n in (TOKEN_NAME, DOMAIN_NAME, DOCDB_NAME))
    return Settings(
        token=token,
        **fields,
        identities={
            "Code Ocean": _digest(domain, token._value if token else "", named),
            "DocDB": _digest(docdb),
            "S3": _digest(*(os.environ.get(name, "") for name in _AWS_NAMES)),
        },
        misspelled=tuple(
            _place(name, source)
            for source, found in sources
            for name in found
            if name.upper() in _READ_NAMES and name not in _READ_NAMES
        ),
        unreadable=tuple(
            f"The settings file {file.path} cannot be read ({file.problem}); it is ignored."
            for file in files
            if file.problem
        ),
    )


def _digest(*parts: str) -> str:
    """Return a short hash from which no secret can be recovered."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _autostart(wanted: str) -> None:
    # The package's `__init__` is the one place that may load the sandbox.
    from aind_session import _start_sandbox

    _start_sandbox(wanted)


def _first(sources: Sources, name: str) -> tuple[str, str]:
    """Return the value and source of a variable; empty if it is not set."""
    for source, values in sources:
        if text := parse.bare(values.get(name, "")):
            return text, source
    return "", DEFAULT


def _find_token(sources: Sources) -> SecretSetting | None:
    text, source = _first(sources, TOKEN_NAME)
    found = [(TOKEN_NAME, text, source)] if text else []
    if not found:
        found = [
            (name, parse.bare(value), source)
            for source, values in sources
            for name, value in values.items()
            if parse.may_be_token(value)
        ]
        # The sort is stable: without a value in the form of a token, the first one is used.
        found.sort(
            key=lambda one: (
                (0, one[0] not in OTHER_TOKEN_NAMES)
                if parse.looks_like_token(one[1])
                else (1, False)
            )
        )
    if not found:
        return None
    name, text, source = found[0]
    kind = parse.unsendable(text)
    problem = (
        f"The Code Ocean token {_place(name, source)} contains {kind}, which cannot be part of a "
        "token. Copy the token again and set it anew."
    )
    if kind:
        return SecretSetting("", source, name, problem, "Code Ocean")
    return SecretSetting(text, source, name, service="Code Ocean")


def _find(sources: Sources, name: str, default: T, kind: parse.Kind[T], service: str) -> Setting[T]:
    text, source = _first(sources, name)
    if not text:
        return Setting(default, DEFAULT, name, service=service)
    try:
        return Setting(kind.read(text), source, name, service=service)
    except parse.InvalidValueError as error:
        reason = f": {error}" if str(error) else ""
    # The value itself is never shown: it may be a secret that was set under the wrong name.
    problem = f"{_place(name, source)} is not valid{reason}. Expected: {kind.expected}."
    return Setting(default, source, name, problem, service)
