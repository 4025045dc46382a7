"""The files of data assets and computations: folders, presigned links, and where these lead."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections.abc import Iterator

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.s3_index import Index, content_of, size_of
from aind_session.sandbox.server import Answer, Asked
from aind_session.settings import RESULTS_BUCKET


def as_object(path: str, text: str | None) -> Json:
    """Make an S3 entry of a result file; one that is not recorded has a size only."""
    known = {"text": text} if text is not None else {} if path.endswith("/") else {"size": 1}
    return {"key": path, **known}


class Files:
    """Find files by root ("assets/<ID>" or "results/<ID>") and path.

    An asset's files are the objects of its folder in Code Ocean's bucket; where the catalogue has
    none of them, those of the computation that it was made from.

    Attributes
    ----------
    origin : str
        Where links lead.
    """

    def __init__(self, catalogue: Catalogue, index: Index, secret: str, hint: str) -> None:
        self.catalogue, self.index, self.hint = catalogue, index, hint
        self.origin = ""
        self._secret = secret.encode()

    def _all(self, root: str) -> dict[str, Json]:
        kind, _, owner = root.partition("/")
        if kind == "results":
            return dict(self._of_computation(owner))
        folder = f"{owner}/"
        files = {
            key[len(folder) :]: entry for key, entry in self.index.under(RESULTS_BUCKET, folder)
        }
        if files:
            return files
        for asset in self.catalogue.data_assets:
            if asset["id"] == owner:
                computation = (asset.get("provenance") or {}).get("computation")
                return dict(self._of_computation(computation))
        return {}

    def _of_computation(self, computation_id: str | None) -> Iterator[tuple[str, Json]]:
        for computation in self.catalogue.computations:
            if computation["id"] == computation_id:
                for path, text in (computation.get("_files") or {}).items():
                    yield path.lstrip("/"), as_object(path, text)

    def list_folder(self, root: str, path: str) -> list[Json] | None:
        """List a folder as the API does; None where there is no such folder."""
        files = self._all(root)
        start = f"{path}/" if path else ""
        items: dict[str, Json] = {}
        for name, entry in sorted(files.items()):
            if not name.startswith(start) or name == start:
                continue
            first, slash, _ = name[len(start) :].partition("/")
            item: Json = {"name": first, "path": start + first, "type": "folder"}
            if not slash:
                item.update(type="file", size=size_of(entry))
            items[first] = item
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

    def serve(self, asked: Asked) -> Answer:
        """Answer a request for a presigned link."""
        if "Authorization" in asked.headers:
            # As S3 does: a signature in the link and a header are one mechanism too many.
            return _plain(400, "InvalidArgument: only one auth mechanism allowed")
        place = urllib.parse.unquote(asked.path)
        if not hmac.compare_digest(asked.params.get("X-Amz-Signature", ""), self._sign(place)):
            return _plain(403, "SignatureDoesNotMatch")
        kind, owner, path = place.lstrip("/").split("/", 2)
        entry = self._all(f"{kind}/{owner}").get(path)
        if entry is None:
            return _plain(404, "NoSuchKey")
        content = content_of(entry)
        if content is None:
            return _plain(501, f"The content of {path} is not recorded. {self.hint}")
        headers = {"Content-Type": "binary/octet-stream"}
        if asked.method == "HEAD":
            return Answer(200, b"", headers, length=len(content))
        return Answer(200, content, headers)


def _plain(status: int, text: str) -> Answer:
    return Answer(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
