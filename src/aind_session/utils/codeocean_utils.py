"""Code Ocean: its client, data assets, computations, and the logs of runs.

Programs written for version 0.3 replace `get_codeocean_client`, `get_data_asset_model`,
`get_data_asset_source_dir` and `get_subject_data_assets` in this module: the functions here and
`session.ecephys` look these four up when they are called.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import UUID

import msgspec

from aind_session.errors import InvalidFilterError, MissingFileError
from aind_session.lookup import by_id, computations, folders, refresh, results, rules
from aind_session.lookup.results import is_output_error, is_output_file_from_sorting_pipeline
from aind_session.services import codeocean, s3
from aind_session.services.models import AssetSummary, decode_asset
from aind_session.services.sdk import Computation, DataAsset
from aind_session.threads import gather_all
from aind_session.utils import s3_utils
from aind_session.utils.searches import (
    get_data_asset_search_query,
    get_data_assets,
    get_subject_data_assets,
    search_computations,
    search_data_assets,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from codeocean import CodeOcean
    from upath import UPath
    from urllib3.util import Retry

    Asset: TypeAlias = DataAsset | str | UUID
    Run: TypeAlias = Computation | str | UUID

__all__ = [
    "get_codeocean_client",
    "get_codeocean_model",
    "get_data_asset_model",
    "get_data_asset_search_query",
    "get_data_asset_source_dir",
    "get_data_assets",
    "get_normalized_uuid",
    "get_output_text",
    "get_subject_data_assets",
    "is_computation_error",
    "is_data_asset_error",
    "is_output_error",
    "is_output_file_from_sorting_pipeline",
    "is_raw_data_asset",
    "search_computations",
    "search_data_assets",
    "sort_by_created",
    "wait_until_ready",
]


# -- client and models -----------------------------------------------------------------------------


@refresh.with_cache_clear
def get_codeocean_client(
    check_credentials: bool = True, retries: int | Retry | None = None
) -> CodeOcean:
    """Return the Code Ocean client for the environment's settings.

    Parameters
    ----------
    check_credentials
        Check with Code Ocean whether the token is valid; the answer is cached.
    retries
        Number of attempts after a failed one; by default as in the settings. Requests that start
        or create something are sent once in any case.

    Returns
    -------
    codeocean.CodeOcean
        The SDK's own client. Its errors are those of this package, too; it never shows its token.

    Raises
    ------
    MissingTokenError
        No token is set (a `KeyError`).
    RefusedTokenError
        The token is not accepted (a `ValueError`).

    Examples
    --------
    >>> client = get_codeocean_client()
    >>> client.data_assets.get_data_asset("16d46411-540a-4122-b47f-8cb2a15d593a").name
    'ecephys_676909_2023-12-13_13-43-40'
    """
    return codeocean.get_client(check_credentials=check_credentials, retries=retries)


def get_normalized_uuid(id_or_model: object) -> str:
    """Return an ID as Code Ocean writes it, with hyphens.

    Parameters
    ----------
    id_or_model
        The ID as text or `uuid.UUID`, or the model of a data asset or computation.

    Raises
    ------
    InvalidIdentifierError
        It is not a UUID (a `ValueError`).
    TypeError
        It is neither text, nor a UUID, nor a model.

    Examples
    --------
    >>> get_normalized_uuid("16d46411540a4122b47f8cb2a15d593a")
    '16d46411-540a-4122-b47f-8cb2a15d593a'
    """
    if not isinstance(getattr(id_or_model, "id", id_or_model), str | UUID):
        raise TypeError(
            "an ID is text, a uuid.UUID, or the model of a data asset or computation, not "
            f"{type(id_or_model).__name__}"
        )
    return by_id.normalised(id_or_model)


def get_codeocean_model(
    asset_or_computation_id: object, is_computation: bool | None = None
) -> DataAsset | Computation:
    """Return the model of a data asset or computation.

    Anything that can still change (an asset that is not ready, a computation that has not ended)
    is requested each time.

    Parameters
    ----------
    asset_or_computation_id
        The ID; a model is returned as it is.
    is_computation
        Which of them it is; None: a data asset, or a computation if no asset has this ID.

    Returns
    -------
    codeocean.data_asset.DataAsset or codeocean.computation.Computation
        The SDK's own models.

    Raises
    ------
    CodeOceanNotFoundError
        There is neither (a `ValueError`).

    Examples
    --------
    >>> get_codeocean_model("16d46411-540a-4122-b47f-8cb2a15d593a").name
    'ecephys_676909_2023-12-13_13-43-40'
    >>> get_codeocean_model("551ef68d-016d-55ca-902e-ce067089bd7e", is_computation=True).name
    'Run With Parameters 2613011'
    """
    wanted = asset_or_computation_id
    if isinstance(wanted, DataAsset | Computation):
        return wanted
    if not is_computation:
        try:
            return get_data_asset_model(cast("Asset", wanted))
        except codeocean.CodeOceanNotFoundError:
            if is_computation is not None:
                raise
    replaced = replacement("get_codeocean_client")
    if replaced is not None:
        found: Computation = replaced().computations.get_computation(by_id.as_written(wanted))
        return found
    return by_id.model(wanted, is_computation=True)


def get_data_asset_model(asset_id_or_model: Asset) -> DataAsset:
    """Return the model of a data asset.

    Parameters
    ----------
    asset_id_or_model
        The ID; a model is returned as it is.

    Returns
    -------
    codeocean.data_asset.DataAsset
        The SDK's own model.

    Raises
    ------
    CodeOceanNotFoundError
        The data asset does not exist (a `ValueError`).

    Examples
    --------
    >>> get_data_asset_model("16d46411-540a-4122-b47f-8cb2a15d593a").created
    1702620828
    """
    replaced = replacement("get_codeocean_client")
    model: Any = asset_id_or_model
    if replaced is not None and not isinstance(model, DataAsset):
        model = replaced().data_assets.get_data_asset(by_id.as_written(model))
    return cast(DataAsset, by_id.model(model, is_computation=False))


def sort_by_created(
    ids_or_models: Asset | Computation | Iterable[Asset | Computation],
) -> tuple[DataAsset | Computation, ...]:
    """Return the models of data assets or computations, ascending by creation.

    Parameters
    ----------
    ids_or_models
        One or many, each as a model or an ID; models of IDs are requested at the same time.

    Examples
    --------
    >>> ids = ["a2a54575-b5ca-4cf0-acd0-2933e18bcb2d", "16d46411-540a-4122-b47f-8cb2a15d593a"]
    >>> [asset.name[:34] for asset in sort_by_created(ids)]
    ['ecephys_676909_2023-12-13_13-43-40', 'ecephys_676909_2023-12-13_13-43-40']
    """
    many = ids_or_models
    if isinstance(many, str | DataAsset | Computation) or not isinstance(many, Iterable):
        many = [many]
    models: list[DataAsset | Computation] = gather_all(get_codeocean_model, many)
    return tuple(sorted(models, key=lambda model: (model.created, model.id)))


# -- functions that programs replace ---------------------------------------------------------------

_OWN_CLIENT, _OWN_SUBJECT_ASSETS = get_codeocean_client, get_subject_data_assets


def replacement(name: str) -> Callable[..., Any] | None:
    """Return the function that a program put in place of ours, None if there is none."""
    ours = (_OWN_CLIENT, _OWN_SUBJECT_ASSETS, _OWN_SOURCE_DIR)
    current: Callable[..., Any] = globals()[name]
    return None if current in ours else current


def summary_of(asset_id_or_model: Asset) -> AssetSummary:
    """Return what lookups need of a data asset, in the folder of `get_data_asset_source_dir`."""
    summary = by_id.summary_of(get_data_asset_model(asset_id_or_model))
    if replacement("get_data_asset_source_dir") is None:
        return summary
    bucket, prefix = s3.split(get_data_asset_source_dir(summary.id))
    return msgspec.structs.replace(summary, bucket=bucket, prefix=prefix, external=True)


# -- one data asset --------------------------------------------------------------------------------


@refresh.with_cache_clear
def get_data_asset_source_dir(asset_id: Asset, ttl_hash: int | None = None) -> UPath:
    """Return the folder of a data asset's files, in S3.

    Without a request to S3: an external asset names its bucket; the files of an internal one are in
    Code Ocean's own, in a folder named after its ID. Otherwise, the data buckets are searched for
    its name.

    Parameters
    ----------
    asset_id
        The ID, or the model.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.

    Raises
    ------
    MissingFileError
        The asset names no folder, and no data bucket has one of its name (a `FileNotFoundError`).
    CodeOceanNotFoundError
        The data asset does not exist (a `ValueError`).

    Examples
    --------
    >>> get_data_asset_source_dir("16d46411-540a-4122-b47f-8cb2a15d593a").as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
    """
    with refresh.at_hash(ttl_hash, "source folder", by_id.asset_key(asset_id)):
        asset = by_id.summary_of(get_data_asset_model(asset_id))
        folder = folders.of_asset(asset)
        if folder is not None:
            return s3.path(folder.bucket, folder.prefix)
        try:
            return s3_utils.get_source_dir_by_name(asset.name)
        except MissingFileError as error:
            raise MissingFileError(
                f"Data asset {asset.id} ({asset.name}) does not name its folder. {error}",
                trail=error.trail,
            ) from None


_OWN_SOURCE_DIR = get_data_asset_source_dir


def is_raw_data_asset(asset_id_or_model: Asset) -> bool:
    """Whether a data asset is raw data.

    By its custom field `data level`, a tag, or a name that is a session ID and nothing more.

    Parameters
    ----------
    asset_id_or_model
        The ID, or the model.

    Examples
    --------
    >>> is_raw_data_asset("83636983-f80d-42d6-a075-09b60c6abd5e")
    True
    >>> is_raw_data_asset("173e2fdc-0ca3-4a4e-9886-b74207a91a9a")
    False
    """
    return rules.is_raw(by_id.summary_of(get_data_asset_model(asset_id_or_model)))


def is_data_asset_error(asset_id_or_model: Asset) -> bool:
    """Whether a data asset is the result of a failed run, by its log and its other files.

    Parameters
    ----------
    asset_id_or_model
        The ID, or the model. For an asset that is not a result, only its state counts.

    Examples
    --------
    >>> is_data_asset_error("1e11bdf5-b452-4fd9-bbb1-48383a9b0842")
    False
    """
    return results.is_data_asset_error(summary_of(asset_id_or_model))


def wait_until_ready(
    data_asset: Asset,
    check_files: bool = True,
    timeout: float | None = 60,
    **kwargs: float | bool | None,
) -> DataAsset:
    """Wait until a data asset is ready, and its files are visible.

    A failed request on the way does not end the wait. Cached searches for its session or subject
    are dropped, so that the next lookup finds the new asset.

    Parameters
    ----------
    data_asset
        The asset, or its ID.
    check_files
        Wait for its files, too: they may not be visible for some seconds after the asset is ready.
    timeout
        Seconds to wait at most; None: without limit.
    **kwargs
        `polling_interval`: seconds between requests, by default increasing from 0.5 to 5;
        `progress`: False shows none (shown in terminals and notebooks only).

    Returns
    -------
    codeocean.data_asset.DataAsset
        The asset as it is now.

    Raises
    ------
    NotReadyError
        It was not ready in time (a `TimeoutError`).
    FailedAssetError
        The asset failed (a `RuntimeError`).
    CodeOceanNotFoundError
        The data asset does not exist (a `ValueError`).

    Examples
    --------
    >>> wait_until_ready("16d46411-540a-4122-b47f-8cb2a15d593a", timeout=10).state
    <DataAssetState.Ready: 'ready'>
    """
    interval, shown = kwargs.pop("polling_interval", None), kwargs.pop("progress", True)
    if kwargs:
        raise TypeError(f"wait_until_ready() got unexpected arguments: {', '.join(kwargs)}")
    for name, seconds in (("timeout", timeout), ("polling_interval", interval)):
        if seconds is not None and not (seconds > 0 and not math.isnan(seconds)):
            raise InvalidFilterError(f"{name}: {seconds!r} is not a positive number of seconds")
    found = refresh.until_ready(
        by_id.asset_id(data_asset),
        check_files=check_files,
        timeout=timeout,
        interval=interval,
        shown=bool(shown),
    )
    return decode_asset(found.raw)


# -- computations ----------------------------------------------------------------------------------


def get_output_text(asset_or_computation_id: Asset | Computation) -> str:
    """Return the log of a run: the file `output` of a data asset or computation.

    Parameters
    ----------
    asset_or_computation_id
        Either, as its model or its ID.

    Raises
    ------
    MissingFileError
        It has none (a `FileNotFoundError`): it is not a result, or the run has not ended.
    CodeOceanNotFoundError
        There is neither such a data asset nor such a computation (a `ValueError`).

    Examples
    --------
    >>> get_output_text("1e11bdf5-b452-4fd9-bbb1-48383a9b0842")[-31:]
    'FULL PIPELINE time:  161658.77s'
    """
    wanted = asset_or_computation_id
    if isinstance(wanted, Computation):
        return computations.output(wanted.id)
    try:
        asset = by_id.summary_of(get_data_asset_model(wanted))
    except codeocean.CodeOceanNotFoundError:
        return computations.output(by_id.as_written(wanted))
    replaced = replacement("get_data_asset_source_dir")
    if replaced is not None:
        text: str = (replaced(asset.id) / results.OUTPUT).read_text(errors="replace")
        return text
    return results.output_of_asset(asset)


def is_computation_error(computation_id_or_model: Run) -> bool:
    """Whether a computation failed; one that has not ended has not failed.

    It failed if its state or its end status is an error, its exit code is not 0, it has no results,
    its results are only `output`, or only `nextflow` and `output`, or its log reports an error.

    Parameters
    ----------
    computation_id_or_model
        The ID, or the model.

    Examples
    --------
    >>> is_computation_error("551ef68d-016d-55ca-902e-ce067089bd7e")
    False
    >>> is_computation_error("aa3a324e-6680-5b2b-a470-1e589f2d40f8")
    True
    """
    model: Any = get_codeocean_model(computation_id_or_model, is_computation=True)
    return computations.why_failed(model) is not None
