"""The sandbox: a catalogue served over HTTP on loopback, in place of the three services."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session.errors import MissingExtraError
from aind_session.forking import when_forked
from aind_session.sandbox import environment
from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.fake_codeocean import CodeOceanStandIn
from aind_session.sandbox.fake_docdb import DocDBStandIn
from aind_session.sandbox.fake_s3 import REGION, S3StandIn
from aind_session.sandbox.faults import SERVICES, Fault, Gate, Request, longest_chain, make_fault
from aind_session.sandbox.launches import Launches
from aind_session.sandbox.result_files import Files
from aind_session.sandbox.s3_index import Index
from aind_session.sandbox.server import Front
from aind_session.settings import SANDBOX, SANDBOX_ACTIVE

if TYPE_CHECKING:
    from aind_session.sandbox.factory import InventedSession

TOKEN = "cop_sandbox0Sandbox0Sandbox0Sandbox0"
AWS_KEYS = ("AKIASANDBOXSANDBOX00", "sandbox")
_serving: weakref.WeakSet[Sandbox] = weakref.WeakSet()


class Sandbox:
    """Stand-ins for Code Ocean, DocDB and S3 that answer from a catalogue.

    Make one with `aind_session.sandbox`; it serves inside of a ``with`` block.

    Parameters
    ----------
    catalogue
        A catalogue, the folder of one, or None: the one that comes with the package. A `Catalogue`
        that is given is the one served: what is launched or written is added to it.
    latency
        Seconds that each request takes, at least.

    Attributes
    ----------
    catalogue : Catalogue
        What is served; additions are served at once.
    requests : list of Request
        Every request since the start or `reset`.
    latency : float
        Seconds that each request takes, at least.
    token : str
        The Code Ocean token that is accepted.
    urls : dict
        Where each service is: "codeocean", "docdb", "s3", "files" (presigned links).
    launches : Launches
        How computations and new assets come along.
    codeocean, docdb, s3
        The stand-ins, with options of their own (`docdb.max_payload`, `docdb.max_url`).
    """

    def __init__(
        self, catalogue: Catalogue | str | Path | None = None, latency: float = 0.0
    ) -> None:
        if not all(map(importlib.util.find_spec, ("flask", "flask_cors", "mongomock", "moto"))):
            raise MissingExtraError.of("sandbox", "the sandbox")
        if not isinstance(catalogue, Catalogue):
            catalogue = Catalogue.bundled() if catalogue is None else Catalogue.load(catalogue)
        self.catalogue = catalogue
        self.token = TOKEN
        hint = (
            f'This is a sandbox of the catalogue "{catalogue.title}", which cannot answer this: '
            "record what is missing with `aind-session snapshot`."
        )
        index = Index(catalogue)
        self._files = Files(catalogue, index, self.token, hint)
        self.launches = Launches(catalogue, index)
        self.codeocean = CodeOceanStandIn(catalogue, self._files, self.launches, self.token, hint)
        self.docdb = DocDBStandIn(catalogue, hint)
        self.s3 = S3StandIn(catalogue, index, hint)
        self._gate = Gate(
            {
                "codeocean": self.codeocean,
                "docdb": self.docdb,
                "s3": self.s3,
                "files": self._files.serve,
            }
        )
        self._gate.latency = latency
        self.urls: dict[str, str] = {}
        self._front: Front | None = None
        self._before: Mapping[str, str | None] = {}
        self._pid = 0

    def __repr__(self) -> str:
        state = "serving" if self._front else "not serving"
        return f"<Sandbox of the catalogue {self.catalogue.title!r}, {state}>"

    # Serving

    def __enter__(self) -> Sandbox:
        if self._front is not None:
            raise RuntimeError("this sandbox is serving already")
        self._front = Front(SERVICES, self._gate)
        self._pid = os.getpid()
        _serving.add(self)
        self.urls = {n: f"http://127.0.0.1:{port}" for n, port in self._front.ports.items()}
        self._files.origin = self.urls["files"]
        self._before = environment.change(
            environment.sandbox_changes(
                self.urls, self.token, AWS_KEYS, REGION, self.catalogue.source
            )
        )
        environment.forget_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and put the environment back."""
        front, self._front = self._front, None
        if front is None:
            return
        if os.getpid() != self._pid:
            front.close(forked=True)
            return
        environment.change(self._before)
        environment.forget_all()
        self._gate.close()
        front.close()
        self.s3.close()
        _serving.discard(self)

    # Looking

    @property
    def requests(self) -> list[Request]:
        """Every request since the start or `reset`, the first one first."""
        return self._gate.requests

    def count(self, service: str | None = None) -> int:
        """Count the requests, of one service or of all."""
        return sum(1 for r in self.requests if service in (None, r.service))

    def longest_chain(self) -> int:
        """Count the requests that had to wait for each other: the round trips in a row."""
        return longest_chain(list(self.requests))

    def reset(self) -> None:
        """Forget the requests, and what clients have cached."""
        self._gate.requests.clear()
        environment.forget_all()

    @property
    def latency(self) -> float:
        """Seconds that each request takes, at least."""
        return self._gate.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._gate.latency = seconds

    @property
    def duplicates(self) -> int:
        """How many assets of each page of a search are told a second time."""
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
        """Invent a session, and serve it at once: its assets, records, files and sortings.

        Parameters
        ----------
        session_id
            The session; its name gives platform, subject and start.
        modalities
            Abbreviations of what was recorded; each is a folder.
        sorted_by
            Sorters, one sorted asset each, oldest first: `kilosort2_5`, `kilosort4`.
        generation
            Which DocDB has its records: "v1", "v2", "both", or None for neither.
        **options
            What else may be asked for (`failed`, `sorting_now`, `uploaded`, `labels`, ...): see
            `aind_session.sandbox.factory.invent_session`.

        Returns
        -------
        InventedSession
            IDs and places of what was added.
        """
        from aind_session.sandbox.factory import invent_session

        made = invent_session(
            self.catalogue,
            session_id,
            modalities=modalities,
            sorted_by=sorted_by,
            generation=generation,
            **options,
        )
        # What was asked before would hide it.
        environment.forget_all()
        return made

    # Launching

    @property
    def launched(self) -> list[Json]:
        """Computations and data assets that were made here, the first one first."""
        return self.launches.launched

    def advance(self, launched_id: str | None = None, steps: int = 1) -> None:
        """Move what was launched on by some states.

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
        status: int = 503,
        times: int | None = 1,
        after: int = 0,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        kind: str = "status",
        seconds: float = 0.2,
        chance: float = 1.0,
        seed: int = 0,
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
            The answer, where `kind` is "status"; a body is bytes, text, or what becomes JSON.
        times
            How many requests; None: all.
        after
            How many matching requests are let through first.
        kind
            "status"; "reset": the connection is cut; "hang": no answer until `heal`; "truncate":
            the right answer, cut in its middle; "slow": the right answer, `seconds` later.
        seconds
            See `kind`.
        chance, seed
            Of the matching requests this part fails, drawn by chance from a seed.

        Returns
        -------
        Fault
            What was arranged, for `heal`.
        """
        fault = make_fault(
            service=service,
            path=path,
            method=method,
            status=status,
            times=times,
            after=after,
            headers=headers,
            body=body,
            kind=kind,
            seconds=seconds,
            chance=chance,
            seed=seed,
        )
        self._gate.fail(fault)
        return fault

    def heal(self) -> None:
        """Let nothing fail any more, and let go of connections that hang."""
        self._gate.heal()

    @contextlib.contextmanager
    def down(self, service: str, kind: str = "status", status: int = 503) -> Iterator[None]:
        """Let every request to a service fail inside of a ``with`` block."""
        fault = self.fail(service, status=status, times=None, kind=kind)
        try:
            yield
        finally:
            self._gate.remove(fault)
            environment.forget_all()

    @contextlib.contextmanager
    def without_token(self) -> Iterator[None]:
        """Take the Code Ocean token away inside of a ``with`` block."""
        with environment.changed(environment.token_changes()):
            yield

    @contextlib.contextmanager
    def without_aws(self) -> Iterator[None]:
        """Take the AWS credentials away inside of a ``with`` block."""
        with environment.changed(dict.fromkeys(environment.AWS_KEYS)):
            yield


