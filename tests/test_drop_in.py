"""The older API: every name where programs look for it, and every signature they call."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

import aind_session
import aind_session.utils

CODE_OCEAN, DOCDB, S3, MISC = "codeocean_utils", "docdb_utils", "s3_utils", "misc_utils"

# Module of `aind_session.utils`, and the call as it is written down; `...`: any default.
UTILITIES = [
    (CODE_OCEAN, "get_codeocean_client(check_credentials=True, retries=...)"),
    (CODE_OCEAN, "get_normalized_uuid(id_or_model)"),
    (CODE_OCEAN, "get_codeocean_model(asset_or_computation_id, is_computation=None)"),
    (CODE_OCEAN, "get_data_asset_model(asset_id_or_model)"),
    (CODE_OCEAN, "sort_by_created(ids_or_models)"),
    (CODE_OCEAN, "get_data_asset_source_dir(asset_id, ttl_hash=None)"),
    (CODE_OCEAN, "wait_until_ready(data_asset, check_files=True, timeout=60, **kwargs)"),
    (
        CODE_OCEAN,
        "get_data_asset_search_query(name=None, subject_id=None, tag=None, description=None)",
    ),
    (
        CODE_OCEAN,
        "search_data_assets(search_params, as_dict=False, page_size=..., max_pages=..., "
        "raise_on_page_limit=True)",
    ),
    (
        CODE_OCEAN,
        "search_computations(capsule_or_pipeline_id, name=None, attached_data_asset_id=None, "
        "has_results=None, in_progress=None, computation_state=None, ttl_hash=None, date=None, "
        "start_date=None, end_date=None)",
    ),
    (CODE_OCEAN, "get_subject_data_assets(subject_id, ttl_hash=None, **search_params)"),
    (CODE_OCEAN, "get_data_assets(name_startswith, ttl_hash=None, **search_params)"),
    (CODE_OCEAN, "is_raw_data_asset(asset_id_or_model)"),
    (CODE_OCEAN, "get_output_text(asset_or_computation_id)"),
    (CODE_OCEAN, "is_data_asset_error(asset_id_or_model)"),
    (CODE_OCEAN, "is_computation_error(computation_id_or_model)"),
    (CODE_OCEAN, "is_output_file_from_sorting_pipeline(output)"),
    (CODE_OCEAN, "is_output_error(output_text)"),
    (DOCDB, "get_docdb_api_client(retries=..., **kwargs)"),
    (DOCDB, "get_docdb_record(data_asset_name_or_id, ttl_hash=None)"),
    (DOCDB, "get_subject_docdb_records(subject_id, ttl_hash=None)"),
    (
        DOCDB,
        "get_codeocean_data_asset_ids_from_docdb(partial_name=None, subject_id=None, "
        "ttl_hash=None)",
    ),
    (DOCDB, "extract_codeocean_data_asset_ids_from_docdb_record(record)"),
    (S3, "get_source_dir_by_name(name, ttl_hash=None)"),
    (S3, "get_bucket_and_prefix(path)"),
    (MISC, "get_ttl_hash(seconds=600)"),
    (MISC, "testmod(**kwargs)"),
]

OTHERS = [
    "session.Session(session_id)",
    "session.get_sessions(subject_id, date=None, platform=None, start_date=None, end_date=None)",
    "subject.Subject(subject_id)",
    "extension.register_namespace(name, cls=...)",
    "ecephys.get_clipped_and_compressed_dirs(asset)",
    "ecephys.get_sorted_data_asset_model(id)",
    "ecephys.is_sorted_data_asset(id)",
    "ecephys.is_sorting_analyzer_asset(id)",
    "ecephys.get_sorter_name(id)",
    "ecephys.get_sorted_probe_names(id)",
    "ecephys.run_sorting(self, *, pipeline_type=..., trigger_capsule_id=..., "
    "override_parameters=..., skip_already_sorting=True)",
    "ecephys.get_current_sorting_pipeline_computations(*, pipeline_id=..., "
    "raw_data_asset_id_or_model=...)",
    "ecephys.get_latest_ibl_annotations(session_id, as_ccf_records=False)",
    "lims.get_session(labtracks_mouse_id, lims_session_id)",
    "lims.extract_id(value)",
    "lims.get_id(aind_session_id)",
    "Subject.neuroglancer.NeuroglancerState(path_or_dict)",
    "Subject.neuroglancer.NeuroglancerState.write(self, path=None, timeout_sec=10)",
    "Subject.neuroglancer.NeuroglancerState.create_data_asset(self, path=None)",
    "Subject.ibl_data_converter.get_stitched_data_assets(id)",
    "Subject.ibl_data_converter.get_partial_manifest_records(self, "
    "neuroglancer_state_json_name=None, sorted_data_asset_names=())",
    "Subject.ibl_data_converter.create_manifest_asset(self, completed_records, asset_name=None, "
    "skip_existing=True)",
]

ATTRIBUTES = {
    "Session": "id subject_id platform date time datetime dt data_assets raw_data_asset "
    "raw_data_dir is_uploaded modalities docdb ecephys lims",
    "Subject": "id sessions data_assets docdb neuroglancer ibl_data_converter",
    "ExtensionBaseClass": "",
    "ecephys": "clipped_dir compressed_dir is_sorted sorted_data_assets sorter SortedDataAsset "
    "current_sorting_pipeline_computations DEFAULT_SORTING_PIPELINE_ID DEFAULT_TRIGGER_CAPSULE_ID "
    "sorted_data_asset sorted_data_dir is_sorting_fail sorted_probes",
    "ecephys.SortedDataAsset": "path output sorted_probes sorter_name is_sorting_error "
    "is_sorting_analyzer",
    "lims": "id",
    "Subject.neuroglancer": "from_json states state_json_paths state_json_data_assets "
    "state_json_dir NeuroglancerState",
    "Subject.neuroglancer.NeuroglancerState": "image_sources image_data_assets session "
    "annotation_names write create_data_asset",
    "Subject.ibl_data_converter": "ecephys_sessions ecephys_data_assets surface_recording_names "
    "sorted_data_assets smartspim_sessions smartspim_data_assets csv_manifest_path "
    "manifest_data_asset neuroglancer_state_json_asset run_data_converter_capsule "
    "use_data_assets_with_errors use_data_assets_with_sorting_analyzer",
}

MODULES = [
    "aind_session",
    "aind_session.extension",
    "aind_session.extensions",
    "aind_session.extensions.ecephys",
    "aind_session.extensions.smartspim_neuropixels",
    "aind_session.session",
    "aind_session.subject",
    "aind_session.utils",
    "aind_session.utils.codeocean_utils",
    "aind_session.utils.docdb_utils",
    "aind_session.utils.misc_utils",
    "aind_session.utils.s3_utils",
]


def name_of(call: str) -> str:
    return call.partition("(")[0]


def written(call: str) -> ast.arguments:
    """Read a call as it is written down."""
    definition = ast.parse(f"def f({call.partition('(')[2]}: ...").body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition.args


def check(callable_: Any, call: str) -> None:
    given = written(call)
    has = dict(inspect.signature(callable_).parameters)
    # Callers pass all of them by name, and those before `*` by place.
    places = [argument.arg for argument in given.args]
    assert list(has)[: len(places)] == places
    required = len(places) - len(given.defaults)
    defaults = [*zip(places[required:], given.defaults, strict=True)]
    defaults += [(a.arg, d) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d]
    for name, default in defaults:
        parameter = has.pop(name)
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        assert parameter.default is not parameter.empty
        if not (isinstance(default, ast.Constant) and default.value is ...):
            assert parameter.default == ast.literal_eval(default)
    for name in places[:required]:
        assert has.pop(name).kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    more = [p for p in has.values() if p.kind is p.VAR_KEYWORD]
    assert bool(more) == (given.kwarg is not None)
    assert [p.name for p in has.values() if p.default is p.empty and p not in more] == []


def found_at(path: str) -> Any:
    """Follow a dotted path from the package."""
    thing: Any = aind_session
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize(("module", "call"), UTILITIES, ids=name_of)
def test_utilities_answer_at_three_levels_with_their_signature(module: str, call: str) -> None:
    name = name_of(call)
    utility = getattr(importlib.import_module(f"aind_session.utils.{module}"), name)
    assert getattr(aind_session.utils, name) is utility
    assert getattr(aind_session, name) is utility
    assert name in dir(aind_session)
    assert name in aind_session.utils.__all__
    check(utility, call)


@pytest.mark.parametrize("call", OTHERS, ids=name_of)
def test_everything_else_has_its_signature(call: str) -> None:
    check(found_at(name_of(call)), call)


@pytest.mark.parametrize("owner", ATTRIBUTES)
def test_classes_have_their_attributes(owner: str) -> None:
    cls = found_at(owner)
    assert inspect.isclass(cls)
    # Not by `hasattr`: an alias that warns would warn.
    assert [n for n in ATTRIBUTES[owner].split() if n not in dir(cls)] == []


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_imported_by_name(name: str) -> None:
    assert importlib.import_module(name).__name__ == name


def test_neuroglancer_and_the_converter_are_in_their_older_module() -> None:
    older = importlib.import_module("aind_session.extensions.smartspim_neuropixels")
    assert older.NeuroglancerExtension is aind_session.Subject.neuroglancer
    assert older.IBLDataConverterExtension is aind_session.Subject.ibl_data_converter
    assert older.NeuroglancerState is older.NeuroglancerExtension.NeuroglancerState


def test_the_extension_classes_are_at_the_top() -> None:
    assert found_at("Session.ecephys") is aind_session.ecephys
    assert found_at("Session.lims") is aind_session.lims
    session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    assert type(session.ecephys) is aind_session.ecephys
    assert type(session.lims) is aind_session.lims


def test_buckets_are_named() -> None:
    names = aind_session.S3_DATA_BUCKET_NAMES
    assert names is aind_session.utils.s3_utils.S3_DATA_BUCKET_NAMES
    assert isinstance(names, tuple)
    assert {"aind-ephys-data", "aind-open-data", "aind-private-data-prod-o5171v"} <= set(names)


def test_the_version_is_a_text() -> None:
    assert [part.isdigit() for part in aind_session.__version__.split(".")[:2]] == [True, True]


def test_unknown_names_are_attribute_errors() -> None:
    for module in (aind_session, aind_session.utils, aind_session.extensions, aind_session.session):
        assert getattr(module, "no_such_name", None) is None
        with pytest.raises(AttributeError, match=module.__name__):
            _ = module.no_such_name


def test_completion_offers_public_names_only() -> None:
    for module in (aind_session, aind_session.utils):
        offered = {name for name in dir(module) if name != "__version__"}
        assert not any(name.startswith("_") for name in offered)
        assert not offered & {"os", "sys", "time", "logger", "logging", "annotations", "Any"}


LAZY = """
import json, sys
import aind_session
import aind_session.utils
assert aind_session.get_ttl_hash() and aind_session.utils.misc_utils.get_ttl_hash()
assert aind_session.session and aind_session.extensions and aind_session.testmod
print(json.dumps([name for name in sys.modules if "services" in name or name == "codeocean"]))
"""
ALONE = """
import aind_session
assert aind_session.utils.codeocean_utils.get_normalized_uuid
assert aind_session.extensions.ecephys.EcephysExtension is aind_session.ecephys
assert aind_session.session.get_sessions is aind_session.get_sessions
assert aind_session.subject.Subject is aind_session.Subject
assert aind_session.extension.register_namespace is aind_session.register_namespace
"""


def _python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_tables_of_contents_import_no_service() -> None:
    assert json.loads(_python(LAZY)) == []


def test_modules_are_there_after_importing_the_package_alone() -> None:
    _python(ALONE)
