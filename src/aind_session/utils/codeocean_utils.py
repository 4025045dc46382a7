"""What Code Ocean knows: its client, data assets and computations, and the logs of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aind_session.lookup import by_id
from aind_session.services import codeocean
from aind_session.services.models import Computation, DataAsset
from aind_session.utils.asset_searches import (
    get_data_asset_search_query,
    get_data_assets,
    get_subject_data_assets,
    search_data_assets,
)
from aind_session.utils.assets import (
    get_data_asset_model,
    get_data_asset_source_dir,
    is_data_asset_error,
    is_raw_data_asset,
    sort_by_created,
    wait_until_ready,
)
from aind_session.utils.computations import (
    get_output_text,
    is_computation_error,
    is_output_error,
    is_output_file_from_sorting_pipeline,
    search_computations,
)

if TYPE_CHECKING:
    from codeocean import CodeOcean
    from urllib3.util import Retry

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


def get_codeocean_client(
    check_credentials: bool = True, retries: int | Retry | None = None
) -> CodeOcean:
    """Give the Code Ocean client of the environment's settings.

    Parameters
    ----------
    check_credentials
        Ask Code Ocean whether the token is good; once, the answer is kept.
    retries
        How often a failed question is put again; by default as the settings say. What starts or
        creates something is sent once, whatever this is.

    Returns
    -------
    codeocean.CodeOcean
        The true SDK client. Its errors are those of this package, too; it never shows its token.

    Raises
    ------
    MissingTokenError
        There is no token (a `KeyError`).
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
    """Give an ID as Code Ocean writes it, with hyphens.

    Parameters
    ----------
    id_or_model
        The ID as text or `uuid.UUID`, or the model of a data asset or computation.

    Raises
    ------
    InvalidIdentifierError
        It is no UUID (a `ValueError`).

    Examples
    --------
    >>> get_normalized_uuid("16d46411540a4122b47f8cb2a15d593a")
    '16d46411-540a-4122-b47f-8cb2a15d593a'
    """
    return by_id.normalised(id_or_model)


def get_codeocean_model(
    asset_or_computation_id: object, is_computation: bool | None = None
) -> DataAsset | Computation:
    """Get the model of a data asset or computation.

    What can still change (an asset that is not ready, a computation that has not ended) is asked
    for each time.

    Parameters
    ----------
    asset_or_computation_id
        The ID; a model is given back as it is.
    is_computation
        Which of them it is; None: a data asset, or a computation where there is no such asset.

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
    return by_id.model(asset_or_computation_id, is_computation)
