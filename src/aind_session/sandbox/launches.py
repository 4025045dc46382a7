"""Computations and assets that are made while the sandbox runs, how they progress, and their files.

Nothing follows the clock: what was launched advances by one state each time it is requested, or
when `Launches.advance` is called.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import urllib.parse
from collections.abc import Callable

from aind_session.sandbox.catalogue import OMIT, Catalogue, Json, fill, made_up_id
from aind_session.sandbox.fake_s3 import Index, content_of, size_of
from aind_session.sandbox.server import Request, Response
from aind_session.settings import RESULTS_BUCKET

STATES = ("initializing", "running", "finalizing", "completed")
USER = made_up_id("the sandbox's user")
#: It launches the pipeline with an asset attached; its parameters are [pipeline type, asset ID].
SORTING_CAPSULE = "eb5a26e4-a391-4d79-9da5-1ab65b71253f"
SORTING_PIPELINE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
KNOWN_CAPSULES = {
    SORTING_CAPSULE: "Trigger spike sorting",
    SORTING_PIPELINE: "Spike sorting",
    "9fe42995-ffff-40ff-9c4c-c8206b8aacb5": "IBL data converter",
    "567b5b98-8d41-413b-9375-9ca610ca2fd3": "IBL data converter monitor",
}
#: Where the default result of the spike sorting pipeline has a sorted stream.
_STREAM = "curated/experiment1_Record Node 104#Neuropix-PXI-100.ProbeA-AP_recording1/info.json"


class Launches:
    """What was launched, and how it progresses.

    Attributes
    ----------
    launched : list of dict
        Computations that clients started and data assets that they created, oldest first.
    launched_by_capsules : list of dict
        Computations that a launched capsule started in turn.
    outcome : str
        End status of completed computations: succeeded, failed or stopped.
    files : dict or None
        Result files of completed computations; by default those of a success: a log, a file and,
        from the spike sorting pipeline, a sorted stream.
    polls : int or None
        How many requests of a computation or a new asset it takes to its next state; None: only
        `advance` changes it.
    listings_until_visible : int
        Number of times a new asset's folder in S3 is listed before its files are visible.
    on_run : callable or None
        Called with each new computation.
    """

    def __init__(self, catalogue: Catalogue, index: Index) -> None:
        self.catalogue, self.index = catalogue, index
        self.launched: list[Json] = []
        self.launched_by_capsules: list[Json] = []
        self.outcome = "succeeded"
        self.files: dict[str, str] | None = None
        self.polls: int | None = 1
        self.listings_until_visible = 0
        self.on_run: Callable[[Json], None] | None = None
        self._lock = threading.RLock()
        self._polled: dict[str, int] = {}

    def advance(self, launched_id: str | None = None, steps: int = 1) -> None:
        """Advance what was launched by some states: all of it, or one thing by its ID."""
        with self._lock:
            chosen = [*self.launched, *self.launched_by_capsules]
            if launched_id is not None:
                known = (*self.catalogue.computations, *self.catalogue.data_assets)
                chosen = [entry for entry in known if entry["id"] == launched_id]
            for entry in chosen:
                for _ in range(steps):
                    self._step(entry)

    def poll(self, entry: Json) -> Json:
        """Return a launched thing when it is requested, in its next state if that is due."""
        with self._lock:
            launched = (*self.launched, *self.launched_by_capsules)
            if self.polls is not None and any(entry is one for one in launched):
                polled = self._polled.get(entry["id"], 0) + 1
                self._polled[entry["id"]] = polled
                if polled % max(1, self.polls) == 0:
                    self._step(entry)
            return dict(entry)

    def _step(self, entry: Json) -> None:
        if entry["state"] == "draft":
            entry["state"] = "ready"
        if entry["state"] not in STATES[:-1]:
            return
        entry["state"] = STATES[STATES.index(entry["state"]) + 1]
        entry["run_time"] += 60
        if entry["state"] == "completed":
            good = self.outcome == "succeeded"
            entry.update(end_status=self.outcome, exit_code=0 if good else 1)
            files = entry.get("_files") or self.files
            if files is None:
                is_sorting = entry.get("_capsule") == SORTING_PIPELINE
                files = {"output": "done\n", (_STREAM if is_sorting else "result.txt"): "done\n"}
            entry["_files"] = dict(files)
            entry["has_results"] = bool(entry["_files"])

    def run(self, capsule: str, body: Json) -> Json:
        """Launch a computation."""
        with self._lock:
            computation = self._launch(capsule, body, self.launched)
            values = body.get("parameters") or []
            if capsule == SORTING_CAPSULE and len(values) > 1:
                attached = [{"id": str(values[1]), "mount": str(values[1])}]
                pipeline = {"data_assets": attached}
                self._launch(SORTING_PIPELINE, pipeline, self.launched_by_capsules)
        return computation

    def _launch(self, capsule: str, body: Json, launched: list[Json]) -> Json:
        values = [{"name": "", "value": str(value)} for value in body.get("parameters") or ()]
        values += [
            {"param_name": p.get("param_name"), "value": str(p.get("value"))}
            for p in body.get("named_parameters") or ()
        ]
        names = [str(p.get("name")) for p in body.get("processes") or ()]
        optional = {
            "parameters": values,
            "data_assets": body.get("data_assets"),
            "processes": [{"name": name, "capsule_id": capsule} for name in names],
        }
        known: Json = {"name": f"Run {len(self.launched) + 1}", "capsule": capsule}
        known |= {key: value or OMIT for key, value in optional.items()}
        computation = self._made("launched_computation", f"run {capsule}", known)
        self.catalogue.computations.append(computation)
        launched.append(computation)
        if self.on_run is not None:
            self.on_run(computation)
        return computation

    def create_asset(self, body: Json, source: Json, computation: Json | None) -> Json:
        """Make a data asset in the state draft, from the body of a request that was checked."""
        with self._lock:
            known = {key: body[key] for key in ("name", "mount", "tags")}
            known["description"] = body.get("description") or ""
            known["custom_metadata"] = body.get("custom_metadata") or OMIT
            asset = self._made("created_asset", f"created {body['name']}", known)
            target = (body.get("target") or {}).get("aws")
            bucket, prefix = RESULTS_BUCKET, asset["id"]
            if target:
                prefix = (target.get("prefix") or asset["name"]).strip("/")
                bucket = target["bucket"]
                asset["source_bucket"] = _source_bucket(bucket, prefix, external=True)
            if computation is not None:
                self._take_results(asset, source, computation, bucket, prefix)
            elif source.get("aws"):
                self._take_from_bucket(asset, source["aws"])
            elif body.get("data_asset_ids"):
                asset["type"] = "combined"
                asset["contained_data_assets"] = [{"id": i} for i in body["data_asset_ids"]]
            if self.listings_until_visible:
                self.index.hide(bucket, f"{prefix}/", self.listings_until_visible)
            self.catalogue.data_assets.append(asset)
            self.launched.append(asset)
            return asset

    def _take_results(
        self, asset: Json, source: Json, computation: Json, bucket: str, prefix: str
    ) -> None:
        asset["type"] = "result"
        asset["provenance"] = {
            "capsule": computation.get("_capsule", ""),
            "computation": computation["id"],
            "data_assets": [a["id"] for a in computation.get("data_assets") or ()],
            "run_script": "code/run",
        }
        inner = str((source.get("computation") or {}).get("path") or "").strip("/")
        for path, text in (computation.get("_files") or {}).items():
            if not inner or path.startswith(inner + "/"):
                path = path[len(inner) :].lstrip("/")
                self.index.copy(as_object(path, text), bucket, f"{prefix}/{path}")

    def _take_from_bucket(self, asset: Json, source: Json) -> None:
        bucket, prefix = source["bucket"], str(source.get("prefix") or "").strip("/")
        external = bool(source.get("keep_on_external_storage"))
        asset["source_bucket"] = _source_bucket(bucket, prefix, external=external)
        for key, entry in self.index.under(bucket, f"{prefix}/" if prefix else ""):
            if not external:
                rest = key[len(prefix) :].lstrip("/")
                self.index.copy(entry, RESULTS_BUCKET, f"{asset['id']}/{rest}")

    def _made(self, kind: str, title: str, values: Json) -> Json:
        """Return a new computation or asset, newer than all others."""
        assets, computations = self.catalogue.data_assets, self.catalogue.computations
        number = len(computations if kind == "launched_computation" else assets)
        created = (int(entry.get("created") or 0) for entry in (*assets, *computations))
        now = 1 + max(created, default=1_700_000_000)
        known = {"id": made_up_id(f"{title} {number}"), "created": now, "owner": USER}
        return fill("codeocean", kind, {**known, **values})


def _source_bucket(bucket: str, prefix: str, *, external: bool) -> Json:
    return {"bucket": bucket, "prefix": prefix, "origin": "aws", "external": external}


def as_object(path: str, text: str | None) -> Json:
    """Make an S3 entry of a result file; an unrecorded one has a size only."""
    known = {"text": text} if text is not None else {} if path.endswith("/") else {"size": 1}
    return {"key": path, **known}


class ResultFiles:
    """Find files by root ("assets/<ID>" or "results/<ID>") and path, and serve presigned links.

    An asset's files are the objects of its folder in Code Ocean's bucket, or, if the catalogue has
    none of them, those of the computation that made it.

    Attributes
    ----------
    origin : str
        The URL that links begin with.
    """

    def __init__(self, catalogue: Catalogue, index: Index, secret: str, hint: str) -> None:
        self.catalogue, self.index, self.hint = catalogue, index, hint
        self.origin = ""
        self._secret = secret.encode()

    def _all(self, root: str) -> dict[str, Json]:
        kind, _, owner = root.partition("/")
        if kind == "results":
            return self._of_computation(owner)
        folder = f"{owner}/"
        files = {key[len(folder) :]: e for key, e in self.index.under(RESULTS_BUCKET, folder)}
        if files:
            return files
        for asset in self.catalogue.data_assets:
            if asset["id"] == owner:
                return self._of_computation((asset.get("provenance") or {}).get("computation"))
        return {}

    def _of_computation(self, computation_id: str | None) -> dict[str, Json]:
        return {
            path.lstrip("/"): as_object(path, text)
            for computation in self.catalogue.computations
            if computation["id"] == computation_id
            for path, text in (computation.get("_files") or {}).items()
        }

    def list_folder(self, root: str, path: str) -> list[Json] | None:
        """List a folder as the API does; None if it does not exist."""
        start = f"{path}/" if path else ""
        items: dict[str, Json] = {}
        for name, entry in sorted(self._all(root).items()):
            if not name.startswith(start) or name == start:
                continue
            first, slash, _ = name[len(start) :].partition("/")
            kind = {"type": "folder"} if slash else {"type": "file", "size": size_of(entry)}
            items[first] = {"name": first, "path": start + first, **kind}
        return list(items.values()) if items or not path else None

    def has(self, root: str, path: str) -> bool:
        """Whether there is a file."""
        return path in self._all(root)

    def link(self, root: str, path: str) -> str:
        """Make a link that needs no credentials."""
        place = f"/{root}/{path}"
        return f"{self.origin}{urllib.parse.quote(place)}?X-Amz-Signature={self._sign(place)}"

    def _sign(self, place: str) -> str:
        return hmac.new(self._secret, place.encode(), hashlib.sha256).hexdigest()

    def __call__(self, request: Request) -> Response:
        """Answer a request for a presigned link."""
        if "Authorization" in request.headers:
            # As S3 does: a signature in the link and one in a header are too many. So a token that
            # is sent here is noticed.
            return _plain(400, "InvalidArgument: only one auth mechanism allowed")
        place = request.path
        if not hmac.compare_digest(request.params.get("X-Amz-Signature", ""), self._sign(place)):
            return _plain(403, "SignatureDoesNotMatch")
        kind, owner, path = place.lstrip("/").split("/", 2)
        entry = self._all(f"{kind}/{owner}").get(path)
        if entry is None:
            return _plain(404, "NoSuchKey")
        content = content_of(entry)
        if content is None:
            return _plain(501, f"The content of {path} is not recorded. {self.hint}")
        return Response(200, content, {"Content-Type": "binary/octet-stream"})


def _plain(status: int, text: str) -> Response:
    return Response(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
