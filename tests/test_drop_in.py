"""The older API: every name where programs look for it, its parameters, and the type it returns."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import codeocean
import pytest
from aind_data_access_api.document_db import MetadataDbClient
from codeocean.computation import Computation
from codeocean.data_asset import DataAsset
from upath import UPath

import aind_session
import aind_session.utils
from aind_session.clock import use_clock
from loopback import FakeClock

ID, LEGACY = "ecephys_676909_2023-12-13_13-43-40", "ecephys_747816_2024-08-14_13-57-37"
UNSORTED = "ecephys_668759_2023-07-11_13-07-32"
ALIGNED = "ecephys_795555_2025-08-26_11-29-20"
IMAGED = "SmartSPIM_717381_2024-05-20_15-19-15"
RAW, SORTED = "16d46411-540a-4122-b47f-8cb2a15d593a", "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
RUN = "551ef68d-016d-55ca-902e-ce067089bd7e"
PIPELINE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
TRIGGER = "eb5a26e4-a391-4d79-9da5-1ab65b71253f"
CONVERTER = "9fe42995-ffff-40ff-9c4c-c8206b8aacb5"
MONITOR = "567b5b98-8d41-413b-9375-9ca610ca2fd3"

ecephys, lims = aind_session.ecephys, aind_session.lims
Sorted: Any = ecephys.SortedDataAsset
Records = dict[str, dict[str, Any]]


def session(session_id: str = ID) -> aind_session.Session:
    return aind_session.Session(session_id)


def being_sorted() -> aind_session.Session:
    session(UNSORTED).ecephys.run_sorting()
    return session(UNSORTED)


def subject(subject_id: object = 717381) -> aind_session.Subject:
    return aind_session.Subject(subject_id)


def state() -> Any:
    return subject().neuroglancer.states[-1]


def completed() -> list[dict[str, str]]:
    first = subject().ibl_data_converter.get_partial_manifest_records()[0]
    return [{**first, "probe_name": "ProbeA"}]


def with_manifest() -> Any:
    subject().ibl_data_converter.create_manifest_asset(completed())
    return subject().ibl_data_converter


class Row(NamedTuple):
    """A name of the older API: its call (`...`: any default), its result's type, and a call."""

    where: str
    call: str
    returns: Any
    ask: Callable[[], Any]

    @property
    def path(self) -> str:
        return f"{self.where}.{name_of(self.call)}"


CODE_OCEAN, DOCDB = "utils.codeocean_utils", "utils.docdb_utils"
S3, MISC = "utils.s3_utils", "utils.misc_utils"
STATE, NEUROGLANCER = "Subject.neuroglancer.NeuroglancerState", "Subject.neuroglancer"
IBL, OF_SORTED = "Subject.ibl_data_converter", "ecephys.SortedDataAsset"
Assets, Computations = tuple[DataAsset, ...], tuple[Computation, ...]
Found = tuple[aind_session.Session, ...]
SortedAssets = types.GenericAlias(tuple, (Sorted, ...))

