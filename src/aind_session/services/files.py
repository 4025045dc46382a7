"""Requests for listings and small files in S3; each is cached and traced."""

from __future__ import annotations

from aind_session.query import S3, query
from aind_session.services import s3


def contents(found: s3.Listing) -> str:
    """Describe a listing."""
    if not found.exists:
        return "not found"
    return f"{len(found.folders)} folders, {len(found.files)} files"


@query(S3, "list s3://{0}/{1}/", contents)
def listing(bucket: str, prefix: str) -> s3.Listing:
    """List a folder, one level deep; to S3 an empty folder does not exist."""
    return s3.list_folder(bucket, prefix)


def size(found: tuple[bytes, ...]) -> str:
    """Describe a file that was read."""
    return f"{len(found[0])} bytes" if found else "not found"


@query(S3, "read s3://{0}/{1}", size)
def _read(bucket: str, key: str) -> tuple[bytes, ...]:
    try:
        return (s3.read(bucket, key),)
    except s3.StorageNotFoundError:
        return ()


def read_text(bucket: str, key: str) -> bytes | None:
    """Read a small file, or None if it does not exist."""
    return next(iter(_read(bucket, key)), None)
