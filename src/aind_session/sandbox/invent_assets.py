"""Shapes of invented Code Ocean assets and computations, as the API returns them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]

#: Files of an internal result are kept here, under the asset's id.
RESULTS_BUCKET = "codeocean-s3datasetsbucket-1u41qdg42ur9"

_NAME = re.compile(
    r"(?:(?P<platform>[A-Za-z0-9-]+)_)?(?P<subject>[A-Za-z]*[0-9][A-Za-z0-9]*)"
    r"_(?P<date>\d{4}-\d\d-\d\d)_(?P<time>\d\d-\d\d-\d\d)"
)


class CatalogueLike(Protocol):
    """What an invented session is written to; `Catalogue` is one."""

    def add_asset(self, asset: Json, /) -> Any:
        """Take a Code Ocean data asset."""

    def add_record(self, generation: Any, record: Json, /) -> Any:
        """Take a DocDB record of generation "v1" or "v2"."""

    def add_object(self, bucket: str, key: str, text: str = "", /) -> Any:
        """Take an S3 object."""

    def add_computation(self, computation: Json, /) -> Any:
        """Take a Code Ocean computation."""


class SessionName(NamedTuple):
    """The parts of a session ID, read strictly: what is invented is well-formed."""

    platform: str | None
    subject: str
    start: datetime

    @classmethod
    def read(cls, session_id: str) -> SessionName:
        """Read a session ID that has nothing before or after it.

        Parameters
        ----------
        session_id
            `<platform>_<subject>_<date>_<time>`, or the same without platform.

        Returns
        -------
        SessionName
            Its parts; the time is naive, as written.

        Raises
        ------
        ValueError
            The text is not a session ID and nothing more.

        Examples
        --------
        >>> SessionName.read("ecephys_999999_2024-01-01_10-00-00").subject
        '999999'
        """
        match = _NAME.fullmatch(session_id)
        if match is None:
            raise ValueError(
                f"{session_id!r} is not a session ID: write <platform>_<subject>_<date>_<time>, "
                "such as 'ecephys_999999_2024-01-01_10-00-00'"
            )
        start = datetime.strptime(f"{match['date']}_{match['time']}", "%Y-%m-%d_%H-%M-%S")
        return cls(match["platform"], match["subject"], start)


@lru_cache(maxsize=1)
def tables() -> Json:
    """Give the tables of names that invented sessions draw from."""
    text = Path(__file__).with_name("invent_tables.json").read_text(encoding="utf-8")
    content: Json = json.loads(text)
    return content


def invented_id(*parts: object) -> str:
    """Make the UUID that always belongs to these names.

    Parameters
    ----------
    *parts
        What the id is of, such as a role and an asset's name.

    Returns
    -------
    str
        A version 5 UUID.

    Examples
    --------
    >>> invented_id("asset", "a") == invented_id("asset", "a")
    True
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "aind-session:invented/" + "/".join(map(str, parts))))


def epoch(moment: datetime) -> int:
    """Give the seconds since 1970 of a time that is written without zone, read as UTC."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp())


def stamp(seconds: float) -> str:
    """Write a time the way names carry it (UTC)."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d_%H-%M-%S")


def raw_asset(
    name: str,
    *,
    asset_id: str,
    created: float,
    bucket: str,
    subject: str,
    platform: str | None,
    level: str | None = "raw",
    prefix: str | None = None,
    tags: Sequence[str] | None = None,
    **other: Any,
) -> Json:
    """Make a dataset that Code Ocean reads from an AIND bucket.

    Parameters
    ----------
    name
        The asset's name.
    asset_id, created
        Its UUID, and when it was registered (epoch seconds).
    bucket, prefix
        Where its files are; the prefix is the name where it is not given.
    subject, platform
        Written to custom metadata and tags; a platform of None is left out of both.
    level
        `data level` in the custom metadata; None for an asset without custom metadata.
    tags
        Its tags, where they are not the usual ones.
    **other
        Further keys of the asset, over what is made here.

    Returns
    -------
    dict
        The asset as the API would return it.
    """
    usual = sorted(filter(None, ("raw", platform, subject)))
    asset: Json = {
        **_head(name, asset_id, created, files=42, owner="uploads", size=3559699653),
        "type": "dataset",
        "tags": list(usual if tags is None else tags),
        "source_bucket": _in_bucket(bucket, name if prefix is None else prefix),
    }
    if level is not None:
        asset["custom_metadata"] = _custom_metadata(level, platform, subject)
    return asset | other


