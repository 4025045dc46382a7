"""A whole invented world, with every era, source and defect that has been seen, and its truth."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.factory import raw_asset, result_asset
from aind_session.sandbox.shapes import (
    FAILURES,
    NO_STREAMS,
    RESULTS_BUCKET,
    Mouse,
    SessionName,
    data_description,
    epoch,
    invented_id,
    raw_keys,
    session_record,
    sorting_files,
    stamp,
    subject,
    tables,
)

from .odd_shapes import EMPTY_BUCKETS, ODD_ASSETS, new_links, old_links
from .truth import SessionTruth, SubjectTruth, Truth

_OLD_BUCKETS = ("aind-ephys-data", "aind-ophys-data")
_BUCKETS = ("aind-open-data", "aind-private-data-prod-o5171v")
# One is the beginning of another; some are not numbers, or begin with a zero.
_SUBJECTS = ("600001", "6000012", "M2501", "125L", "018559", "ZS061", "AK028")
_SORTED = ("sorted", "sorted-ks2.5", "sorted-ks25", "sorted-opto", "sortedKS4", "sorted_curated")
_LABELS = ("processed", "nwb", "dlc-eye", "dlc_face", "videoprocessed", "None", "curated-person")
_SPIM_LABELS = ("stitched", "flatfield-correction", "alignment", "fusion")
_DAY = 86_400


def invent_world(seed: int = 0, n_sessions: int = 200) -> tuple[Catalogue, Truth]:
    """Invent a world of sessions: all eras, sources and defects, and what is true of it.

    The truth records what was decided while the world was made: no lookup contributes to it. The
    same seed gives the same world; below about a hundred sessions, not every defect occurs.
    """
    rng = random.Random(seed)
    world = _World(rng, seed)
    subjects = [*_SUBJECTS, *(str(700_000 + n) for n in range(max(1, n_sessions // 10)))]
    for number in range(n_sessions):
        owner = subjects[number % len(subjects)]
        _Session(world, owner, rng.choice([s for s in subjects if s != owner])).make()
    for owner in rng.sample(subjects, max(2, len(subjects) // 4)):
        world.loose_assets(owner, rng.choice(subjects))
    world.truth.settle()
    return world.catalogue, world.truth


class _World:
    """What is shared by the sessions of a world."""

    def __init__(self, rng: random.Random, seed: int) -> None:
        self.rng = rng
        self.seed = seed
        self.truth = Truth()
        self.taken: set[tuple[str, datetime]] = set()
        self.catalogue = Catalogue(
            description=f"{seed}: an invented world",
            buckets={name: {"public": public} for name, public in tables()["buckets"].items()},
        )

    def start(self, owner: str) -> datetime:
        """Find a time at which this subject has no session yet, sometimes on a day that has one."""
        while True:
            moment = datetime(self.rng.choice((2022, 2023, 2024, 2025, 2026)), 1, 3, 9)
            moment += timedelta(days=self.rng.randrange(150), seconds=self.rng.randrange(30_000))
            if (owner, moment) not in self.taken:
                self.taken.add((owner, moment))
                return moment

    def new_id(self, *parts: object) -> str:
        """Make an id that no other world has."""
        return invented_id("world", self.seed, *parts)

    def chance(self, probability: float) -> bool:
        """Decide something."""
        return self.rng.random() < probability

    def loose_assets(self, owner: str, other: str) -> None:
        """Add an asset of a subject without a session, and one that only mentions a subject."""
        name = f"Example images {self.new_id('images', owner)[:4]}"
        place: Json = {"bucket": "aind-open-data", "platform": None}
        own: Json = {"subject": owner, "tags": ["demo"], "custom_metadata": {"subject id": owner}}
        loose_id = self.new_id("loose", owner)
        loose = raw_asset(name, asset_id=loose_id, created=1_673_996_872, **place, **own)
        self.catalogue.add_asset(loose)
        self.truth.subjects.setdefault(owner, SubjectTruth(owner)).assets.add(loose["id"])
        stranger = raw_asset(
            f"comparison of {owner} and {other}",
            asset_id=self.new_id("stranger", owner, other),
            created=1_683_996_872,
            level="derived" if self.chance(0.5) else None,
            **{**place, "subject": "999998", "tags": [owner]},
            description=f"Mentions {other} as well",
        )
        self.catalogue.add_asset(stranger)
        self.truth.strangers.add(stranger["id"])


class _Session:
    """One session of a world: every decision is made here, and recorded in the truth."""

    def __init__(self, world: _World, owner: str, other: str) -> None:
        self.world, self.owner, self.other = world, owner, other
        rng = world.rng
        self.start = world.start(owner)
        platforms = tuple(tables()["platforms"])
        kind = rng.choice((*platforms, "ecephys", "ecephys", "behavior"))
        self.platform = None if self.start.year == 2026 and world.chance(0.7) else kind
        self.modalities: list[str] = tables()["platforms"][kind]["modalities"]
        self.old = self.start.year < 2024
        own = f"{owner}_{self.start:%Y-%m-%d_%H-%M-%S}"
        self.id = f"{self.platform}_{own}" if self.platform else own
        self.bucket = rng.choice(_OLD_BUCKETS if self.old else _BUCKETS)
        self.mouse = Mouse.invent(owner)
        self.registered = epoch(self.start) + _DAY
        self.source = rng.choices(
            ("everywhere", "codeocean", "v1", "v2", "s3", "derived only"), (60, 12, 8, 8, 6, 6)
        )[0]
        self.generations = self._generations()
        self.links = rng.choices(
            ("dict", "list", "empty list", "empty dict", "null", "text", "no id"),
            (60, 14, 6, 5, 5, 5, 5),
        )[0]
        self.linked: list[str] = []
        self.sortings: set[str] = set()
        self.truth = SessionTruth(self.id, owner, self.platform)
        world.truth.sessions[self.id] = self.truth

    def _generations(self) -> tuple[str, ...]:
        if self.source in ("v1", "v2"):
            return (self.source,)
        if self.source != "everywhere":
            return ()
        if self.start.year == 2026:
            return ("v2",)
        return ("v1",) if self.world.chance(0.4) else ("v1", "v2")

    def make(self) -> None:
        """Take all decisions, in the order in which the services came to know the session."""
        if self.source == "derived only":
            self._derived(self.world.rng.randint(1, 3))
            return
        self.truth.location = f"s3://{self.bucket}/{self.id}"
        if self.source in ("everywhere", "codeocean"):
            self._raw()
            self._derived(self.world.rng.choice((0, 0, 1, 2, 4)))
        if self.generations:
            self._linked_only()
            self._records()
        likely = {"v1": 0.7, "v2": 0.7, "s3": 1.0}
        if self.truth.location and self.world.chance(likely.get(self.source, 0.9)):
            self._folder(self.truth.location)

    # -- Code Ocean ----------------------------------------------------------------------------

    def _add(self, asset: Json, *, oddity: str | None = None) -> None:
        if oddity:
            ODD_ASSETS[oddity](asset)
            self.truth.oddities.add(oddity)
        self.world.catalogue.add_asset(asset)
        if oddity:
            # The catalogue fills in what the API always returns; here, it was not returned.
            ODD_ASSETS[oddity](self.world.catalogue.data_assets[-1])
        self.truth.sources.add("codeocean")

    def _odd(self) -> str | None:
        return self.world.rng.choice(tuple(ODD_ASSETS)) if self.world.chance(0.15) else None

    def _raw(self) -> None:
        rng = self.world.rng
        carried = self.generations and self.links == "dict"
        styles = ["plain"] * 8 + ["no metadata", "two", "two", "tag only", "level derived"]
        styles += ["newer one archived", "named raw_data"]
        styles += ["renamed"] * 2 if carried else []
        styles += ["bucket"] * 2 if self.generations else ["internal"]
        styles += ["moved"] if self.generations else []
        style = rng.choice(styles)
        if style != "plain":
            self.truth.oddities.add(f"raw asset: {style}")
        raw_id = self.world.new_id("raw", self.id)
        asset = self._raw_asset(raw_id, self.registered, self.bucket, style)
        if style == "renamed":
            asset |= {"name": f"recording {raw_id[:4]} of the week", "tags": ["raw"]}
            asset["custom_metadata"]["subject id"] = self.owner
        elif style == "bucket":
            empty = rng.choice(tuple(EMPTY_BUCKETS))
            asset["source_bucket"] = EMPTY_BUCKETS[empty]
            self.truth.oddities.add(empty)
        elif style == "internal":
            del asset["source_bucket"]
            self.truth.location = f"s3://{RESULTS_BUCKET}/{raw_id}"
        elif style == "moved":
            asset["source_bucket"]["bucket"] = "aind-open-data-prod-o5171v"
        elif style == "named raw_data":
            asset["name"] += "_raw_data"
        elif style == "newer one archived":
            newer = self._raw_asset(
                self.world.new_id("archived", self.id), self.registered + 7200, self.bucket, ""
            )
            self._add(newer | {"archived": True})
            self.truth.skipped[newer["id"]] = "archived"
        elif style == "two":
            older = self._raw_asset(
                self.world.new_id("older", self.id), self.registered - 7200, "aind-ephys-data", ""
            )
            self._add(older)
            self.truth.assets.add(older["id"])
        self._add(asset, oddity=self._odd())
        self.linked.append(raw_id)
        self.truth.raw_asset = raw_id
        self.truth.assets.add(raw_id)

    def _raw_asset(self, asset_id: str, created: int, bucket: str, style: str) -> Json:
        level: str | None = "raw data" if self.old and self.world.chance(0.5) else "raw"
        platform: str | None = self.platform
        if self.platform is None and self.world.chance(0.5):
            platform = "behavior"
        if style == "level derived":
            level = "derived"
        bare = style == "no metadata"
        known: Json = {
            "asset_id": asset_id,
            "created": created,
            "bucket": bucket,
            "subject": self.owner,
        }
        known |= {"platform": platform, "level": None if bare else level}
        asset = raw_asset(self.id, **known, tags=[] if bare else None)
        if style == "tag only":
            del asset["custom_metadata"]["data level"]
        elif style != "no metadata" and self.start.year == 2026 and self.world.chance(0.5):
            asset["custom_metadata"] = {"data level": level}
        return asset

    def _derived(self, count: int) -> None:
        created = self.registered
        names: list[str] = []
        for _ in range(count):
            created += self.world.rng.randrange(4_000, 2 * _DAY)
            if self.modalities[0] == "ecephys" and self.world.chance(0.5):
                self._sorted_asset(created)
            else:
                self._other_asset(created, names)

    def _result(self, name: str, created: int, **known: Any) -> tuple[Json, str]:
        asset_id = self.world.new_id("asset", name)
        external = "aind-open-data" if self.world.chance(0.2) else None
        inputs = [self.truth.raw_asset] if self.truth.raw_asset else []
        known |= {"subject": self.owner, "platform": self.platform, "created": created}
        known |= {"asset_id": asset_id, "inputs": inputs, "bucket": external}
        known["capsule"] = self.world.new_id("capsule", name)
        known["level"] = None if self.world.chance(0.15) else "derived"
        asset = result_asset(name, **known)
        return asset, f"s3://{external}/{name}" if external else f"s3://{RESULTS_BUCKET}/{asset_id}"

    def _fate(self, asset: Json, fates: Sequence[str]) -> str:
        """Decide whether a result can be read, add it, and record the truth."""
        fate = self.world.rng.choice(fates)
        if fate == "archived":
            asset["archived"] = True
            self.truth.skipped[asset["id"]] = fate
        elif fate in ("closed", "forbidden"):
            asset["_access"] = fate
            self.truth.listed_but_closed.add(asset["id"])
        else:
            self.truth.assets.add(asset["id"])
        self._add(asset, oddity=self._odd() if fate == "readable" else None)
        if fate != "readable":
            self.truth.oddities.add(f"{fate} result")
        return fate

    def _other_asset(self, created: int, names: list[str]) -> None:
        rng = self.world.rng
        label = rng.choice(_SPIM_LABELS if "SPIM" in self.modalities else _LABELS)
        name = f"{self.id}_{label}_{stamp(created)}"
        if names and self.world.chance(0.2):
            name = f"{names[-1]}_{label}_{stamp(created)}"
        names.append(name)
        asset, location = self._result(name, created)
        mistake = rng.choice(("", "", "", "raw tag", "raw level", "mention"))
        if mistake == "raw tag":
            asset["tags"].append("raw")
        elif mistake == "raw level":
            asset["custom_metadata"] = {"data level": "raw", "subject id": self.owner}
        elif mistake == "mention":
            asset["tags"].append(self.other)
            asset["description"] = f"Compared with {self.other}"
        if mistake:
            self.truth.oddities.add(f"result: {mistake}")
        # A session that is known by nothing else needs a result that a search finds.
        only = self.source == "derived only" and not self.truth.assets
        fates = ["readable"] * (1 if only else 7)
        fates += [] if only else ["archived", "closed", "forbidden"]
        if self._fate(asset, fates) == "readable" and self.generations and self.world.chance(0.4):
            self._record(name, location, created + 600, [asset["id"]], label)

    def _sorted_asset(self, created: int) -> None:
        rng = self.world.rng
        label = rng.choice(_SORTED)
        name = f"{self.id}_{label}_{stamp(created)}"
        if label == "sorted_curated":
            name = f"{self.id}_{label}" if self.world.chance(0.5) else name
        if name in self.sortings:
            return
        self.sortings.add(name)
        asset, location = self._result(name, created)
        if self._fate(asset, ["readable"] * 9 + ["archived"]) != "readable":
            return
        sorter = "kilosort4" if self.start.year > 2023 else "kilosort2_5"
        failure = rng.choice((*FAILURES, NO_STREAMS)) if self.world.chance(0.2) else None
        capsule = sorter == "kilosort2_5" and self.world.chance(0.4)
        if failure == NO_STREAMS or (capsule and failure is None):
            self.truth.oddities.add("sorting without " + ("streams" if failure else "nwb"))
        files = sorting_files(
            self.id,
            sorter,
            probes=("ProbeA", "50213-1"),
            era=rng.choice(("old", "v1", "nested", "v2", "none")),
            analyzer=sorter == "kilosort4",
            precurated=self.old and self.world.chance(0.5),
            capsule=capsule,
            failure=failure,
            created=created,
        )
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        for key, text in files.items():
            self.world.catalogue.add_object(bucket, f"{prefix}/{key}", text)
        self.truth.sorted_assets += (asset["id"],)
        if failure:
            self.truth.failed_sortings.add(asset["id"])
        else:
            self.truth.sorters[asset["id"]] = sorter

    # -- DocDB ---------------------------------------------------------------------------------

    def _linked_only(self) -> None:
        """Decide which assets are known by a record's link alone."""
        carried = self.links == "dict" or (self.links == "list" and "v1" in self.generations)
        if carried and self.world.chance(0.2):
            gone = self.world.new_id("gone", self.id)
            self.linked.insert(0, gone)
            self.truth.skipped[gone] = "gone"
        if carried and self.world.chance(0.12):
            fate = self.world.rng.choice(("closed", "forbidden"))
            self._renamed("kept back", lambda asset: asset.update(_access=fate, tags=[]), None)
            self.truth.skipped[self.linked[-1]] = fate
        if carried and self.world.chance(0.12):
            self._renamed("favourite", lambda asset: None, "derived")
            self.truth.assets.add(self.linked[-1])
            self.truth.oddities.add("linked asset with a name of its own")
        if "v2" in self.generations and self.world.chance(0.1):
            self._renamed("by place", lambda asset: None, "derived")
            asset_id = self.linked.pop()
            created = self.registered + 9 * _DAY
            name = f"{self.id}_processed_{stamp(created)}"
            location = f"s3://{RESULTS_BUCKET}/{asset_id}"
            self._record(name, location, created, [asset_id], "processed", ("v2",), "empty dict")
            self.truth.assets.add(asset_id)
            self.truth.oddities.add("asset known by a record's location")

    def _renamed(self, kind: str, change: Callable[[Json], None], level: str | None) -> None:
        asset_id = self.world.new_id(kind, self.id)
        created, capsule = self.registered + 5 * _DAY, self.world.new_id("capsule", kind)
        known: Json = {"asset_id": asset_id, "created": created, "capsule": capsule, "level": level}
        known |= {"subject": self.owner, "platform": self.platform}
        asset = result_asset(f"{kind} {asset_id[:4]}", **known)
        change(asset)
        self._add(asset)
        self.linked.append(asset_id)

    def _record(
        self,
        name: str,
        location: str,
        created: int,
        ids: Sequence[str],
        label: str,
        generations: Sequence[str] | None = None,
        shape: str | None = None,
        **cores: Any,
    ) -> None:
        derived: dict[str, Any] = {"source": self.id, "process": label} if label else {}
        for generation in generations or self.generations:
            write = old_links if generation == "v1" else new_links
            record = session_record(
                name,
                generation,
                self.mouse,
                self.modalities,
                location=location,
                created=created,
                links=write(ids, shape or self.links),
                record_id=self.world.new_id("record", generation, location),
                **derived,
                **cores,
            )
            if label and self.world.chance(0.1):
                record["data_description"]["data_level"] = "raw"
            self._mix(record, generation)
            self.world.catalogue.add_record(generation, record)
            self.truth.sources.add(generation)

    def _mix(self, record: Json, generation: str) -> None:
        """Add 2.x core files to some 1.x records, or both envelopes around one."""
        if generation == "v2" or not self.world.chance(0.2):
            return
        if self.world.chance(0.6):
            record["data_description"] = data_description(
                record["name"],
                self.mouse,
                self.modalities,
                "v2",
                SessionName(None, self.owner, self.start),
            )
            self.truth.oddities.add("2.x description in a 1.x record")
        else:
            record["subject"] = subject(self.mouse, "v2")
            record |= {"schema_version": "2.3.3", "other_identifiers": record["external_links"]}
            self.truth.oddities.add("both envelopes")

    def _records(self) -> None:
        cores: dict[str, Any] = {}
        genotype: str | None = self.mouse.genotype
        if len(self.generations) == 1 and self.world.chance(0.07):
            cores, genotype = {"subject": None}, None
            self.truth.oddities.add("no subject in the record")
        if self.links != "dict":
            self.truth.oddities.add(f"links: {self.links}")
        location = f"s3://{self.bucket}/{self.id}"
        self._record(self.id, location, self.registered + 900, self.linked, "", **cores)
        self.truth.recorded = True
        # A record that mixes both schemas may have a subject after all.
        if cores and any(
            r["name"] == self.id and r["subject"]
            for r in (*self.world.catalogue.docdb_v1, *self.world.catalogue.docdb_v2)
        ):
            genotype = self.mouse.genotype
        self.truth.genotype = genotype

    # -- S3 ------------------------------------------------------------------------------------

    def _folder(self, location: str) -> None:
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        generation = "v2" if self.generations == ("v2",) else "v1"
        keys = raw_keys(
            self.id, self.modalities, old_layout=self.old, generation=generation, suffixes=("-AP",)
        )
        for key, text in keys.items():
            self.world.catalogue.add_object(bucket, f"{prefix}/{key}", text)
        named = tables()["old_folders"] if self.old else {}
        self.truth.modalities = tuple(sorted(named.get(m, m) for m in self.modalities))
        self.truth.folder_exists = True
        self.truth.sources.add("s3")
