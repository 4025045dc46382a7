"""The process's environment while a sandbox serves, and the caches that must not outlive it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping

from aind_session.setting_values import may_be_token
from aind_session.settings import (
    OTHER_TOKEN_NAMES,
    SANDBOX_ACTIVE,
    SANDBOX_CATALOGUE,
    TOKEN_NAME,
)

AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# What would lead AWS clients elsewhere, or to another identity.
_AWS_OTHERS = (
    *("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
Change = Mapping[str, "str | None"]


def sandbox_changes(
    urls: Mapping[str, str], token: str, keys: tuple[str, str], region: str, folder: str = ""
) -> dict[str, str | None]:
    """Name the variables to set for a sandbox; None: to be removed."""
    changes: dict[str, str | None] = dict(token_changes())
    changes.update(dict.fromkeys(_AWS_OTHERS))
    changes.update(
        {
            TOKEN_NAME: token,
            "CODE_OCEAN_DOMAIN": urls["codeocean"],
            "AIND_SESSION_DOCDB_HOST": urls["docdb"],
            "AWS_ENDPOINT_URL_S3": urls["s3"],
            "AWS_ACCESS_KEY_ID": keys[0],
            "AWS_SECRET_ACCESS_KEY": keys[1],
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
            # A user's profile neither gives credentials nor sends the clients elsewhere.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            SANDBOX_ACTIVE: f"{os.getpid()} {urls['codeocean']}",
            # For lookups, and child processes, to know what was recorded.
            SANDBOX_CATALOGUE: os.path.abspath(folder) if folder else "",
        }
    )
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        changes[name] = ",".join(part for part in (known, "127.0.0.1") if part)
    return changes


def token_changes() -> dict[str, str | None]:
    """Name the variables that hold a token, to be removed."""
    found = [name for name, value in os.environ.items() if may_be_token(value)]
    return dict.fromkeys((TOKEN_NAME, *OTHER_TOKEN_NAMES, *found))


def change(changes: Change) -> dict[str, str | None]:
    """Change the environment; gives what undoes it."""
    before = {name: os.environ.get(name) for name in changes}
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


@contextlib.contextmanager
def changed(changes: Change) -> Iterator[None]:
    """Change the environment for a while, with nothing cached before and after."""
    before = change(changes)
    forget_all()
    try:
        yield
    finally:
        change(before)
        forget_all()


def forget_all() -> None:
    """Drop every answer and client that is cached, in the modules that are loaded."""
    # Not imported from here: what was never loaded has nothing to forget, and the services stand
    # on a floor of their own.
    cache = sys.modules.get("aind_session.services.cache")
    if cache is not None and hasattr(cache, "answers"):
        cache.answers.clear()
    for name in ("trail", "cohort"):
        lookup = sys.modules.get(f"aind_session.lookup.{name}")
        if lookup is not None and hasattr(lookup, "clear"):
            lookup.clear()
    keeping = sys.modules.get("aind_session.services.keeping")
    if keeping is not None and hasattr(keeping, "reset"):
        keeping.reset()
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None and hasattr(s3fs, "S3FileSystem"):
        s3fs.S3FileSystem.clear_instance_cache()
