"""Measures public calls while services hang: `python hanging_calls.py LIMIT URL`.

`LIMIT` is the time limit in seconds and `URL` a server that never answers; the environment is that
of a sandbox. Each call is made in a forked process, all at the same time. Prints a list of JSON
per call: its name, the services that hang, and the seconds that it took.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import aind_session
from aind_session import Sessions, Subject, context
from aind_session.cli import main as command
from aind_session.errors import AindSessionError

SESSION = "ecephys_676909_2023-12-13_13-43-40"
SOME = (SESSION, "ecephys_668759_2023-07-11_13-07-32", "ecephys_999999_2024-01-02_10-00-00")
RAW, RESULT = "16d46411-540a-4122-b47f-8cb2a15d593a", "a2a54575-b5ca-4cf0-acd0-2933e18bcb2d"
PIPELINE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
COMPUTATION = "5c7c5fa3-8555-5645-8582-085313272d75"
VARIABLES = {
    "Code Ocean": "CODE_OCEAN_DOMAIN",
    "DocDB": "AIND_SESSION_DOCDB_HOST",
    "S3": "AWS_ENDPOINT_URL_S3",
}
COLUMNS = ("id", "genotype", "folder", "modalities", "derived:*", "sorted", "results")

#: Limits that a call may take: a quarter more than one, and a bit for the machine. Two rounds of
#: requests that hang take two.
MOST = 1.6

Call = Callable[[], Any]


def new() -> Any:
    return aind_session.Session(SESSION)


def neuroglancer() -> Any:
    return Subject(717381).neuroglancer


def manifests() -> Any:
    return Subject(717381).ibl_data_converter


#: All public calls that send requests, by name; each makes its objects anew.
CALLS: Mapping[str, Call] = {
    "session.raw_data_asset": lambda: new().raw_data_asset,
    "session.raw_data_dir": lambda: new().raw_data_dir,
    "session.is_uploaded": lambda: new().is_uploaded,
    "session.modalities": lambda: new().modalities,
    "session.platform": lambda: aind_session.Session(SESSION.partition("_")[2]).platform,
    "session.data_assets": lambda: new().data_assets,
    "session.get_derived_data_assets": lambda: new().get_derived_data_assets(),
    "session.url": lambda: new().url,
    "session.attached_dirs": lambda: new().attached_dirs,
    "session.local_dir": lambda: new().local_dir(),
    "session.explain": lambda: new().explain(),
    "session.download": lambda: new().download(tempfile.gettempdir(), pattern="nothing*"),
    "session.docdb": lambda: new().docdb["name"],
    "session.docdb.project": lambda: new().docdb.project,
    "session.docdb.quality_control": lambda: new().docdb.quality_control,
    "session.docdb.processing": lambda: new().docdb.processing,
    "session.docdb.v1": lambda: new().docdb.v1,
    "session.lims.id": lambda: new().lims.id,
    "ecephys.is_sorted": lambda: new().ecephys.is_sorted,
    "ecephys.sorted_data_assets": lambda: new().ecephys.sorted_data_assets,
    "ecephys.sorted_data_asset": lambda: new().ecephys.sorted_data_asset,
    "ecephys.sorted_data_dir": lambda: new().ecephys.sorted_data_dir,
    "ecephys.sorted_probes": lambda: new().ecephys.sorted_probes,
    "ecephys.sorter": lambda: new().ecephys.sorter.kilosort2_5.sorted_data_asset,
    "ecephys.clipped_dir": lambda: new().ecephys.clipped_dir,
    "ecephys.compressed_dir": lambda: new().ecephys.compressed_dir,
    "ecephys.current_computations": lambda: new().ecephys.current_sorting_pipeline_computations,
    "ecephys.run_sorting": lambda: new().ecephys.run_sorting(),
    "ecephys.get_sorted_probe_names": lambda: aind_session.ecephys.get_sorted_probe_names(RESULT),
    "ecephys.get_sorter_name": lambda: aind_session.ecephys.get_sorter_name(RESULT),
    "subject.sessions": lambda: Subject(676909).sessions,
    "subject.data_assets": lambda: Subject(676909).data_assets,
    "subject.docdb.genotype": lambda: Subject(676909).docdb.genotype,
    "neuroglancer.state_json_paths": lambda: neuroglancer().state_json_paths,
    "neuroglancer.states": lambda: neuroglancer().states,
    "neuroglancer.state_json_data_assets": lambda: neuroglancer().state_json_data_assets,
    "ibl.smartspim_data_assets": lambda: manifests().smartspim_data_assets,
    "ibl.sorted_data_assets": lambda: manifests().sorted_data_assets,
    "ibl.ecephys_sessions": lambda: manifests().ecephys_sessions,
    "ibl.manifest_data_asset": lambda: manifests().manifest_data_asset,
    "ibl.get_partial_manifest_records": lambda: manifests().get_partial_manifest_records(),
    "get_sessions": lambda: aind_session.get_sessions(676909),
    "get_sessions by project": lambda: aind_session.get_sessions(project="Invented project A"),
    "iter_sessions": lambda: list(aind_session.iter_sessions(platform="ecephys")),
    "list_projects": lambda: aind_session.list_projects(),
    "list_platforms": lambda: aind_session.list_platforms(),
    "list_modalities": lambda: aind_session.list_modalities(),
    "list_subjects": lambda: aind_session.list_subjects(project="Invented project A"),
    "sessions.to_pandas": lambda: Sessions(SOME).to_pandas(),
    "sessions.to_pandas of all columns": lambda: Sessions(SOME).to_pandas(COLUMNS),
    "sessions.prefetch": lambda: Sessions(SOME).prefetch(),
    "sessions.run plan": lambda: Sessions(SOME).run(PIPELINE, label="sorted", dry_run=True),
    "search_computations": lambda: aind_session.search_computations(PIPELINE),
    "search_data_assets": lambda: aind_session.search_data_assets({"query": SESSION}),
    "get_data_asset_model": lambda: aind_session.get_data_asset_model(RAW),
    "get_codeocean_model": lambda: aind_session.get_codeocean_model(COMPUTATION),
    "is_raw_data_asset": lambda: aind_session.is_raw_data_asset(RAW),
    "is_data_asset_error": lambda: aind_session.is_data_asset_error(RESULT),
    "is_computation_error": lambda: aind_session.is_computation_error(COMPUTATION),
    "get_output_text": lambda: aind_session.get_output_text(RESULT),
    "get_data_asset_source_dir": lambda: aind_session.get_data_asset_source_dir(RESULT),
    "get_source_dir_by_name": lambda: aind_session.get_source_dir_by_name(SESSION),
    "get_data_assets": lambda: aind_session.get_data_assets(SESSION),
    "get_subject_data_assets": lambda: aind_session.get_subject_data_assets("676909"),
    "get_docdb_record": lambda: aind_session.get_docdb_record(SESSION),
    "get_record": lambda: aind_session.get_record(SESSION),
    "get_subject_docdb_records": lambda: aind_session.get_subject_docdb_records("676909"),
    "asset IDs of DocDB": lambda: aind_session.get_codeocean_data_asset_ids_from_docdb(SESSION),
    "show": lambda: command(["show", SESSION]),
    "show of a subject": lambda: command(["show", "676909"]),
    "list": lambda: command(["list", "676909", "--columns", ",".join(COLUMNS)]),
    "doctor": lambda: command(["doctor"]),
}


def of_assets() -> Iterator[tuple[str, Call]]:
    """Yield the calls of data assets that were found before the services hang."""
    derived = new().get_derived_data_assets("sorted")[-1]
    sorted_asset = new().ecephys.sorted_data_assets[-1]
    folder = tempfile.gettempdir()
    yield "derived.made_by", lambda: derived.made_by
    yield "derived.provenance_chain", lambda: derived.provenance_chain
    yield "derived.is_error", lambda: derived.is_error
    yield "derived.download", lambda: derived.download(folder, pattern="nothing*")
    yield "sorted.output", lambda: sorted_asset.output
    yield "sorted.sorted_probes", lambda: sorted_asset.sorted_probes
    yield "sorted.sorter_name", lambda: sorted_asset.sorter_name
    yield "sorted.is_sorting_error", lambda: sorted_asset.is_sorting_error


#: Calls that use several services one after the other, with each service that may hang alone.
IN_STAGES = (
    *("session.modalities", "session.explain", "session.download", "ecephys.is_sorted"),
    *("ecephys.sorted_probes", "sessions.to_pandas of all columns", "derived.is_error", "list"),
)


class Measured(NamedTuple):
    """A call while services hang, and how long it took."""

    name: str
    hanging: tuple[str, ...]
    seconds: float = math.inf


def measure(plan: Measured, call: Call, url: str) -> Measured:
    """Make one call in this process, which is a fork."""
    os.environ.update({VARIABLES[service]: url for service in plan.hanging})
    context.reset()
    began = time.monotonic()
    with contextlib.suppress(AindSessionError):
        call()
    return plan._replace(seconds=time.monotonic() - began)


def measure_all(plans: Iterable[Measured], calls: Mapping[str, Call], url: str) -> list[Measured]:
    """Make calls at the same time, each in a fork of this process."""
    read, write = os.pipe()
    children = []
    for plan in plans:
        child = os.fork()
        if child == 0:
            found = measure(plan, calls[plan.name], url)
            os.write(write, f"{json.dumps(found)}\n".encode())
            os._exit(0)
        children.append(child)
    os.close(write)
    with open(read, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for child in children:
        os.waitpid(child, 0)
    return [Measured(name, tuple(hanging), seconds) for name, hanging, seconds in rows]


def main(limit: float, url: str) -> None:
    warnings.simplefilter("ignore")
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    calls = {**CALLS, **dict(of_assets())}
    for name in IN_STAGES:
        # Imports of the first use are not part of the limit.
        calls[name]()
    os.environ["AIND_SESSION_TIMEOUT"] = str(limit)
    every = tuple(VARIABLES)
    plans = [Measured(name, every) for name in calls]
    plans += [Measured(name, (service,)) for service in every for name in IN_STAGES]
    context.reset()
    found: list[Measured] = []
    for _ in range(5):
        # A busy machine only makes a call longer: those that took long are repeated, ever fewer at
        # the same time.
        measured = measure_all(plans, calls, url)
        plans = [one for one in measured if one.seconds > limit * MOST]
        found += [one for one in measured if one not in plans]
    found += plans
    os.write(output, json.dumps(found).encode())


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
