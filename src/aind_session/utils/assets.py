"""Data assets one by one: models, folders, failed ones, and waiting for new ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from aind_session.errors import InvalidFilterError, MissingFileError
from aind_session.lookup import belonging, by_id, folders, freshness, results, trail, waiting
from aind_session.services import pool, storage
from aind_session.services.models import Computation, DataAsset, decode_asset
from aind_session.utils import s3_utils

if TYPE_CHECKING:
    from uuid import UUID

    from upath import UPath

    Asset: TypeAlias = DataAsset | str | UUID
    Model: TypeAlias = DataAsset | Computation


def get_data_asset_model(asset_id_or_model: Asset) -> DataAsset:
    """Get the model of a data asset.

    Parameters
    ----------
    asset_id_or_model
        The ID; a model is given back as it is.

    Returns
    -------
    codeocean.data_asset.DataAsset
        The SDK's own model.

    Raises
    ------
    CodeOceanNotFoundError
        There is no such data asset (a `ValueError`).

    Examples
    --------
    >>> get_data_asset_model("16d46411-540a-4122-b47f-8cb2a15d593a").created
    1702620828
    """
    return by_id.model(asset_id_or_model, is_computation=False)


def sort_by_created(
    ids_or_models: Asset | Model | Iterable[Asset | Model],
) -> tuple[Model, ...]:
    """Sort data assets or computations by creation, ascending.

    Parameters
    ----------
    ids_or_models
        One or many, each as a model or an ID; models of IDs are got at the same time.

    Returns
    -------
    tuple
        Models.

    Examples
    --------
    >>> ids = ["a2a54575-b5ca-4cf0-acd0-2933e18bcb2d", "16d46411-540a-4122-b47f-8cb2a15d593a"]
    >>> [asset.name[:34] for asset in sort_by_created(ids)]
    ['ecephys_676909_2023-12-13_13-43-40', 'ecephys_676909_2023-12-13_13-43-40']
    """
    many = ids_or_models
    if isinstance(many, str | DataAsset | Computation) or not isinstance(many, Iterable):
        many = [many]
    models: list[Model] = pool.gather_all(by_id.model, many)
    return tuple(sorted(models, key=lambda model: (model.created, model.id)))


def get_data_asset_source_dir(asset_id: Asset, ttl_hash: int | None = None) -> UPath:
    """Get the folder of a data asset's files, in S3.

    As the asset tells, without asking S3: an external asset names its bucket; the files of an
    internal one are in Code Ocean's own, in a folder named after its ID. Where it does not tell,
    the known buckets are searched by its name.

    Parameters
    ----------
    asset_id
        The ID, or the model.
    ttl_hash
        A number that was not given before asks anew; see `get_ttl_hash`.

    Raises
    ------
    MissingFileError
        It does not tell, and no known bucket has a folder of its name (a `FileNotFoundError`).
    CodeOceanNotFoundError
        There is no such data asset (a `ValueError`).

    Examples
    --------
    >>> get_data_asset_source_dir("16d46411-540a-4122-b47f-8cb2a15d593a").as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
    """
    with freshness.at_hash(ttl_hash, "source folder", by_id.asset_key(asset_id)):
        asset = by_id.summary_of(asset_id)
        folder = folders.of_asset(asset)
        if folder is not None:
            return storage.path(folder.bucket, folder.prefix)
        try:
            return s3_utils.get_source_dir_by_name(asset.name)
        except MissingFileError as error:
            raise MissingFileError(
                f"Data asset {asset.id} ({asset.name}) does not tell where its files are. {error}",
                trail=error.trail,
            ) from None


def is_raw_data_asset(asset_id_or_model: Asset) -> bool:
    """Tell whether a data asset is raw data.

    Its custom field `data level` says so, or a tag, or its name is a session ID and nothing more.

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
    return belonging.is_raw(by_id.summary_of(asset_id_or_model))


def is_data_asset_error(asset_id_or_model: Asset) -> bool:
    """Tell whether a data asset is what a failed run left, by its log and by what else it left.

    Parameters
    ----------
    asset_id_or_model
        The ID, or the model. One that is no result of a run fails by its own state only.

    Examples
    --------
    >>> is_data_asset_error("1e11bdf5-b452-4fd9-bbb1-48383a9b0842")
    False
    """
    return results.is_data_asset_error(by_id.summary_of(asset_id_or_model))


def wait_until_ready(
    data_asset: Asset,
    check_files: bool = True,
    timeout: float | None = 60,
    **kwargs: float | bool | None,
) -> DataAsset:
    """Wait until a data asset is ready, and its files can be seen.

    It is asked for anew each time; a fault of the service on the way does not end the wait. What
    was known of its session or subject is forgotten, so that the next look finds the new asset.

    Parameters
    ----------
    data_asset
        The asset, or its ID.
    check_files
        Wait for its files, too: they may not be visible for some seconds after the asset is ready.
    timeout
        Seconds to wait at most; None: without end.
    **kwargs
        `polling_interval`: seconds between questions, by default few at first, then 5;
        `progress`: False shows none (it is shown in terminals and notebooks only).

    Returns
    -------
    codeocean.data_asset.DataAsset
        The asset as it is now.

    Raises
    ------
    NotReadyError
        The time is over (a `TimeoutError`).
    FailedAssetError
        The asset failed (a `RuntimeError`).
    CodeOceanNotFoundError
        There is no such data asset (a `ValueError`).

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
            raise InvalidFilterError(f"{name}: {seconds!r} is no number of seconds to wait")
    asset_id = by_id.asset_id(data_asset)
    with trail.following(asset_id, "wait"):
        found = waiting.until_ready(
            asset_id,
            check_files=check_files,
            timeout=timeout,
            interval=interval,
            shown=bool(shown),
        )
    return decode_asset(found.raw)
