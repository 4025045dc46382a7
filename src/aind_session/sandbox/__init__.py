"""The sandbox: a catalogue served over HTTP on loopback, in place of the three services.

A *catalogue* is a folder: the Code Ocean assets, DocDB records and S3 listings of some sessions.
The module can be called: `aind_session.sandbox(...)` is the public function `sandbox`.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session.errors import MissingExtraError
from aind_session.sandbox import server
from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.fake_codeocean import FakeCodeOcean
from aind_session.sandbox.fake_docdb import FakeDocDB
from aind_session.sandbox.fake_s3 import REGION, FakeS3, Index
from aind_session.sandbox.faults import SERVICES, Counts, Fault, Middleware, Request, longest_chain
from aind_session.sandbox.launches import Launches, ResultFiles
from aind_session.sandbox.server import Server, make_certificate
from aind_session.settings import SANDBOX, SANDBOX_ACTIVE

if TYPE_CHECKING:
    from aind_session.sandbox.factory import InventedSession
    from aind_session.sandbox.recorder import record as record

__all__ = ["Catalogue", "Counts", "Sandbox", "autostart", "record", "sandbox"]


def __getattr__(name: str) -> Any:
    if name != "record":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aind_session.sandbox.recorder import record

    return record


class Sandbox:
    """Fakes of Code Ocean, DocDB and S3 that answer from a catalogue.

    Created by `aind_session.sandbox`; serves in a ``with`` block, or from `start` to `close`.

    Parameters
    ----------
    catalogue, latency, tls, server_version
        See `aind_session.sandbox.sandbox`. A `Catalogue` is served as it is: what is launched or
        written is added to it.

    Attributes
    ----------
    catalogue : Catalogue
        What is served; additions are served at once.
    token : str
        The Code Ocean token that is accepted: random, known to this process and its children only.
    urls : dict
        The URL of each service: "codeocean", "docdb", "s3", "files" (presigned links).
    launches : Launches
        How computations and new assets progress.
    codeocean, docdb, s3
        The fake services, with options of their own (`docdb.max_payload`, `docdb.max_url`).
    """

    def __init__(
        self,
        catalogue: Catalogue | str | Path | None = None,
        latency: float = 0.0,
        *,
        tls: bool = False,
        server_version: str = "",
    ) -> None:
        self._server: Server | None = None
        self._started = True
        needed = ("flask", "flask_cors", "mongomock", "moto", *(("trustme",) if tls else ()))
        if not all(map(importlib.util.find_spec, needed)):
            raise MissingExtraError.of("sandbox", "the sandbox")
        if not isinstance(catalogue, Catalogue):
            catalogue = Catalogue.bundled() if catalogue is None else Catalogue.load(catalogue)
        self.catalogue, self.tls = catalogue, tls
        self.token = f"cop_0{secrets.token_hex(16)}"
        hint = (
            f'This is a sandbox of the catalogue "{catalogue.title}", which does not contain this: '
            "record what is missing with `aind-session snapshot`."
        )
        index = Index(catalogue)
        self._files = ResultFiles(catalogue, index, self.token, hint)
        self.launches = Launches(catalogue, index)
        self.codeocean = FakeCodeOcean(catalogue, self._files, self.launches, self.token, hint)
        self.codeocean.server_version = server_version
        self.docdb = FakeDocDB(catalogue, hint)
        self.s3 = FakeS3(catalogue, index, hint)
        self.middleware = Middleware(
            dict(zip(SERVICES, (self.codeocean, self.docdb, self.s3, self._files), strict=True)),
            {"docdb": f"/{secrets.token_hex(8)}"},
            latency,
        )
        self.urls: dict[str, str] = {}
        self._change: server.Change = {}
        self._closing = contextlib.ExitStack()
        self._pid = 0
        self._started = False

    def __repr__(self) -> str:
        state = "serving" if self._server else "not serving"
        return f"<Sandbox of the catalogue {self.catalogue.title!r}, {state}>"

    def __del__(self) -> None:
        if not self._started:
            warnings.warn(
                "a sandbox was created and never started, so that live services were used: write "
                "`with aind_session.sandbox():`, or call its method `start`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    # Serving

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> Sandbox:
        """Start to serve, until `close` or the end of the process.

        Returns
        -------
        Sandbox
            This sandbox.

        Raises
        ------
        RuntimeError
            It is serving already.

        Examples
        --------
        >>> import aind_session
        >>> box = aind_session.sandbox().start()
        >>> len(aind_session.get_sessions(676909))
        4
        >>> box.close()
        """
        if self._server is not None:
            raise RuntimeError("this sandbox is serving already")
        self._started = True
        with contextlib.ExitStack() as stack:
            context, bundle = None, None
            if self.tls:
                # No TemporaryDirectory: a forked child would remove its parent's when it ends.
                folder = tempfile.mkdtemp(prefix="aind-session-")
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                context, bundle = make_certificate(folder)
            running = Server(SERVICES, self.middleware, context)
            stack.callback(running.close)
            stack.callback(self.middleware.close)
            scheme = "https" if self.tls else "http"
            self.urls = {
                name: f"{scheme}://127.0.0.1:{port}{self.middleware.prefixes.get(name, '')}"
                for name, port in running.ports.items()
            }
            self._files.origin = self.urls["files"]
            self._change = server.sandbox_changes(
                self.urls, self.token, REGION, self.catalogue.source, bundle
            )
            server.process.push(self._change)
            stack.callback(server.process.remove, self._change)
            self._closing = stack.pop_all()
        self._server, self._pid = running, os.getpid()
        server.process.sandboxes.add(self)
        # It also keeps a sandbox alive whose variable is gone, as in a notebook's cell.
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """Stop serving and restore the environment."""
        running, self._server = self._server, None
        if running is None:
            return
        server.process.sandboxes.discard(self)
        atexit.unregister(self.close)
        if os.getpid() != self._pid:
            # A forked child: the parent continues to serve, and the child to use it.
            running.close_in_child()
            return
        self._closing.close()
        self.s3.close()

    # Looking

    @property
    def requests(self) -> list[Request]:
        """Every request since the start or `reset`, the first one first."""
        return self.middleware.requests

    @property
    def counts(self) -> Counts:
        """What was counted since the start or `reset`: requests, connections, bytes."""
        traffic = vars(self._server.traffic if self._server is not None else server.Traffic())
        return Counts(len(self.requests), self.longest_chain(), **traffic)

    def count(self, service: str | None = None) -> int:
        """Count the requests, of one service or of all."""
        return sum(1 for r in self.requests if service in (None, r.service))

    def longest_chain(self) -> int:
        """Count the requests that had to wait for each other: the round trips in sequence."""
        return longest_chain(list(self.requests))

    def reset(self) -> None:
        """Forget the requests and counts, and clear what clients have cached."""
        self.requests.clear()
        if self._server is not None:
            self._server.traffic = server.Traffic()
        server.forget_all()

    @property
    def latency(self) -> float:
        """Minimum duration of each request, in seconds."""
        return self.middleware.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.middleware.latency = seconds

    @property
    def duplicates(self) -> int:
        """How many assets of each page of a search are repeated."""
        return self.codeocean.duplicates

    @duplicates.setter
    def duplicates(self, count: int) -> None:
        self.codeocean.duplicates = count

    # Adding

    def add_session(
        self,
        session_id: str,
        *,
        modalities: Sequence[str] = ("ecephys", "behavior", "behavior-videos"),
        sorted_by: str | Sequence[str] | None = None,
        generation: str | None = "v1",
        **options: Any,
    ) -> InventedSession:
        """Invent a session and serve it at once: its assets, records, files and sortings.

        Parameters
        ----------
        session_id
            The session; its name contains platform, subject and start.
        modalities
            Abbreviations of what was recorded; each is a folder.
        sorted_by
            Sorters, one sorted asset each, oldest first: `kilosort2_5`, `kilosort4`.
        generation
            Which DocDB schema has its records: "v1", "v2", "both", or None for neither.
        **options
            Further options (`failed`, `sorting_now`, `uploaded`, `labels`, ...): see
            `aind_session.sandbox.factory.invent_session`.

        Returns
        -------
        InventedSession
            IDs and locations of what was added.
        """
        from aind_session.sandbox.factory import invent_session

        options |= {"modalities": modalities, "sorted_by": sorted_by, "generation": generation}
        made = invent_session(self.catalogue, session_id, **options)
        # A cached response would hide it.
        server.forget_all()
        return made

    # Launching

    @property
    def launched(self) -> list[Json]:
        """Computations that clients started and data assets that they created, oldest first.

        The JSON of each; only a computation has a `run_time`, and a `_capsule`: the ID of its
        capsule or pipeline.

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox() as box:
        ...     session = aind_session.Session("ecephys_676909_2023-12-14_12-43-11")
        ...     computation = session.ecephys.run_sorting()
        ...     [one["id"] == computation.id for one in box.launched if "run_time" in one]
        [True]
        """
        return self.launches.launched

    @property
    def launched_by_capsules(self) -> list[Json]:
        """Computations that a launched capsule started in turn, oldest first."""
        return self.launches.launched_by_capsules

    def advance(self, launched_id: str | None = None, steps: int = 1) -> None:
        """Advance what was launched by some states.

        Parameters
        ----------
        launched_id
            One computation or data asset; None: all that were launched here.
        steps
            initializing, running, finalizing, completed; draft, ready.
        """
        self.launches.advance(launched_id, steps)

    # Breaking

    def fail(
        self,
        service: str | None = None,
        path: str | None = None,
        method: str | None = None,
        **options: Any,
    ) -> Fault:
        """Make the next requests fail.

        Parameters
        ----------
        service
            "codeocean", "docdb", "s3" or "files"; None: any.
        path
            A regular expression that is searched for in the path.
        method
            GET, POST, ...
        status, headers, body
            The response if `kind` is "status", by default 503; a body is bytes, text, or a value
            that is sent as JSON.
        times
            How many requests fail, by default one; None: all.
        after
            How many matching requests succeed first.
        kind
            "status"; "reset": the connection is cut; "hang": no response until `heal`; "truncate":
            the right response, cut in its middle; "slow": the right response, `seconds` later.
        seconds
            See `kind`.
        chance, seed
            This fraction of the matching requests fails, drawn at random from a seed.

        Returns
        -------
        Fault
            The fault.

        Raises
        ------
        ValueError
            The service or kind does not exist.
        """
        fault = Fault(service, path, method, **options)
        self.middleware.add(fault)
        return fault

    def heal(self) -> None:
        """Remove all faults, and release connections that hang."""
        from aind_session.services.http import close_circuits

        self.middleware.heal()
        # Otherwise a service that has just failed is not contacted for a while.
        close_circuits()

    @contextlib.contextmanager
    def down(self, service: str, kind: str = "status", status: int = 503) -> Iterator[None]:
        """Make every request to a service fail inside of a ``with`` block."""
        fault = self.fail(service, status=status, times=None, kind=kind)
        try:
            yield
        finally:
            self.middleware.remove(fault)
            server.forget_all()

    def retire(self, service: str, version: str, status: int = 403) -> None:
        """Switch one version of a service off for good.

        Parameters
        ----------
        service
            "docdb".
        version
            "v1" or "v2".
        status
            The response: 403 "Missing Authentication Token", as the real gateway answers for a
            route that does not exist, 404 or 410.

        Raises
        ------
        ValueError
            The service or version does not exist.
        """
        if service != "docdb" or version not in ("v1", "v2"):
            raise ValueError(f"only docdb v1 and v2 can be retired, not {service!r} {version!r}")
        self.docdb.retired[version] = status
        server.forget_all()

    def without_token(self) -> contextlib.AbstractContextManager[None]:
        """Remove the Code Ocean token inside of a ``with`` block."""
        return server.process.changed(server.token_changes())

    def without_aws(self) -> contextlib.AbstractContextManager[None]:
        """Remove the AWS credentials inside of a ``with`` block."""
        return server.process.changed(dict.fromkeys(server.AWS_KEYS))


def sandbox(
    catalogue: Catalogue | str | Path | None = None,
    latency: float = 0.0,
    *,
    tls: bool = False,
    server_version: str = "",
) -> Sandbox:
    """Serve a catalogue to this process and its children, in place of the live services.

    Parameters
    ----------
    catalogue
        A catalogue or the folder of one; None: the one that comes with the package.
    latency
        Minimum duration of each request, in seconds.
    tls
        Whether to serve HTTPS, with a certificate that the clients trust while the sandbox is open.
    server_version
        The version of the fake Code Ocean, such as "4.0.0": it refuses requests that require a
        newer one. By default it checks nothing.

    Returns
    -------
    Sandbox
        Serves inside of a ``with`` block. Nested ones are allowed: the inner one answers.

    Raises
    ------
    MissingExtraError
        ``pip install "aind-session[sandbox]"`` has not been run.
    CatalogueFormatError
        The folder is not a catalogue.

    Examples
    --------
    >>> import aind_session
    >>> with aind_session.sandbox() as box:
    ...     box.count()
    0
    """
    return Sandbox(catalogue, latency, tls=tls, server_version=server_version)


class _CallableModule(types.ModuleType):
    """The sub-package has the name of a public function: `aind_session.sandbox(...)`."""

    def __call__(self, *args: Any, **options: Any) -> Sandbox:
        return sandbox(*args, **options)


sys.modules[__name__].__class__ = _CallableModule


def autostart(wanted: str | None = None) -> Sandbox | None:
    """Start the sandbox that the settings request, for the life of the process.

    Parameters
    ----------
    wanted
        The value of ``AIND_SESSION_SANDBOX``: ``1`` for the catalogue that comes with the package,
        or a folder. By default, the environment's.

    Returns
    -------
    Sandbox or None
        None if none is requested, or if one is serving already: in this process or in its parent.
    """
    wanted = os.environ.get(SANDBOX, "") if wanted is None else wanted
    if wanted.lower() in ("", "0", "false", "no") or os.environ.get(SANDBOX_ACTIVE):
        return None
    with server.process.starting:
        if os.environ.get(SANDBOX_ACTIVE):
            return None
        return Sandbox(None if wanted.lower() in ("1", "true", "yes") else wanted).start()
