"""The tree of errors.

Each error of this package is an `AindSessionError`, and also the builtin that callers would catch
already::

    AindSessionError
    ├── InvalidIdentifierError      (ValueError)         no session, subject or asset ID in the text
    ├── InvalidFilterError          (ValueError)         an invalid date, platform or column
    ├── InvalidContentError         (ValueError)         a file or table with invalid content
    ├── NotFoundError                                    looked everywhere, found nothing
    │   ├── MissingAttributeError   (AttributeError)     a session without raw asset, folder, ...
    │   ├── MissingFileError        (FileNotFoundError)  a folder or file that is not there
    │   │   └── MissingSorterNameError  (ValueError)     a sorting that finished for no probe
    │   ├── MissingLimsError        (AttributeError, ValueError)  no ID in LIMS2
    │   └── MissingAlignmentError   (KeyError)           no probe alignment
    ├── CredentialsError
    │   ├── MissingTokenError       (KeyError)           no Code Ocean token
    │   └── UnsafeDomainError       (ValueError)         the token would be sent to another host
    ├── ServiceError                                     could not find out
    │   ├── ServiceTimeoutError     (TimeoutError)
    │   ├── ServiceConnectionError  (ConnectionError)
    │   ├── BadAnswerError          (ValueError)         no JSON, HTML, cut short
    │   ├── IncompleteAnswerError                        a page is missing
    │   ├── SettingsError           (ValueError)         an invalid setting
    │   └── AccessDeniedError       (PermissionError)
    ├── NotReadyError               (TimeoutError)       a data asset, when the wait for it was over
    ├── FailedAssetError            (RuntimeError)       a data asset that will never be ready
    ├── DownloadError               (OSError)            files that could not be downloaded
    ├── SandboxError                                     the sandbox has no answer
    ├── NamespaceError              (ValueError)         a namespace that clashes
    │   └── BrokenNamespaceError    (RuntimeError)       a namespace that cannot be made
    └── MissingExtraError           (ImportError)        an optional dependency

Errors that are also those of a client (`codeocean.error.Error`, `requests.HTTPError`) live beside
that client, in `aind_session.services`. "Not found" and "could not find out" are different errors:
`NotFoundError` means that every service answered "not found", `ServiceError` that one did not
answer.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

E = TypeVar("E", bound="AindSessionError")


def _rebuild(cls: type[AindSessionError], state: dict[str, Any]) -> AindSessionError:
    """Make an error again from its pickle, whatever its constructor takes."""
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error._take(state)
    return error


class AindSessionError(Exception):
    """Root of all errors of this package.

    Parameters
    ----------
    message
        What was requested, from which service, why it failed, and what to do next.

    Examples
    --------
    >>> import aind_session
    >>> try:
    ...     aind_session.Session("no session here")
    ... except aind_session.AindSessionError as error:
    ...     print(type(error).__name__)
    InvalidIdentifierError
    """

    message: str

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self._take(facts)

    def _take(self, facts: dict[str, Any]) -> None:
        # Not by way of `__dict__`: an AttributeError's name has a place of its own.
        for name, value in facts.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        # KeyError shows its argument quoted and OSError looks for errno: all of ours read as text.
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Built anew from plain facts: what a client's error drags along (requests, headers with
        # a token) never reaches a pickle.
        return _rebuild, (type(self), self._plain_facts())

    def _plain_facts(self) -> dict[str, Any]:
        facts = {k: v for k, v in self.__dict__.items() if isinstance(v, _PLAIN)}
        if isinstance(self, AttributeError):
            facts["name"] = self.name
        return facts

    def with_message(self: E, message: str) -> E:
        """Return an error of the same type and facts with another message."""
        error = _rebuild(type(self), {**self._plain_facts(), "message": message})
        return cast("E", error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name if there is none."""
    return str(error).partition("\n")[0].removesuffix(":") or type(error).__name__


def in_words(names: list[str]) -> str:
    """Return names as "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


_PLAIN = (str, int, float, bool, type(None), tuple)


def name_session(error: BaseException, session_id: str) -> BaseException:
    """Add a session's ID to an error: as a note, or before Python 3.11 to its message."""
    note = f"session: {session_id}"
    if hasattr(error, "add_note"):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    elif error.args and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]} ({note})", *error.args[1:])
        if isinstance(error, AindSessionError):
            error.message = error.args[0]
    elif not error.args:
        error.args = (note,)
    return error


class InvalidIdentifierError(AindSessionError, ValueError):
    """The text holds no session, subject or asset ID."""


class InvalidFilterError(AindSessionError, ValueError):
    """A filter has a value that can match nothing: a bad date, an unknown platform."""


class InvalidContentError(AindSessionError, ValueError):
    """A file or value has invalid content: it is not JSON, or a table is not complete."""


class NotFoundError(AindSessionError):
    """Every service that could have it was searched, and none has it.

    Attributes
    ----------
    trail : tuple of str
        The requests to each service and their answers, in order.
    """

    trail: tuple[str, ...] = ()


