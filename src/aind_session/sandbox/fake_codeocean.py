"""A fake of Code Ocean's API that answers from a catalogue: `/api/v1/...`.

Presigned links lead to `ResultFiles` at another origin, which refuses requests with credentials.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

from aind_session.sandbox import asset_search
from aind_session.sandbox.catalogue import Catalogue, Json, fill, number_of
from aind_session.sandbox.faults import Refused, json_response
from aind_session.sandbox.launches import KNOWN_CAPSULES, USER, Launches, ResultFiles
from aind_session.sandbox.server import Request, Response

#: Of a server whose `server_version` is not set: newer than any that an SDK requires.
NEWEST_VERSION = "99.0.0"
_CLOSED = {
    "closed": (401, "unauthorized"),
    "forbidden": (403, "no permission"),
    "gone": (404, "data asset not found"),
}


class FakeCodeOcean:
    """The data assets, computations and capsules of a catalogue.

    Attributes
    ----------
    duplicates : int
        How many assets of each page of a search are repeated.
    server_version : str
        The server's version; requests whose `Min-Server-Version` is higher are refused.
    """

    def __init__(
        self, catalogue: Catalogue, files: ResultFiles, launches: Launches, token: str, hint: str
    ) -> None:
        self.catalogue, self.files, self.launches = catalogue, files, launches
        self.token, self.hint = token, hint
        self.duplicates = 0
        self.server_version = ""

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        try:
            self._check_version(request.headers.get("Min-Server-Version"))
            self._check_token(request)
            value = self._route(request)
        except Refused as refused:
            return json_response(refused.status, {"message": refused.message})
        return Response(204) if value is None else json_response(200, value)

    def _check_version(self, wanted: str | None) -> None:
        own = self.server_version or NEWEST_VERSION
        if wanted and _version(wanted) > _version(own):
            message = f"the server's version {own} is lower than the minimum version {wanted}"
            raise Refused(400, f"{message} that the client requires")

    def _check_token(self, request: Request) -> None:
        scheme, _, coded = request.headers.get("Authorization", "").partition(" ")
        try:
            user = base64.b64decode(coded).decode().partition(":")[0]
        except ValueError:
            user = ""
        if scheme.lower() != "basic" or user != self.token:
            raise Refused(401, "unauthorized: the token is missing or not valid")

    def _route(self, request: Request) -> Any:
        path = request.raw_path.removeprefix("/api/v1").strip("/")
        for methods, pattern, name in _ROUTES:
            match = re.fullmatch(pattern.replace("ID", "([^/]+)"), path)
            if match and request.method in methods.split("|"):
                call: Callable[..., Any] = getattr(self, name)
                return call(request, *map(urllib.parse.unquote, match.groups()))
        raise Refused(404, f"there is no {request.method} {request.path}. {self.hint}")

    # Data assets and computations

    def _entry(self, kind: str, entry_id: str) -> Json:
        return self._asset(entry_id) if kind == "data_assets" else self._computation(entry_id)

    def _get(self, request: Request, kind: str, entry_id: str) -> Json:
        return _public(self.launches.poll(self._entry(kind, entry_id)))

    def _delete(self, request: Request, kind: str, entry_id: str) -> None:
        gone, entries = self._entry(kind, entry_id), getattr(self.catalogue, kind)
        entries[:] = [other for other in entries if other is not gone]

    def _root(self, kind: str, entry_id: str) -> str:
        """Return where the files of an asset or of a computation lie."""
        entry = self._entry(kind, entry_id)
        if kind == "computations":
            return f"results/{entry_id}"
        if asset_search.is_external(entry):
            raise Refused(400, "files can be listed for internal data assets only")
        if entry.get("state") == "draft":
            raise Refused(400, "the data asset is not ready")
        return f"assets/{entry_id}"

    def _list_files(self, request: Request, kind: str, entry_id: str) -> Json:
        params = _body(request) if request.method == "POST" else request.params
        path = str(params.get("path") or "").strip("/")
        items = self.files.list_folder(self._root(kind, entry_id), path)
        if items is None:
            raise Refused(404, f"path {path!r} not found")
        return {"items": items}

    def _file_urls(self, request: Request, kind: str, entry_id: str, verb: str) -> Json:
        root, path = self._root(kind, entry_id), request.params.get("path", "").strip("/")
        if not path:
            raise Refused(400, "path is required")
        if not self.files.has(root, path):
            raise Refused(404, f"file {path!r} not found")
        url = self.files.link(root, path)
        return {"url": url} if verb == "download_url" else {"download_url": url, "view_url": url}

    # Data assets

    def _search_assets(self, request: Request) -> Json:
        body = _body(request)
        listed = [asset for asset in self.catalogue.data_assets if not asset.get("_unlisted")]
        found = asset_search.search(listed, body, USER)
        limit = asset_search.limit_of(body)
        token, offset = body.get("next_token"), body.get("offset") or 0
        start = _open_token(token) if token else offset
        if not isinstance(start, int) or start < 0:
            raise Refused(400, f"offset: {start!r} is not a number")
        end = start + limit
        results = [_public(asset) for asset in found[start:end]]
        more = {"next_token": _make_token(end)} if end < len(found) else {}
        repeated = results[: self.duplicates]
        return {"has_more": bool(more), **more, "results": results + repeated}

    def _asset(self, asset_id: str) -> Json:
        asset = _find(self.catalogue.data_assets, "data asset", asset_id, self.hint)
        if asset.get("_access") in _CLOSED:
            raise Refused(*_CLOSED[asset["_access"]])
        return asset

    def _create_asset(self, request: Request) -> Json:
        body = _body(request)
        for key, kind in (("name", str), ("tags", list), ("mount", str)):
            if not isinstance(body.get(key), kind) or (kind is str and not body[key]):
                raise Refused(400, f"{key} is required")
        source = {k: v for k, v in (body.get("source") or {}).items() if v}
        if source.keys() - {"aws", "computation"}:
            raise Refused(400, f"source {', '.join(source)}: {self.hint}")
        if not source and not body.get("data_asset_ids"):
            raise Refused(400, "source is required")
        computation = None
        if source.get("computation"):
            computation = self._computation(str(source["computation"].get("id")))
            if computation["state"] != "completed":
                raise Refused(400, f"the computation is {computation['state']}, not completed")
        elif source.get("aws") and source["aws"].get("bucket") not in self.catalogue.buckets:
            raise Refused(400, f"bucket {source['aws'].get('bucket')} not found. {self.hint}")
        for asset_id in body.get("data_asset_ids") or ():
            self._asset(asset_id)
        return _public(self.launches.create_asset(body, source, computation))

    def _update_asset(self, request: Request, asset_id: str) -> Json:
        asset, body = self._asset(asset_id), _body(request)
        for key in ("name", "description", "tags", "mount", "custom_metadata"):
            if body.get(key) is not None:
                asset[key] = body[key]
        return _public(asset)

    def _archive_asset(self, request: Request, asset_id: str) -> None:
        self._asset(asset_id)["archived"] = request.params.get("archive", "").lower() == "true"

    def _asset_permissions(self, request: Request, asset_id: str) -> Json | None:
        asset = self._asset(asset_id)
        if request.method == "GET":
            return asset.get("_permissions") or {"everyone": "viewer"}
        asset["_permissions"] = _body(request)
        return None

    # Computations

    def _computation(self, computation_id: str) -> Json:
        return _find(self.catalogue.computations, "computation", computation_id, self.hint)

    def _run(self, request: Request) -> Json:
        body = _body(request)
        named = [body[key] for key in ("capsule_id", "pipeline_id") if body.get(key)]
        if len(named) != 1:
            raise Refused(400, "either capsule_id or pipeline_id is required")
        self._capsule(named[0])
        for each in body.get("data_assets") or ():
            self._asset(str(each.get("id")))
        return _public(self.launches.run(named[0], body))

    def _rename_computation(self, request: Request, computation_id: str) -> None:
        self._computation(computation_id)["name"] = request.params.get("name", "")

    def _attach_to_computation(self, request: Request, computation_id: str) -> list[Json]:
        computation, attached = self._computation(computation_id), self._attached(request)
        known = computation.setdefault("data_assets", [])
        known += [{"id": one["id"], "mount": one["mount"]} for one in attached]
        return attached

    # Capsules and pipelines

    def _capsule(self, capsule_id: str) -> Json:
        known = self.catalogue.capsules.get(capsule_id)
        used = any(c.get("_capsule") == capsule_id for c in self.catalogue.computations)
        if known is None and not used and capsule_id not in KNOWN_CAPSULES:
            raise Refused(404, f"capsule {capsule_id} not found. {self.hint}")
        name = KNOWN_CAPSULES.get(capsule_id, "Capsule")
        values = {"id": capsule_id, "name": name, "owner": USER, "slug": capsule_id[:7]}
        return {**fill("codeocean", "capsule", values), **(known or {})}

    def _get_capsule(self, request: Request, capsule_id: str) -> Json:
        return self._capsule(capsule_id)

    def _list_computations(self, request: Request, capsule_id: str) -> list[Json]:
        self._capsule(capsule_id)
        listed = [c for c in self.catalogue.computations if c.get("_capsule") == capsule_id]
        return [_public(c) for c in sorted(listed, key=number_of, reverse=True)]

    def _search_capsules(self, request: Request) -> Json:
        body = _body(request)
        fields, words = asset_search.parse_query(str(body.get("query") or ""))
        wanted = [*fields.get("name", ()), *words]
        used = {c["_capsule"] for c in self.catalogue.computations if c.get("_capsule")}
        known = [self._capsule(i) for i in sorted({*self.catalogue.capsules, *used})]
        found = [c for c in known if all(word in str(c["name"]).lower() for word in wanted)]
        return {"has_more": False, "results": found}

    def _attach_to_capsule(self, request: Request, capsule_id: str) -> list[Json]:
        self._capsule(capsule_id)
        return self._attached(request)

    def _attached(self, request: Request) -> list[Json]:
        wanted = _json(request)
        if not isinstance(wanted, list):
            raise Refused(400, "the body is not a list")
        attached = []
        for each in wanted:
            asset = self._asset(str(each.get("id")))
            mount = each.get("mount") or asset.get("mount")
            state = {"external": asset_search.is_external(asset), "ready": True}
            attached.append({"id": asset["id"], "mount": mount, **state})
        return attached

    def _detach(self, request: Request, kind: str, owner_id: str) -> None:
        if kind == "computations":
            computation, gone = self._computation(owner_id), set(_json(request))
            known = computation.get("data_assets") or []
            computation["data_assets"] = [a for a in known if a["id"] not in gone]

    def _custom_metadata(self, request: Request) -> Json:
        names = {key for a in self.catalogue.data_assets for key in a.get("custom_metadata") or ()}
        return {"fields": [{"name": name, "type": "string"} for name in sorted(names)]}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


_ROUTES = (
    ("POST", "data_assets/search", "_search_assets"),
    ("POST", "data_assets", "_create_asset"),
    ("PUT", "data_assets/ID", "_update_asset"),
    ("PATCH", "data_assets/ID/archive", "_archive_asset"),
    ("GET|POST", "data_assets/ID/permissions", "_asset_permissions"),
    ("GET", "(data_assets|computations)/ID", "_get"),
    ("DELETE", "(data_assets|computations)/ID", "_delete"),
    ("GET|POST", "(data_assets)/ID/files", "_list_files"),
    ("GET|POST", "(computations)/ID/results", "_list_files"),
    ("GET", "(data_assets)/ID/files/(download_url|urls)", "_file_urls"),
    ("GET", "(computations)/ID/results/(download_url|urls)", "_file_urls"),
    ("POST", "computations", "_run"),
    ("PATCH", "computations/ID", "_rename_computation"),
    ("POST", "computations/ID/data_assets", "_attach_to_computation"),
    ("DELETE", "(computations|capsules|pipelines)/ID/data_assets", "_detach"),
    ("POST", "(?:capsules|pipelines)/search", "_search_capsules"),
    ("GET", "(?:capsules|pipelines)/ID", "_get_capsule"),
    ("GET", "(?:capsules|pipelines)/ID/computations", "_list_computations"),
    ("POST", "(?:capsules|pipelines)/ID/data_assets", "_attach_to_capsule"),
    ("GET", "custom_metadata", "_custom_metadata"),
)


def _find(entries: list[Json], kind: str, wanted: str, hint: str) -> Json:
    for entry in entries:
        if entry["id"] == wanted:
            return entry
    raise Refused(404, f"{kind} {wanted} not found. {hint}")


def _public(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if not key.startswith("_")}


def _json(request: Request) -> Any:
    try:
        return json.loads(request.body or b"{}")
    except ValueError:
        raise Refused(400, "the body is not JSON") from None


def _body(request: Request) -> Json:
    body = _json(request)
    if not isinstance(body, dict):
        raise Refused(400, "the body is not an object")
    return {key: value for key, value in body.items() if value is not None}


def _make_token(start: int) -> str:
    check = hashlib.sha256(f"page {start}".encode()).hexdigest()[:8]
    return base64.urlsafe_b64encode(f"{start}:{check}".encode()).decode()


def _open_token(token: Any) -> int:
    try:
        start = int(base64.urlsafe_b64decode(str(token)).partition(b":")[0])
    except ValueError:
        start = -1
    if start < 0 or _make_token(start) != token:
        raise Refused(400, "next_token is not valid")
    return start
