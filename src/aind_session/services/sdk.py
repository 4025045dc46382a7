"""The Code Ocean SDK: the names that are used of it, its client, and errors that are its errors.

Its import takes 60 ms, so this module is loaded where a model, the SDK's client or an error is
needed. The SDK's modules import each other in circles. Threads that begin with different ones of
them at the same time meet halves, and fail; the lock of this one module lets the first do it and
the others wait. Nothing else imports the SDK.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import msgspec
from codeocean import CodeOcean as CodeOcean
from codeocean.components import Permissions as Permissions
from codeocean.computation import Computation as Computation
from codeocean.computation import DataAssetsRunParam as DataAssetsRunParam
from codeocean.computation import NamedRunParam as NamedRunParam
from codeocean.computation import RunParams as RunParams
from codeocean.data_asset import AWSS3Source as AWSS3Source
from codeocean.data_asset import ComputationSource as ComputationSource
from codeocean.data_asset import DataAsset as DataAsset
from codeocean.data_asset import DataAssetParams as DataAssetParams
from codeocean.data_asset import Source as Source
from codeocean.error import Error as Error

from aind_session.errors import (
    AccessDeniedError,
    CredentialsError,
    IncompleteAnswerError,
)
from aind_session.services import redact
from aind_session.services.exchange import LONGEST_MESSAGE, ResponseError
from aind_session.services.http import bare_session

if TYPE_CHECKING:
    from aind_session.services.codeocean import Connection

#: The oldest server that each version of the SDK is made for.
OLDEST_SERVERS: Mapping[str, tuple[int, ...]] = {
    "0.17": (4, 8, 0),
    "0.16": (4, 6, 0),
    "0.15": (4, 3, 0),
    "0.14": (4, 2, 0),
    "0.13": (4, 1, 0),
    "0.12": (4, 0, 0),
}
# Made once, under the lock of this module's import: msgspec crashes the process if a thread decodes
# a class while another one makes its first decoder.
asset_decoder = msgspec.json.Decoder(DataAsset)
computation_decoder = msgspec.json.Decoder(Computation)
_VERSION_MESSAGE = re.compile(r"min(imum)?[-_ ]?server[-_ ]?version|server version", re.IGNORECASE)
#: A header of the SDK; an older server answers 400 to every request that has it.
SERVER_HEADER = "Min-Server-Version"
_VERSION = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")


class CodeOceanError(ResponseError, Error):  # type: ignore[misc]
    """Code Ocean answered with an error.

    Attributes
    ----------
    message : str
        The service's own message.
    data : object
        The response's JSON; None if it was not JSON.
    """

    data: Any

    def __init__(self, text: str, answer: dict[str, Any], **facts: Any) -> None:
        super().__init__(text, answer, **facts)
        self._text, self.data = text, None
        message = "An error occurred."
        try:
            self.data = json.loads(answer["body"])
        except (ValueError, RecursionError):
            message = answer["body"].decode("utf-8", "replace")
        if isinstance(self.data, dict):
            message = str(self.data.get("message", message))
        self.message = redact.escape(message)

    def __str__(self) -> str:
        return self._text

    def as_kind(self, cls: type[CodeOceanError], text: str) -> CodeOceanError:
        """Return the same response as an error of another class, with text before the message."""
        make, (own, answer) = self.__reduce__()
        return cls(f"{text}: {own}", answer, **make.keywords)

    @staticmethod
    def message_in(body: bytes) -> str:
        """Return the service's own message, or the start of what came in its place."""
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            return redact.excerpt(str(json.loads(body)["message"]), limit=LONGEST_MESSAGE)
        return redact.excerpt(body.strip())


class CodeOceanNotFoundError(CodeOceanError, ValueError):
    """No asset, computation or file has this ID or name."""


class ClosedAssetError(CodeOceanError, AccessDeniedError):
    """It exists, and the token is good, but has no access to it."""


class RefusedTokenError(CredentialsError, CodeOceanError, ValueError):
    """The token itself is not accepted: expired, revoked, mistyped, or without the scope."""


class IncompleteSearchError(CodeOceanError, IncompleteAnswerError):
    """A later page of a search failed: the pages before it are not the whole result."""


def version_advice(message: str) -> str:
    """Return what to install if a server refuses this version of the SDK; else an empty string.

    Examples
    --------
    >>> print(version_advice("Min-Server-Version 4.8.0 is newer than this server, 4.2.1"))
    ... # doctest: +ELLIPSIS
    The server (4.2.1) refuses the installed SDK, codeocean ...: pip install "codeocean==0.14.*"
    """
    if not _VERSION_MESSAGE.search(message):
        return ""
    demanded = CodeOcean.MIN_SERVER_VERSION
    versions = [text for text in _VERSION.findall(message) if text != demanded]
    server = min(map(_numbers, versions), default=None)
    fitting = [sdk for sdk, oldest in OLDEST_SERVERS.items() if server and oldest <= server]
    named = f" ({'.'.join(map(str, server))})" if server else f", older than {demanded},"
    return (
        f"The server{named} refuses the installed SDK, codeocean {metadata.version('codeocean')}, "
        f"which demands {demanded}: "
        f'pip install "codeocean=={fitting[0] if fitting else min(OLDEST_SERVERS)}.*"'
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class Client(CodeOcean):  # type: ignore[misc]
    """The real SDK client; everything it sends goes through the package's transport.

    Its `repr` shows no token. A pickle holds none either: where it is loaded it becomes the client
    of that process, made of its own settings by the function `again`.
    """

    def __init__(self, connection: Connection, again: Callable[[], CodeOcean]) -> None:
        self._again = again
        super().__init__(domain=connection.domain, token=connection.token)
        bare_session(connection, self.session).auth = (self.token, "")
        # Nothing that is read here needs a newer server than 4.0.
        self.session.headers.pop(SERVER_HEADER, None)

    def __repr__(self) -> str:
        return f"CodeOcean(domain={self.domain!r}, token=***)"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()