class MissingAttributeError(NotFoundError, AttributeError):
    """A session does not have this: `getattr(session, "raw_data_asset", None)` is None."""


class MissingFileError(NotFoundError, FileNotFoundError):
    """A folder or a file is not there."""


class MissingSorterNameError(MissingFileError, ValueError):
    """No file of a sorted data asset contains the name of the sorter."""


class MissingLimsError(NotFoundError, AttributeError, ValueError):
    """A session has no ID in LIMS2, or no session has it."""


class MissingAlignmentError(NotFoundError, KeyError):
    """No probe of the session has been aligned."""


class CredentialsError(AindSessionError):
    """A credential is missing, refused, or not to be sent.

    Attributes
    ----------
    service : str
        Whose it is: "Code Ocean" or "S3".
    """

    service: str = "Code Ocean"


class MissingTokenError(CredentialsError, KeyError):
    """Neither the environment nor a `.env` file contains a Code Ocean token."""


class UnsafeDomainError(CredentialsError, ValueError):
    """The token and the domain come from different sources: the token is not sent."""


class ServiceError(AindSessionError):
    """A service did not answer, or not with an answer.

    Attributes
    ----------
    service : str
        "Code Ocean", "DocDB" or "S3".
    status : int or None
        HTTP status of the last answer.
    attempts : int
        Number of attempts.
    seconds : float
        Time spent, in seconds.
    request_id : str or None
        The service's own ID of the request, if it returned one.
    """

    service: str = ""
    status: int | None = None
    attempts: int = 1
    seconds: float = 0.0
    request_id: str | None = None


class ServiceTimeoutError(ServiceError, TimeoutError):
    """The service did not answer in the configured time."""


class ServiceConnectionError(ServiceError, ConnectionError):
    """The service could not be reached."""


class BadAnswerError(ServiceError, ValueError):
    """The answer is not in the service's format: HTML, an empty body, a part of an answer."""


class IncompleteAnswerError(ServiceError):
    """Some pages of an answer are missing: a partial list is never returned as the whole list."""


class AccessDeniedError(ServiceError, PermissionError):
    """It is there, but not for these credentials."""


class SettingsError(ServiceError, ValueError):
    """A setting has an invalid value; its service is not used.

    Attributes
    ----------
    variable : str
        Name of the environment variable. Its value is not shown: it may be a secret in the wrong
        place.
    """

    attempts: int = 0
    variable: str = ""


class NotReadyError(AindSessionError, TimeoutError):
    """A data asset was not ready, or its files not visible, when the wait for it was over."""


class FailedAssetError(AindSessionError, RuntimeError):
    """The creation of a data asset failed: it will never be ready."""


class DownloadError(AindSessionError, OSError):
    """Files could not be downloaded.

    Attributes
    ----------
    paths : tuple of pathlib.Path
        The files that were.
    failed : dict
        The reason by path below the folder.
    """

    paths: tuple[Any, ...] = ()
    failed: dict[str, str]


class SandboxError(AindSessionError):
    """The sandbox cannot be served, or its catalogue cannot be read."""


class NamespaceError(AindSessionError, ValueError):
    """A namespace cannot be registered under this name."""


class BrokenNamespaceError(NamespaceError, RuntimeError):
    """A namespace cannot be made: the bug is in the namespace, the attribute is there."""


class MissingExtraError(AindSessionError, ImportError):
    """An optional dependency is not installed; the message names the extra.

    Examples
    --------
    >>> from aind_session.errors import MissingExtraError
    >>> print(MissingExtraError.of("pandas", "to_pandas()"))
    to_pandas() needs the extra "pandas": pip install "aind-session[pandas]"
    """

    @classmethod
    def of(cls, extra: str, what: str) -> MissingExtraError:
        """Make the error that names the extra that `what` needs."""
        return cls(f'{what} needs the extra "{extra}": pip install "aind-session[{extra}]"')


class SettingsWarning(UserWarning):
    """A file with settings could not be read."""


class SandboxWarning(UserWarning):
    """Nothing was found in the sandbox, and the snapshot does not cover what was requested."""


class PluginWarning(UserWarning):
    """A namespace that another package announces could not be loaded."""


class PartialAnswerWarning(UserWarning):
    """A service failed: the answer is from the others.

    Attributes
    ----------
    service : str
        The service that failed.
    missing : str
        What may be missing from the answer.
    """

    service: str
    missing: str

    def __init__(self, service: str, missing: str, why: str = "") -> None:
        self.service, self.missing, self.why = service, missing, why
        super().__init__(service, missing, why)

    def __str__(self) -> str:
        because = f" ({self.why})" if self.why else ""
        return f"{self.service} failed{because}: {self.missing} may be missing"


class UnresolvedInputsWarning(PartialAnswerWarning):
    """Inputs that a data asset names could not be found: its provenance is incomplete."""

    def __str__(self) -> str:
        return f"{self.missing} are incomplete: {self.why}"