def sandbox(catalogue: Catalogue | str | Path | None = None, latency: float = 0.0) -> Sandbox:
    """Serve a catalogue to this process and its children, in place of the live services.

    Parameters
    ----------
    catalogue
        A catalogue or the folder of one; None: the one that comes with the package.
    latency
        Seconds that each request takes, at least.

    Returns
    -------
    Sandbox
        Serves inside of a ``with`` block. Nested ones are allowed: the inner one answers.

    Raises
    ------
    MissingExtraError
        ``pip install "aind-session[sandbox]"`` has not been done.
    CatalogueFormatError
        The folder is no catalogue.

    Examples
    --------
    >>> import aind_session
    >>> with aind_session.sandbox() as box:
    ...     box.count()
    0
    """
    return Sandbox(catalogue, latency)


_starting = threading.Lock()


def autostart(wanted: str | None = None) -> Sandbox | None:
    """Start the sandbox that the settings ask for, for the life of the process.

    Parameters
    ----------
    wanted
        What ``AIND_SESSION_SANDBOX`` says: ``1`` for the catalogue that comes with the package, or
        a folder. By default, what the environment says.

    Returns
    -------
    Sandbox or None
        None where nothing is asked for, or where a sandbox serves already: in this process, or
        in the parent that it was started by.
    """
    if wanted is None:
        wanted = os.environ.get(SANDBOX, "")
    if wanted.lower() in ("", "0", "false", "no") or os.environ.get(SANDBOX_ACTIVE):
        return None
    with _starting:
        if os.environ.get(SANDBOX_ACTIVE):
            return None
        box = Sandbox(None if wanted.lower() in ("1", "true", "yes") else wanted)
        box.__enter__()
        atexit.register(box.close)
        return box


def _leave_to_parent() -> None:
    """After a fork: the parent goes on serving, this process holds none of its sockets."""
    global _starting
    _starting = threading.Lock()
    for box in list(_serving):
        box.close()


when_forked(_leave_to_parent)
