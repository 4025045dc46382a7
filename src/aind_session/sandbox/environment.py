"""The process's environment variables while sandboxes are open, and the caches to clear."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from aind_session.setting_values import may_be_token
from aind_session.settings import (
    OTHER_TOKEN_NAMES,
    SANDBOX_ACTIVE,
    SANDBOX_CATALOGUE,
    TOKEN_NAME,
)

AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# Variables that would lead AWS clients elsewhere, or to another identity.
_AWS_OTHERS = (
    *("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
#: Where requests, the standard library and botocore read which certificates to trust.
_CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE")

#: New values by variable; None removes the variable.
Change = Mapping[str, "str | None"]


def sandbox_changes(
    urls: Mapping[str, str],
    token: str,
    keys: tuple[str, str],
    region: str,
    folder: str = "",
    ca_bundle: str | None = None,
) -> Change:
    """Return the variables to change for a sandbox."""
    changes: dict[str, str | None] = {**token_changes(), **dict.fromkeys(_AWS_OTHERS)}
    changes |= {
        TOKEN_NAME: token,
        "CODE_OCEAN_DOMAIN": urls["codeocean"],
        "AIND_SESSION_DOCDB_HOST": urls["docdb"],
        "AWS_ENDPOINT_URL_S3": urls["s3"],
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A user's profile neither provides credentials nor sends the clients elsewhere.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        SANDBOX_ACTIVE: f"{os.getpid()} {urls['codeocean']}",
        # Lookups, also in child processes, find out what was recorded.
        SANDBOX_CATALOGUE: os.path.abspath(folder) if folder else "",
    }
    if ca_bundle is not None:
        changes |= dict.fromkeys(_CA_BUNDLES, ca_bundle)
    for name in ("NO_PROXY", "no_proxy"):
        parts = os.environ.get(name, "").split(",")
        changes[name] = ",".join(dict.fromkeys(filter(None, [*parts, "127.0.0.1"])))
    return changes


def token_changes() -> Change:
    """Return the removal of all variables that hold a token."""
    found = [name for name, value in os.environ.items() if may_be_token(value)]
    return dict.fromkeys((TOKEN_NAME, *OTHER_TOKEN_NAMES, *found))


class Process:
    """What belongs to the whole process: the open sandboxes, and their changes of its environment.

    The changes lie on each other and may be undone in any order.
    """

    def __init__(self) -> None:
        self.sandboxes: set[Any] = set()
        self.renew_locks()
        self._changes: list[Change] = []
        self._before: dict[str, str | None] = {}

    def renew_locks(self) -> None:
        """Replace the locks, which a thread that a fork left behind may hold."""
        self._lock, self.starting = threading.Lock(), threading.Lock()

    def push(self, change: Change) -> None:
        """Change the environment."""
        with self._lock:
            for name, value in change.items():
                self._before.setdefault(name, os.environ.get(name))
                _set(name, value)
            self._changes.append(change)
        forget_all()

    def remove(self, change: Change) -> None:
        """Undo a change: its variables get the value of the newest other change, or their own."""
        with self._lock:
            self._changes = [other for other in self._changes if other is not change]
            for name in change:
                above = [other for other in self._changes if name in other]
                _set(name, above[-1][name] if above else self._before.pop(name))
        forget_all()

    @contextlib.contextmanager
    def changed(self, change: Change) -> Iterator[None]:
        """Change the environment inside of a ``with`` block."""
        self.push(change)
        try:
            yield
        finally:
            self.remove(change)

    def leave_to_parent(self) -> None:
        """After a fork: close the copies of the sockets; the parent continues to serve."""
        self.renew_locks()
        for box in list(self.sandboxes):
            box.close()


process = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.leave_to_parent)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def forget_all() -> None:
    """Clear every cached response and client."""
    # A module that was never loaded has nothing to clear, and loading it here would cost time.
    cache = sys.modules.get("aind_session.services.cache")
    if cache is not None and hasattr(cache, "answers"):
        cache.answers.clear()
    for name in ("trail", "cohort"):
        lookup = sys.modules.get(f"aind_session.lookup.{name}")
        if lookup is not None and hasattr(lookup, "clear"):
            lookup.clear()
    for name in ("context", "services.keeping"):
        module = sys.modules.get(f"aind_session.{name}")
        if module is not None and hasattr(module, "reset"):
            module.reset()
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None and hasattr(s3fs, "S3FileSystem"):
        s3fs.S3FileSystem.clear_instance_cache()
