"""What `Sessions.run` takes, for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from codeocean.components import Permissions
    from codeocean.data_asset import DataAsset

    from aind_session.runs.values import Mount, Parameter

#: A list by position, or a mapping by name.
Parameters: TypeAlias = "Sequence[str | float | Parameter] | Mapping[str, str | float] | None"
Attached: TypeAlias = "str | DataAsset | Mount"
#: Data assets, or a mapping of mounts to them; None: the raw data asset.
Attach: TypeAlias = "Attached | Sequence[Attached] | Mapping[str, str | DataAsset] | None"


class RunOptions(TypedDict, total=False):
    """The options of `Sessions.run` whose type does not tell what it returns."""

    label: str | None
    state: str | os.PathLike[str]
    at_once: int
    per_minute: int | None
    retries: int
    poll_seconds: float
    tags: Sequence[str]
    custom_metadata: Mapping[str, str] | None
    share: bool | Mapping[str, Any] | Permissions
    wait: bool
    wait_ready: bool
    is_pipeline: bool | None
    version: int | None
    nextflow_profile: str | None
    progress: bool