def result_asset(
    name: str,
    *,
    asset_id: str,
    created: float,
    subject: str,
    platform: str | None,
    inputs: Sequence[str] = (),
    capsule: str | None = None,
    computation: str | None = None,
    level: str | None = "derived",
    bucket: str | None = None,
    tags: Sequence[str] | None = None,
    **other: Any,
) -> Json:
    """Make a captured result: internal, or in a bucket where one is given.

    Parameters
    ----------
    name, asset_id, created, subject, platform, level, tags, **other
        As for `raw_asset`.
    inputs
        Ids of the assets that it was made from.
    capsule, computation
        What made it.
    bucket
        Where an external result's files are. An internal one has no `source_bucket`.

    Returns
    -------
    dict
        The asset as the API would return it.
    """
    usual = [tag for tag in ("derived", subject, platform) if tag]
    asset: Json = {
        **_head(name, asset_id, created, files=1204, owner="captures", size=19692901898),
        "type": "result",
        "tags": list(usual if tags is None else tags),
        "provenance": {
            "capsule": capsule or invented_id("capsule", name.rsplit("_", 3)[-3]),
            "commit": invented_id("commit").replace("-", "") + "00000000",
            "computation": computation or invented_id("computation", name),
            "data_assets": list(inputs),
            "docker_image": "",
            "run_script": "code/run",
        },
    }
    if level is not None:
        asset["custom_metadata"] = _custom_metadata(level, platform, subject)
    if bucket is not None:
        asset["source_bucket"] = _in_bucket(bucket, name)
    return asset | other


def _head(name: str, asset_id: str, created: float, *, files: int, owner: str, size: int) -> Json:
    """Make what an asset of every type begins with; its size in bytes."""
    return {
        "id": asset_id,
        "created": created,
        "name": name,
        "mount": name,
        "description": "",
        "files": files,
        "last_used": 0,
        "owner": invented_id("person", owner),
        "size": size,
        "state": "ready",
    }


def _in_bucket(bucket: str, prefix: str) -> Json:
    return {"bucket": bucket, "external": True, "origin": "aws", "prefix": prefix}


def _custom_metadata(level: str, platform: str | None, subject: str) -> dict[str, str]:
    """Make the custom fields that AIND writes, leaving out a platform that is None."""
    fields = {"data level": level, "experiment type": platform, "subject id": subject}
    return {key: value for key, value in fields.items() if value is not None}


def sorting_computation(
    *,
    computation_id: str,
    created: int,
    inputs: Mapping[str, str],
    state: str = "completed",
    succeeded: bool = True,
    files: Mapping[str, str] | None = None,
    run_time: int = 41000,
    end_status: str | None = None,
) -> Json:
    """Make a run of the spike-sorting pipeline.

    Parameters
    ----------
    computation_id, created
        Its UUID and start (epoch seconds).
    inputs
        Mount by id of the attached assets.
    state
        `completed` or `failed`; `running` or `initializing` has no end status and no results.
    succeeded
        How a completed run ended.
    files
        Text by path of its results.
    run_time
        Seconds it took.
    end_status
        `stopped`, say, where it is not what `succeeded` tells.

    Returns
    -------
    dict
        The computation as the API would return it, with the catalogue's private keys.
    """
    computation: Json = {
        "id": computation_id,
        "created": created,
        "name": f"Run With Parameters {created % 10_000_000:07d}",
        "owner": invented_id("person", "sorts"),
        "run_time": run_time,
        "state": state,
        "data_assets": [{"id": key, "mount": mount} for key, mount in inputs.items()],
        "parameters": [],
        "_capsule": tables()["sorting"]["pipeline"],
    }
    if state in ("completed", "failed"):
        computation |= {
            "end_status": end_status or ("succeeded" if succeeded else "failed"),
            "exit_code": 0 if succeeded else 1,
            "has_results": bool(files),
            "_files": dict(files or {}),
        }
    return computation


def trigger_computation(
    *, computation_id: str, created: int, raw_asset_id: str, pipeline_type: str, state: str
) -> Json:
    """Make a run of the capsule that launches the sorting pipeline.

    Parameters
    ----------
    computation_id, created
        Its UUID and start (epoch seconds).
    raw_asset_id, pipeline_type
        Its two positional parameters.
    state
        `completed` or `running`.

    Returns
    -------
    dict
        The computation as the API would return it, with the catalogue's private keys.
    """
    computation: Json = {
        "id": computation_id,
        "created": created,
        "name": f"Run With Parameters {created % 10_000_000:07d}",
        "owner": invented_id("person", "sorts"),
        "run_time": 30,
        "state": state,
        "data_assets": [],
        "parameters": [{"value": pipeline_type}, {"value": raw_asset_id}],
        "_capsule": tables()["sorting"]["trigger_capsule"],
    }
    if state == "completed":
        output = f"Running {pipeline_type} on {raw_asset_id}\nStarted\n"
        computation |= {
            "end_status": "succeeded",
            "exit_code": 0,
            "has_results": True,
            "_files": {"output": output},
        }
    return computation
