"""The bundled catalogue contains the documented sessions exactly as documented."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aind_session.sandbox import Catalogue

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "src" / "aind_session" / "sandbox" / "bundled"
RESULTS = "codeocean-s3datasetsbucket-1u41qdg42ur9"
DOCUMENTED = "ecephys_676909_2023-12-13_13-43-40"
OLDER = "ecephys_668759_2023-07-11_13-07-32"
SORTED_AGAIN = "a2a54575-b5ca-4cf0-acd0-2933e18bcb2d"
SORTED = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
PROBES = ["ProbeA", "ProbeB", "ProbeC", "ProbeD", "ProbeE", "ProbeF"]
KEYS = [
    *("_id", "acquisition", "created", "data_description", "describedBy", "external_links"),
    *("instrument", "last_modified", "location", "metadata_status", "name", "procedures"),
    *("processing", "rig", "schema_version", "session", "subject"),
]
SESSION = re.compile(r"^(?:[A-Za-z-]+_)?(\w+?)_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")


@pytest.fixture(scope="module")
def bundled() -> Catalogue:
    return Catalogue.bundled()


def asset(catalogue: Catalogue, asset_id: str) -> Json:
    (found,) = [a for a in catalogue.data_assets if a["id"] == asset_id]
    return found


def record(records: list[Json], name: str) -> Json:
    (found,) = [r for r in records if r["name"] == name]
    return found


def keys(catalogue: Catalogue, bucket: str, prefix: str) -> list[str]:
    return [
        o["key"].removeprefix(f"{prefix}/")
        for o in catalogue.objects
        if o["bucket"] == bucket and o["key"].startswith(f"{prefix}/")
    ]


def text(catalogue: Catalogue, bucket: str, key: str) -> str:
    (found,) = [o for o in catalogue.objects if (o["bucket"], o["key"]) == (bucket, key)]
    return str(found["text"])


def sessions(names: list[str], subject: str) -> set[str]:
    found = (SESSION.match(name) for name in names)
    return {match[0] for match in found if match and match[1] == subject}


def names(catalogue: Catalogue) -> list[str]:
    every = (*catalogue.data_assets, *catalogue.docdb_v1, *catalogue.docdb_v2)
    return [entry["name"] for entry in every]


def test_catalogue_is_small_and_describes_what_is_invented(bundled: Catalogue) -> None:
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) < 1_500_000
    assert "invented" in bundled.description
    assert "999999" in bundled.description


def test_generator_writes_the_folder_as_it_is(tmp_path: Path) -> None:
    tool = [sys.executable, "-m", "tools.make_bundled_catalogue"]
    subprocess.run([*tool, str(tmp_path)], check=True, timeout=60, cwd=ROOT)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text("utf-8") for path in BUNDLED.iterdir()}


def test_the_real_client_reads_every_asset_and_computation(bundled: Catalogue) -> None:
    from codeocean.computation import Computation
    from codeocean.data_asset import DataAsset

    for one in bundled.data_assets:
        assert DataAsset.from_dict(one).id == one["id"]
    for run in bundled.computations:
        assert Computation.from_dict(run).id == run["id"]


def test_ids_are_unique_and_buckets_declared(bundled: Catalogue) -> None:
    ids = [a["id"] for a in bundled.data_assets]
    assert len(ids) == len(set(ids))
    places = [a["source_bucket"] for a in bundled.data_assets if "source_bucket" in a]
    assert {p["bucket"] for p in places} - {""} <= set(bundled.buckets)
    assert {name for name, b in bundled.buckets.items() if b["public"]} == {
        "aind-open-data",
        "aind-ephys-data",
    }


@pytest.mark.parametrize(
    ("asset_id", "name", "created", "bucket"),
    [
        ("16d46411-540a-4122-b47f-8cb2a15d593a", DOCUMENTED, 1702620828, "aind-ephys-data"),
        (SORTED, f"{DOCUMENTED}_sorted_2023-12-17_03-16-51", 1702783011, None),
        (SORTED_AGAIN, f"{DOCUMENTED}_sorted_2024-03-01_16-02-45", None, None),
        ("83636983-f80d-42d6-a075-09b60c6abd5e", OLDER, None, "aind-ephys-data"),
    ],
)
def test_documented_asset_is_as_printed(
    bundled: Catalogue, asset_id: str, name: str, created: int | None, bucket: str | None
) -> None:
    one = asset(bundled, asset_id)
    assert one["name"] == name
    assert created in (one["created"], None)
    place = one.get("source_bucket") or {}
    assert (place.get("bucket"), place.get("prefix")) == (bucket, name if bucket else None)


def test_documented_session_has_42_assets_of_which_one_is_raw(bundled: Catalogue) -> None:
    own = [a for a in bundled.data_assets if a["name"].startswith(DOCUMENTED)]
    assert len(own) == 42
    assert len([a for a in own if a["name"].startswith(f"{DOCUMENTED}_sorted")]) == 2
    assert [a["name"] for a in own if a["name"] == DOCUMENTED or "raw" in a["tags"]] == [DOCUMENTED]


def test_documented_folder_and_record_are_as_printed(bundled: Catalogue) -> None:
    folder = keys(bundled, "aind-ephys-data", DOCUMENTED)
    assert {key.split("/")[0] for key in folder if "/" in key} == {
        *("behavior", "behavior_videos", "ecephys_clipped", "ecephys_compressed"),
        "original_metadata",
    }
    own = record(bundled.docdb_v1, DOCUMENTED)
    assert list(own) == KEYS
    assert own["subject"]["genotype"] == "Pvalb-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt"
    assert DOCUMENTED not in [r["name"] for r in bundled.docdb_v2]


@pytest.mark.parametrize(
    ("subject", "documented"),
    [
        (
            "676909",
            {
                "behavior_676909_2023-10-24_15-15-50",
                "ecephys_676909_2023-12-11_14-24-35",
                "ecephys_676909_2023-12-13_13-43-40",
                "ecephys_676909_2023-12-14_12-43-11",
            },
        ),
        (
            "717381",
            {
                "SmartSPIM_717381_2024-05-20_15-19-15",
                "SmartSPIM_717381_2024-07-03_10-49-01",
                "ecephys_717381_2024-04-09_11-14-13",
                "ecephys_717381_2024-04-09_11-44-16",
                "ecephys_717381_2024-04-10_16-29-12",
                "ecephys_717381_2024-04-10_16-51-20",
            },
        ),
    ],
)
def test_documented_subject_has_its_sessions(
    bundled: Catalogue, subject: str, documented: set[str]
) -> None:
    assert sessions(names(bundled), subject) == documented


def test_others_that_mention_the_subject_are_not_its_own(bundled: Catalogue) -> None:
    mention = [
        a
        for a in bundled.data_assets
        if "676909" in json.dumps([a["name"], a["tags"], a["description"]])
        and (a.get("custom_metadata") or {}).get("subject id") != "676909"
    ]
    assert len(mention) == 2
    assert {a["custom_metadata"]["subject id"] for a in mention} == {"999998"}


@pytest.mark.parametrize("asset_id", [SORTED, SORTED_AGAIN])
def test_documented_sorting_has_all_probes(bundled: Catalogue, asset_id: str) -> None:
    found = keys(bundled, RESULTS, asset_id)
    for folder in ("curated", "spikesorted", "postprocessed"):
        probes = {p for key in found for p in PROBES if key.startswith(folder) and p in key}
        assert sorted(probes) == PROBES
    assert any(key.startswith("nwb/") for key in found)
    assert not any(".zarr" in key for key in found)
    processing = text(bundled, RESULTS, f"{asset_id}/processing.json")
    assert '"sorter_name":"kilosort2_5"' in processing
    output = text(bundled, RESULTS, f"{asset_id}/output")
    assert "N E X T F L O W" in output
    assert output.endswith("FULL PIPELINE time:  161658.77s") or asset_id != SORTED


def test_older_known_subject_has_its_first_asset(bundled: Catalogue) -> None:
    sorting = asset(bundled, "173e2fdc-0ca3-4a4e-9886-b74207a91a9a")
    assert sorting["name"].startswith(f"{OLDER}_sorted")
    every = ((a, a.get("custom_metadata") or {}) for a in bundled.data_assets)
    own = [a for a, metadata in every if metadata.get("subject id") == "668759"]
    first = min(own, key=lambda a: int(a["created"]))
    assert (first["name"], first["created"]) == ("Example T1 and T2 MRI Images", 1673996872)
    assert first["tags"] == ["T1", "T2", "MRI", "demo"]


@pytest.mark.parametrize(
    ("name", "bucket"),
    [
        (DOCUMENTED, "aind-ephys-data"),
        ("multiplane-ophys_721291_2024-05-08_08-05-54", "aind-private-data-prod-o5171v"),
        ("behavior_717121_2024-06-16_11-39-34", "aind-open-data"),
    ],
)
def test_known_session_is_in_its_bucket(bundled: Catalogue, name: str, bucket: str) -> None:
    assert record(bundled.docdb_v1, name)["location"] == f"s3://{bucket}/{name}"
    assert keys(bundled, bucket, name)


def test_linked_asset_of_738819(bundled: Catalogue) -> None:
    name = "SmartSPIM_738819_2024-06-21_13-48-58"
    linked = record(bundled.docdb_v1, name)["external_links"]["Code Ocean"]
    assert linked == ["537f2e0f-631a-4ac3-9f6f-1972feb11892"]
    assert asset(bundled, linked[0])["name"].startswith(name)


def test_lims_id_is_in_file_names(bundled: Catalogue) -> None:
    name = "ecephys_747816_2024-08-14_13-57-37"
    found = keys(bundled, "aind-private-data-prod-o5171v", name)
    assert "behavior/1386750279_747816_20240814.sync" in found


def test_name_without_platform_is_in_schema_2_only(bundled: Catalogue) -> None:
    name = "828418_2026-02-13_18-31-13"
    processed = f"{name}_processed_2026-02-14_12-44-45"
    assert not [r for r in bundled.docdb_v1 if r["name"].startswith(name)]
    assert {r["name"] for r in bundled.docdb_v2 if r["name"].startswith(name)} == {name, processed}
    assert processed in [a["name"] for a in bundled.data_assets]


def test_newest_alignment_of_each_probe(bundled: Catalogue) -> None:
    newest: dict[str, tuple[str, Json]] = {}
    prefix = "Probe Alignment for ecephys_795555_2025-08-26_11-29-20_"
    for one in bundled.docdb_v1:
        for entry in (one.get("quality_control") or {}).get("evaluations", ()):
            assert entry["name"].startswith(prefix)
            assert one["data_description"]["data_level"] == "derived"
            probe = entry["name"].removeprefix(prefix)
            curation = json.loads(entry["metrics"][0]["value"]["curations"][-1])
            if probe not in newest or newest[probe][0] < entry["created"]:
                newest[probe] = (entry["created"], curation)
    assert sorted(newest) == [f"{probe}_0" for probe in PROBES]
    curation = newest["ProbeA_0"][1]
    own, ccf = (curation[k]["channel_0"] for k in ("channel_results", "ccf_channel_results"))
    for channel in (own, ccf):
        assert (channel["axial"], channel["lateral"]) == (0.0, 16.0)
        assert (channel["brain_region_id"], channel["brain_region"]) == (56, "ACB")
    assert (ccf["x"], ccf["y"], ccf["z"]) == (
        -4.235408306121826,
        3.959097146987915,
        -5.8538970947265625,
    )


def test_states_of_717381_have_the_documented_annotations(bundled: Catalogue) -> None:
    assert "ecephys_717381_2024-04-09_11-14-13_sorted_2024-04-10_22-15-25" in names(bundled)
    assert "SmartSPIM_717381_2024-05-20_15-19-15_stitched_2024-06-23_02-34-02" in names(bundled)
    root = "aind-session/neuroglancer_states"
    states = keys(bundled, "aind-scratch-data", root)
    assert states
    for key in states:
        folder, name = key.split("/")
        assert name == f"{folder}.json"
        assert folder.startswith("SmartSPIM_717381_2024-07-03_10-49-01_neuroglancer-state_")
        layers = json.loads(text(bundled, "aind-scratch-data", f"{root}/{key}"))["layers"]
        annotations = [layer["name"] for layer in layers if layer["type"] == "annotation"]
        assert annotations == ["268", "269", "270", "265", "263", "262", "targets"]


def test_sorting_runs_succeeded_failed_and_run(bundled: Catalogue) -> None:
    pipeline = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
    runs = [c for c in bundled.computations if c["_capsule"] == pipeline]
    ends = {run.get("end_status") for run in runs}
    assert ends == {"succeeded", "failed", None}
    (running,) = [run for run in runs if run["state"] == "running"]
    assert asset(bundled, running["data_assets"][0]["id"])["name"].startswith("ecephys_999999_")
    triggers = [c for c in bundled.computations if c["_capsule"] != pipeline]
    assert {c["_capsule"] for c in triggers} == {"eb5a26e4-a391-4d79-9da5-1ab65b71253f"}
    ids = {a["id"] for a in bundled.data_assets}
    assert {c["parameters"][1]["value"] for c in triggers} <= ids


def test_invented_subject_has_what_the_known_ones_lack(bundled: Catalogue) -> None:
    everywhere = sessions(names(bundled), "999999")
    in_s3 = sessions([o["key"] for o in bundled.objects], "999999")
    assert len(in_s3 - everywhere) == 1, "one session that S3 alone has"
    assert len(everywhere - in_s3) == 1, "one session that has neither asset nor folder"
    outputs = [o["text"] for o in bundled.objects if o["key"].endswith("/output")]
    assert any("Traceback (most recent call last):" in output for output in outputs)
    found = [o["key"] for o in bundled.objects]
    assert any(re.search(r"postprocessed/[^/]*ProbeA-AP_recording1\.zarr/", key) for key in found)
    assert any("curated/" in key and "_group1/" in key for key in found)
    assert any("curated/" in key and "50213-1" in key for key in found)


def test_no_record_is_a_copy_of_a_real_one(bundled: Catalogue, shared_data: Path) -> None:
    real = {
        json.loads(path.read_text("utf-8")).get("_id")
        for path in (shared_data / "records").glob("v*/*.json")
    } - {None}
    assert real
    assert real.isdisjoint(r["_id"] for r in (*bundled.docdb_v1, *bundled.docdb_v2))


def test_json_files_contain_the_core_files_of_their_record(bundled: Catalogue) -> None:
    records = {r["location"]: r for r in (*bundled.docdb_v2, *bundled.docdb_v1)}
    found = 0
    for one in bundled.objects:
        name = one["key"].rpartition("/")[2]
        if not name.endswith(".json") or "/original_metadata/" in one["key"]:
            continue
        content = json.loads(one["text"])
        core, inside = name.removesuffix(".json"), one["key"].count("/") == 1
        record = records.get(f"s3://{one['bucket']}/{one['key'].rpartition('/')[0]}")
        if record is None or not inside or core == "processing":
            continue
        assert content == (record if core == "metadata.nd" else record.get(core, content)), one
        found += core in record
    assert found > 150


def test_both_layouts_of_sorted_assets_exist(bundled: Catalogue) -> None:
    def folders(session: str) -> set[str]:
        (sorted_asset,) = [a for a in bundled.data_assets if a["name"].startswith(f"{session}_sor")]
        return {key.partition("/")[0] for key in keys(bundled, RESULTS, sorted_asset["id"])}

    good = folders("ecephys_999990_2023-03-01_10-00-00")
    assert "nwb" not in good
    assert {"sorting_precurated", "spikesorted", "postprocessed", "output"} <= good
    failed = folders("ecephys_999990_2026-03-01_10-00-00")
    assert {"nwb", "nextflow", "output", "processing.json"} <= failed
    assert not {"curated", "sorting_precurated", "postprocessed", "spikesorted"} & failed