# fmt: off
# Where a property is, how an object with it is made, and the type of each.
PROPERTIES: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
    ("Session", session, {
        "data_assets": Assets, "is_uploaded": bool, "raw_data_asset": DataAsset,
        "raw_data_dir": UPath, "modalities": tuple[str, ...], "docdb": dict[str, Any],
        "subject": aind_session.Subject,
    }),
    ("Subject", subject, {"sessions": Found, "data_assets": Assets}),
    ("Subject", lambda: subject(676909), {"docdb": tuple[dict[str, Any], ...]}),
    ("ecephys", lambda: session().ecephys, {
        "clipped_dir": UPath, "compressed_dir": UPath, "is_sorted": bool,
        "sorted_data_assets": SortedAssets,
    }),
    (OF_SORTED, lambda: ecephys.get_sorted_data_asset_model(SORTED), {
        "path": UPath, "output": str, "sorted_probes": tuple[str, ...], "sorter_name": str,
        "is_sorting_error": bool, "is_sorting_analyzer": bool,
    }),
    ("ecephys.SorterExtension", lambda: session().ecephys.sorter.kilosort2_5, {
        "sorted_data_assets": SortedAssets,
    }),
    ("ecephys", lambda: being_sorted().ecephys, {
        "current_sorting_pipeline_computations": Computations,
    }),
    ("lims", lambda: session(LEGACY).lims, {"id": int}),
    (STATE, state, {
        "image_sources": tuple[str, ...], "image_data_assets": Assets,
        "session": aind_session.Session, "annotation_names": tuple[str, ...],
    }),
    (NEUROGLANCER, lambda: subject().neuroglancer, {
        "states": tuple, "state_json_paths": tuple[UPath, ...], "state_json_data_assets": Assets,
        "state_json_dir": UPath,
    }),
    (IBL, lambda: subject().ibl_data_converter, {
        "ecephys_sessions": Found, "ecephys_data_assets": Assets,
        "surface_recording_names": dict[str, str], "sorted_data_assets": SortedAssets,
        "smartspim_sessions": Found, "smartspim_data_assets": Assets, "csv_manifest_path": UPath,
        "neuroglancer_state_json_asset": DataAsset,
    }),
    (IBL, with_manifest, {"manifest_data_asset": DataAsset}),
]
ROWS = [
    Row("session", "Session(session_id)", aind_session.Session, session),
    Row("session", "get_sessions(subject_id, date=None, platform=None, start_date=None, "
        "end_date=None)", Found, lambda: aind_session.get_sessions(676909)),
    Row("subject", "Subject(subject_id)", aind_session.Subject, subject),
    Row("extension", "register_namespace(name, cls=...)", types.FunctionType,
        lambda: aind_session.register_namespace("made_for_a_test")),

    Row(CODE_OCEAN, "get_codeocean_client(check_credentials=True, retries=...)",
        codeocean.CodeOcean, lambda: aind_session.get_codeocean_client()),
    Row(CODE_OCEAN, "get_normalized_uuid(id_or_model)", str,
        lambda: aind_session.get_normalized_uuid(RAW)),
    Row(CODE_OCEAN, "get_codeocean_model(asset_or_computation_id, is_computation=None)",
        DataAsset | Computation, lambda: aind_session.get_codeocean_model(RUN)),
    Row(CODE_OCEAN, "get_data_asset_model(asset_id_or_model)", DataAsset,
        lambda: aind_session.get_data_asset_model(RAW)),
    Row(CODE_OCEAN, "sort_by_created(ids_or_models)", Assets,
        lambda: aind_session.sort_by_created([SORTED, RAW])),
    Row(CODE_OCEAN, "get_data_asset_source_dir(asset_id, ttl_hash=None)", UPath,
        lambda: aind_session.get_data_asset_source_dir(RAW)),
    Row(CODE_OCEAN, "wait_until_ready(data_asset, check_files=True, timeout=60, **kwargs)",
        DataAsset, lambda: aind_session.wait_until_ready(RAW)),
    Row(CODE_OCEAN, "get_data_asset_search_query(name=None, subject_id=None, tag=None, "
        "description=None)", str, lambda: aind_session.get_data_asset_search_query("x")),
    Row(CODE_OCEAN, "search_data_assets(search_params, as_dict=False, page_size=100, "
        "max_pages=1000, raise_on_page_limit=True)", tuple[DataAsset | dict[str, Any], ...],
        lambda: aind_session.search_data_assets({"query": "name:ecephys_676909"})),
    Row(CODE_OCEAN, "search_computations(capsule_or_pipeline_id, name=None, "
        "attached_data_asset_id=None, has_results=None, in_progress=None, computation_state=None, "
        "ttl_hash=None, date=None, start_date=None, end_date=None)", Computations,
        lambda: aind_session.search_computations(PIPELINE)),
    Row(CODE_OCEAN, "get_subject_data_assets(subject_id, ttl_hash=None, **search_params)", Assets,
        lambda: aind_session.get_subject_data_assets(676909)),
    Row(CODE_OCEAN, "get_data_assets(name_startswith, ttl_hash=None, **search_params)", Assets,
        lambda: aind_session.get_data_assets(ID)),
    Row(CODE_OCEAN, "is_raw_data_asset(asset_id_or_model)", bool,
        lambda: aind_session.is_raw_data_asset(RAW)),
    Row(CODE_OCEAN, "get_output_text(asset_or_computation_id)", str,
        lambda: aind_session.get_output_text(SORTED)),
    Row(CODE_OCEAN, "is_data_asset_error(asset_id_or_model)", bool,
        lambda: aind_session.is_data_asset_error(SORTED)),
    Row(CODE_OCEAN, "is_computation_error(computation_id_or_model)", bool,
        lambda: aind_session.is_computation_error(RUN)),
    Row(CODE_OCEAN, "is_output_file_from_sorting_pipeline(output)", bool,
        lambda: aind_session.is_output_file_from_sorting_pipeline("")),
    Row(CODE_OCEAN, "is_output_error(output_text)", bool, lambda: aind_session.is_output_error("")),
    Row(DOCDB, "get_docdb_api_client(retries=..., **kwargs)", MetadataDbClient,
        lambda: aind_session.get_docdb_api_client()),
    Row(DOCDB, "get_subject_docdb_records(subject_id, ttl_hash=None)",
        tuple[dict[str, Any], ...], lambda: aind_session.get_subject_docdb_records(676909)),
    Row(DOCDB, "get_docdb_record(data_asset_name_or_id, ttl_hash=None)", dict[str, Any],
        lambda: aind_session.get_docdb_record(ID)),
    Row(DOCDB, "get_codeocean_data_asset_ids_from_docdb(partial_name=None, subject_id=None, "
        "ttl_hash=None)", list[str],
        lambda: aind_session.get_codeocean_data_asset_ids_from_docdb(subject_id=676909)),
    Row(DOCDB, "extract_codeocean_data_asset_ids_from_docdb_record(record)", tuple[str, ...],
        lambda: aind_session.extract_codeocean_data_asset_ids_from_docdb_record(session().docdb)),
    Row(S3, "get_source_dir_by_name(name, ttl_hash=None)", UPath,
        lambda: aind_session.get_source_dir_by_name(ID)),
    Row(S3, "get_bucket_and_prefix(path)", tuple[str, str],
        lambda: aind_session.get_bucket_and_prefix("s3://bucket/a/b")),
    Row(MISC, "get_ttl_hash(seconds=600)", int, lambda: aind_session.get_ttl_hash()),
    Row(MISC, "testmod(**kwargs)", tuple,
        lambda: aind_session.testmod(m=aind_session.utils.s3_utils)),

    Row("ecephys", "get_latest_ibl_annotations(session_id, as_ccf_records=False)", Records,
        lambda: ecephys.get_latest_ibl_annotations(ALIGNED)),
    Row("ecephys", "get_latest_ibl_annotations(session_id, as_ccf_records=False)",
        list[dict[str, Any]],
        lambda: ecephys.get_latest_ibl_annotations(ALIGNED, as_ccf_records=True)),
    Row("ecephys", "get_clipped_and_compressed_dirs(raw_data_asset_id_or_model)",
        tuple[UPath, UPath], lambda: ecephys.get_clipped_and_compressed_dirs(RAW)),
    Row("ecephys", "get_sorted_data_asset_model(asset_id)", Sorted,
        lambda: ecephys.get_sorted_data_asset_model(SORTED)),
    Row("ecephys", "is_sorted_data_asset(asset_id)", bool,
        lambda: ecephys.is_sorted_data_asset(SORTED)),
    Row("ecephys", "is_sorting_analyzer_asset(asset_id)", bool,
        lambda: ecephys.is_sorting_analyzer_asset(SORTED)),
    Row("ecephys", "sorter", object, lambda: session().ecephys.sorter.names),
    Row("ecephys", "get_sorted_probe_names(sorted_data_asset_id_or_model)", tuple[str, ...],
        lambda: ecephys.get_sorted_probe_names(SORTED)),
    Row("ecephys", "run_sorting(self, pipeline_type='ecephys_ks25', "
        f"trigger_capsule_id='{TRIGGER}', override_parameters=None, skip_already_sorting=True)",
        Computation,
        lambda: session(UNSORTED).ecephys.run_sorting()),
    Row("ecephys", f"get_current_sorting_pipeline_computations(pipeline_id='{PIPELINE}', "
        "raw_data_asset_id_or_model=None)", Computations,
        lambda: ecephys.get_current_sorting_pipeline_computations()),
    Row("ecephys", "get_sorter_name(sorted_data_asset_id)", str,
        lambda: ecephys.get_sorter_name(SORTED)),
    Row("lims", "get_session(labtracks_mouse_id, lims_session_id)", aind_session.Session,
        lambda: lims.get_session(747816, 1386750279)),
    Row("lims", "extract_id(value)", int, lambda: lims.extract_id("1386750279_747816.sync")),
    Row("lims", "get_id(aind_session_id)", int, lambda: lims.get_id(LEGACY)),
    Row(NEUROGLANCER, "NeuroglancerState(path_or_dict)", object, state),
    Row(STATE, "get_new_file_name(session_id)", str, lambda: state().get_new_file_name(IMAGED)),
    Row(STATE, "write(self, path=None, timeout_sec=10)", UPath, lambda: state().write()),
    Row(STATE, "create_data_asset(self, path=None)", DataAsset,
        lambda: state().create_data_asset()),
    Row(NEUROGLANCER, "from_json(content)", object, lambda: subject().neuroglancer.from_json("{}")),
    Row(IBL, "get_stitched_data_assets(smartspim_session_id)", Assets,
        lambda: subject().ibl_data_converter.get_stitched_data_assets(IMAGED)),
    Row(IBL, "get_mindscope_probe_day_from_ng_state(neuroglancer_state)",
        dict[str, dict[Literal["probe", "day"], str]],
        lambda: subject().ibl_data_converter.get_mindscope_probe_day_from_ng_state(
            subject().neuroglancer.from_json({"layers": [{"type": "annotation", "name": "A1"}]}))),
    Row(IBL, "get_partial_manifest_records(self, neuroglancer_state_json_name=None, "
        "sorted_data_asset_names=())", list[dict[str, Any]],
        lambda: subject().ibl_data_converter.get_partial_manifest_records()),
    Row(IBL, "create_manifest_asset(self, completed_records, asset_name=None, skip_existing=True, "
        "timeout_sec=10)", DataAsset,
        lambda: subject().ibl_data_converter.create_manifest_asset(completed())),
    Row(IBL, f"run_data_converter_capsule(self, capsule_id='{CONVERTER}', manifest_asset=None, "
        "neuroglancer_state_json_asset=None, additional_assets=(), named_parameters=None, "
        f"pipeline_monitor_capsule_id='{MONITOR}')", Computation,
        lambda: with_manifest().run_data_converter_capsule(pipeline_monitor_capsule_id=None)),
]
# fmt: on
ROWS += [
    Row(where, name, kind, lambda owner=owner, name=name: getattr(owner(), name))  # type: ignore[misc]
    for where, owner, kinds in PROPERTIES
    for name, kind in kinds.items()
]

