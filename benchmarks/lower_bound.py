"""The lower bound: the same answers by hand, with `requests` and `json`, in the fewest rounds.

No retries, no cache, no check of any answer; each script knows beforehand which requests it needs.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import requests

README_SESSION = "ecephys_676909_2023-12-13_13-43-40"
RESULTS_BUCKET = "codeocean-s3datasetsbucket-1u41qdg42ur9"
PROJECTION = {
    "name": 1,
    "location": 1,
    "external_links": 1,
    "subject.subject_id": 1,
    "subject.genotype": 1,
    "data_description.project_name": 1,
    "data_description.modality": 1,
    "session.session_type": 1,
}

Call = Callable[[], Any]


class Services:
    """One session of `requests` and the URLs of the three services."""

    def __init__(self) -> None:
        self.session = requests.Session()
        # Read from the environment once, not for each request.
        self.session.verify = os.environ.get("REQUESTS_CA_BUNDLE", True)
        self.session.trust_env = False
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=32)
        self.session.mount("https://", adapter)
        self.code_ocean = f"{os.environ['CODE_OCEAN_DOMAIN']}/api/v1/data_assets/search"
        self.token = os.environ["CODE_OCEAN_API_TOKEN"]
        host = os.environ["AIND_SESSION_DOCDB_HOST"]
        self.docdb = host if "://" in host else f"https://{host}"
        self.s3 = os.environ["AWS_ENDPOINT_URL_S3"]
        self.threads = ThreadPoolExecutor(32)

    def together(self, *calls: Call) -> list[Any]:
        """Make calls at the same time: one round."""
        return [future.result() for future in [self.threads.submit(call) for call in calls]]

    def search(self, **body: Any) -> list[dict[str, Any]]:
        """Search data assets, page by page."""
        found: list[dict[str, Any]] = []
        body |= {"limit": 1000, "archived": False}
        while True:
            response = self.session.post(self.code_ocean, json=body, auth=(self.token, ""))
            page = json.loads(response.content)
            found += page["results"]
            if not page["has_more"]:
                return found
            body["next_token"] = page["next_token"]

    def records(self, schema: str, match: dict[str, Any], whole: bool = False) -> Any:
        """Read the records that match a filter."""
        url = f"{self.docdb}/{schema}/metadata_index/data_assets/aggregate"
        pipeline = [{"$match": match}, *([] if whole else [{"$project": PROJECTION}])]
        return json.loads(self.session.post(url, json=pipeline).content)

    def list_folder(self, bucket: str, prefix: str) -> list[str]:
        """List the folders and files in a folder."""
        body = self._get(f"/{bucket}", f"delimiter=%2F&list-type=2&prefix={quote(prefix, '')}")
        return re.findall("<(?:Prefix|Key)>([^<]*)</", body.decode())

    def read(self, bucket: str, key: str) -> bytes:
        """Read a file."""
        return self._get(f"/{bucket}/{quote(key)}", "")

    def _get(self, path: str, query: str) -> bytes:
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        region = os.environ.get("AWS_DEFAULT_REGION", "us-west-2")
        scope = f"{now[:8]}/{region}/s3/aws4_request"
        signed = {
            "host": urlsplit(self.s3).netloc,
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            "x-amz-date": now,
        }
        names = ";".join(signed)
        lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
        canonical = f"GET\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
        text = "\n".join(
            ("AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest())
        )
        key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
        headers = {
            **signed,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, "
            f"SignedHeaders={names}, Signature={signature}",
        }
        url = f"{self.s3}{path}" + (f"?{query}" if query else "")
        return self.session.get(url, headers=headers).content


def _subject_of(name: str) -> str:
    return name.split("_")[1]


def _of_subjects(services: Services, subject_ids: Sequence[str]) -> list[Call]:
    """Return the requests for the assets and records of some subjects."""
    by_subject = {"subject.subject_id": {"$in": list(subject_ids)}}
    field = {"key": "subject id", "values": list(subject_ids)}
    return [
        lambda: services.search(filters=[field]),
        lambda: services.records("v1", by_subject),
        lambda: services.records("v2", by_subject),
        *(lambda s=s: services.search(query=s) for s in subject_ids),
    ]


def readme(_: list[str]) -> object:
    """Read what the README shows, in two rounds."""
    services = Services()
    *_, assets, record, _, listing = services.together(
        *_of_subjects(services, [_subject_of(README_SESSION)]),
        lambda: services.records("v1", {"name": README_SESSION}, whole=True),
        lambda: services.records("v2", {"name": README_SESSION}, whole=True),
        lambda: services.list_folder("aind-ephys-data", f"{README_SESSION}/"),
    )
    own = [asset for asset in assets if README_SESSION in asset["name"]]
    results = [asset["id"] for asset in own if "_sorted" in asset["name"]]
    files = services.together(
        *(lambda i=i: services.list_folder(RESULTS_BUCKET, f"{i}/") for i in results),
        *(lambda i=i: services.read(RESULTS_BUCKET, f"{i}/output") for i in results),
    )
    return own, record[0]["subject"]["genotype"], listing, files


def five_attributes(session_ids: list[str]) -> object:
    """Read five attributes of sessions, in two rounds."""
    services = Services()
    subject_ids = sorted({_subject_of(session_id) for session_id in session_ids})
    _, records, _, *searches = services.together(*_of_subjects(services, subject_ids))
    location = {record["name"]: record["location"] for record in records}
    names = [asset["name"] for found in searches for asset in found]
    folders = [
        location[session_id].removeprefix("s3://").split("/", 1) for session_id in session_ids
    ]
    listings = services.together(
        *(lambda b=bucket, p=prefix: services.list_folder(b, f"{p}/") for bucket, prefix in folders)
    )
    counts = [sum(name.startswith(session_id) for name in names) for session_id in session_ids]
    return folders, listings, counts


def cohort(subject_ids: list[str]) -> object:
    """Read folder, record and assets of each session of some subjects, in two rounds."""
    services = Services()
    _, records, _, *searches = services.together(*_of_subjects(services, subject_ids))
    names = [record["name"] for record in records]
    parts = [names[i : i + 50] for i in range(0, len(names), 50)]
    whole = services.together(
        *(
            lambda s=s, p=p: services.records(s, {"name": {"$in": p}}, whole=True)
            for p in parts
            for s in ("v1", "v2")
        )
    )
    return searches, whole


def many_assets(subject_ids: list[str]) -> object:
    """List every asset of one subject."""
    services = Services()
    return services.together(*_of_subjects(services, subject_ids))


def table(subject_ids: list[str]) -> object:
    """Read a few fields of the records of some subjects, and make a table."""
    import pandas as pd

    services = Services()
    parts = [subject_ids[i : i + 100] for i in range(0, len(subject_ids), 100)]
    found = services.together(
        *(
            lambda s=s, p=p: services.records(s, {"subject.subject_id": {"$in": p}})
            for p in parts
            for s in ("v1", "v2")
        )
    )
    return _as_table(pd, found)


def table_of_all(_: list[str]) -> object:
    """Read a few fields of every record, and make a table."""
    import pandas as pd

    services = Services()
    found = services.together(*(lambda s=s: services.records(s, {}) for s in ("v1", "v2")))
    return _as_table(pd, found)


def _as_table(pd: Any, found: list[list[dict[str, Any]]]) -> object:
    rows = [
        {
            "id": record["name"],
            "subject": record["subject"]["subject_id"],
            "genotype": record["subject"]["genotype"],
            "project": record["data_description"]["project_name"],
            "location": record["location"],
        }
        for some in found
        for record in some
    ]
    return pd.DataFrame(rows).shape[0]
