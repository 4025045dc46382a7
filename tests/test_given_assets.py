"""Functions that take a data asset accept it as ID, name, location or model, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

import aind_session
from aind_session import Sandbox
from aind_session.lookup import folders
from aind_session.services.assets import get_asset
from aind_session.services.models import decode_asset
from aind_session.utils import codeocean_utils, docdb_utils

SORTED = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
RAW = "16d46411-540a-4122-b47f-8cb2a15d593a"
PIPELINE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"

#: What each function returns, reduced to something that compares.
FUNCTIONS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "get_record": (RAW, lambda a: aind_session.get_record(a).name),
    "get_docdb_record": (RAW, lambda a: docdb_utils.get_docdb_record(a)["_id"]),
    "get_data_asset_model": (RAW, lambda a: codeocean_utils.get_data_asset_model(a).id),
    "get_codeocean_model": (RAW, lambda a: codeocean_utils.get_codeocean_model(a).id),
    "get_data_asset_source_dir": (
        RAW,
        lambda a: codeocean_utils.get_data_asset_source_dir(a).as_posix(),
    ),
    "is_raw_data_asset": (RAW, codeocean_utils.is_raw_data_asset),
    "is_data_asset_error": (SORTED, codeocean_utils.is_data_asset_error),
    "get_output_text": (SORTED, codeocean_utils.get_output_text),
    "wait_until_ready": (RAW, lambda a: codeocean_utils.wait_until_ready(a, timeout=10).id),
    "sort_by_created": (RAW, lambda a: [m.id for m in codeocean_utils.sort_by_created([a])]),
    "search_computations": (
        RAW,
        lambda a: len(codeocean_utils.search_computations(PIPELINE, attached_data_asset_id=a)),
    ),
    "get_clipped_and_compressed_dirs": (
        RAW,
        lambda a: [str(d) for d in aind_session.ecephys.get_clipped_and_compressed_dirs(a)],
    ),
    "get_sorted_data_asset_model": (
        SORTED,
        lambda a: aind_session.ecephys.get_sorted_data_asset_model(a).id,
    ),
    "is_sorted_data_asset": (SORTED, lambda a: aind_session.ecephys.is_sorted_data_asset(a)),
    "is_sorting_analyzer_asset": (
        SORTED,
        lambda a: aind_session.ecephys.is_sorting_analyzer_asset(a),
    ),
    "get_sorter_name": (SORTED, lambda a: aind_session.ecephys.get_sorter_name(a)),
    "get_sorted_probe_names": (SORTED, lambda a: aind_session.ecephys.get_sorted_probe_names(a)),
    "get_current_sorting_pipeline_computations": (
        RAW,
        lambda a: aind_session.ecephys.get_current_sorting_pipeline_computations(
            raw_data_asset_id_or_model=a
        ),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_taking_an_asset_accepts_every_kind(sandbox: Sandbox, name: str) -> None:
    asset_id, function = FUNCTIONS[name]
    summary = get_asset(asset_id)
    location = folders.of_asset(summary)
    model = decode_asset(summary.raw)
    expected = function(asset_id)
    for given in (
        asset_id.upper(),
        asset_id.replace("-", ""),
        uuid.UUID(asset_id),
        summary.name,
        str(location),
        f"{location}/",
        model,
    ):
        assert function(given) == expected, given


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_taking_an_asset_refuses_other_kinds(sandbox: Sandbox, name: str) -> None:
    # A dictionary is an iterable of assets to `sort_by_created`.
    mapping = [] if name == "sort_by_created" else [{"id": RAW}]
    for given in (3, [RAW], object(), *mapping):
        with pytest.raises(TypeError, match=r"ID, its name, its location .* or its model"):
            FUNCTIONS[name][1](given)


def test_get_data_asset_model_several_of_one_name_returns_the_newest_ready(
    sandbox: Sandbox,
) -> None:
    model = codeocean_utils.get_data_asset_model(RAW)
    (asset,) = (a for a in sandbox.catalogue.data_assets if a["id"] == RAW)
    failed = {**asset, "id": str(uuid.uuid4()), "created": asset["created"] + 9, "state": "failed"}
    sandbox.catalogue.add_asset(failed)
    assert codeocean_utils.get_data_asset_model(model.name).id == RAW


@pytest.mark.parametrize(
    "given",
    ["no such asset", "s3://aind-open-data/nothing", "2070c349-7d14-40a3-b1d1-a2033a36ec7d"],
)
def test_get_data_asset_model_unknown_asset_is_a_value_error(sandbox: Sandbox, given: str) -> None:
    with pytest.raises(ValueError, match=r"404|ID of a data asset"):
        codeocean_utils.get_data_asset_model(given)