# They start or create something.
WRITING = {
    *("run_sorting", "current_sorting_pipeline_computations", "write", "create_data_asset"),
    *("create_manifest_asset", "manifest_data_asset", "run_data_converter_capsule"),
}

# Constants, aliases, nested classes, and what else programs name.
ATTRIBUTES = {
    "Session": "id subject_id platform date time datetime dt docdb ecephys lims",
    "Subject": "id neuroglancer ibl_data_converter",
    "ExtensionBaseClass": "",
    "ecephys": "SortedDataAsset SorterExtension DEFAULT_SORTING_PIPELINE_ID "
    "DEFAULT_TRIGGER_CAPSULE_ID sorted_data_asset sorted_data_dir is_sorting_fail sorted_probes "
    "SORTING_PIPELINE_ID TRIGGER_CAPSULE_ID IBL_ALIGNMENT_EVALUATION_PREFIX",
    "Subject.ibl_data_converter": "ManifestRecord DATA_CONVERTER_CAPSULE_ID "
    "PIPELINE_MONITOR_CAPUSLE_ID use_data_assets_with_errors "
    "use_data_assets_with_sorting_analyzer",
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


def is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, its items included."""
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(is_a(value, one) for one in of)
    if origin is Literal:
        return value in of
    if origin is None:
        return isinstance(value, kind)
    if not isinstance(value, origin):
        return False
    if origin is dict:
        return all(is_a(k, of[0]) and is_a(v, of[1]) for k, v in value.items())
    if origin is tuple and of[-1] is not ...:
        return len(value) == len(of) and all(map(is_a, value, of))
    return bool(value) and all(is_a(one, of[0]) for one in value)


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


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_name_of_the_older_api_takes_its_parameters(row: Row) -> None:
    if "(" in row.call:
        check(found_at(row.path), row.call)
    else:
        owner = found_at(row.where)
        assert inspect.isclass(owner)
        assert name_of(row.call) in dir(owner)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_name_of_the_older_api_returns_its_type(row: Row, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("sandbox" if name_of(row.call) in WRITING else "bundled")
    with use_clock(FakeClock()):
        value = row.ask()
    assert is_a(value, row.returns), f"{value!r:.500}"


def test_utilities_are_found_at_three_levels() -> None:
    homes = {name_of(row.call): row.where for row in ROWS if row.where.startswith("utils")}
    assert {*homes, "S3_DATA_BUCKET_NAMES"} == set(aind_session.utils.__all__)
    for name, home in homes.items():
        utility = getattr(importlib.import_module(f"aind_session.{home}"), name)
        assert getattr(aind_session.utils, name) is utility
        assert getattr(aind_session, name) is utility
        assert name in dir(aind_session)


def test_classes_have_their_attributes() -> None:
    # Not by `hasattr`: an alias that warns would warn.
    missing = {
        f"{owner}.{name}"
        for owner, names in ATTRIBUTES.items()
        for name in names.split()
        if name not in dir(found_at(owner))
    }
    assert missing == set()
    assert all(inspect.isclass(found_at(owner)) for owner in ATTRIBUTES)


def test_modules_are_imported_by_name() -> None:
    assert [importlib.import_module(name).__name__ for name in MODULES] == MODULES


@pytest.mark.usefixtures("bundled")
def test_older_module_has_neuroglancer_and_converter() -> None:
    older = importlib.import_module("aind_session.extensions.smartspim_neuropixels")
    converter = older.IBLDataConverterExtension
    assert older.NeuroglancerExtension is aind_session.Subject.neuroglancer
    assert converter is aind_session.Subject.ibl_data_converter
    assert older.NeuroglancerState is older.NeuroglancerExtension.NeuroglancerState
    assert converter.DATA_CONVERTER_CAPSULE_ID == CONVERTER
    assert converter.PIPELINE_MONITOR_CAPUSLE_ID == MONITOR
    assert ecephys.IBL_ALIGNMENT_EVALUATION_PREFIX == "Probe Alignment for"
    assert isinstance(older.SCRATCH_STORAGE_DIR, UPath)
    assert older.SCRATCH_STORAGE_DIR.as_posix() == "s3://aind-scratch-data/aind-session"
    record = {"mouseid": "717381", "probe_id": "268"}
    assert converter.ManifestRecord(**record) == record


def test_extension_classes_are_top_level_names() -> None:
    assert found_at("Session.ecephys") is aind_session.ecephys
    assert found_at("Session.lims") is aind_session.lims
    session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    assert type(session.ecephys) is aind_session.ecephys
    assert type(session.lims) is aind_session.lims


def test_version_is_text_and_bucket_names_begin_with_the_results() -> None:
    assert [part.isdigit() for part in aind_session.__version__.split(".")[:2]] == [True, True]
    names = aind_session.S3_DATA_BUCKET_NAMES
    assert names is aind_session.utils.s3_utils.S3_DATA_BUCKET_NAMES
    assert isinstance(names, tuple)
    assert names[0] == "codeocean-s3datasetsbucket-1u41qdg42ur9"
    assert set(names) >= {
        *("aind-private-data-prod-o5171v", "aind-open-data-prod-o5171v", "aind-open-data"),
        *("aibs-behavior-data", "aind-ephys-data", "aind-ophys-data"),
    }


def test_unknown_name_is_an_attribute_error() -> None:
    for module in (aind_session, aind_session.utils, aind_session.extensions, aind_session.session):
        assert getattr(module, "no_such_name", None) is None
        with pytest.raises(AttributeError, match=module.__name__):
            _ = module.no_such_name


def test_dir_lists_public_names_only() -> None:
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
loaded = [name for name in sys.modules if "services" in name or name == "codeocean"]
assert aind_session.plots.__name__ == "aind_session.plots"
print(json.dumps(loaded + [name for name in sys.modules if name == "matplotlib"]))
"""
ALONE = """
assert aind_session.utils.codeocean_utils.get_normalized_uuid
assert aind_session.extensions.ecephys.EcephysExtension is aind_session.ecephys
assert aind_session.session.get_sessions is aind_session.get_sessions
assert aind_session.subject.Subject is aind_session.Subject
assert aind_session.extension.register_namespace is aind_session.register_namespace
"""


def _python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_submodules_need_no_import_of_their_own() -> None:
    assert json.loads(_python(LAZY + ALONE)) == []
