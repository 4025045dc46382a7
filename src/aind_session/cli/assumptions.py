"""What the code assumes about the services: one function per assumption.

The docstring is the assumption; the decorator names its source, the function that depends on it,
and the constants to correct if it is wrong. The function only reads, and what it returns contains
no names, IDs or values from the services. `ASSUMPTIONS` is the table of all.
"""

# The first lines of the docstrings are statements.
# ruff: noqa: D401

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from operator import attrgetter
from typing import Any

from aind_session import settings
from aind_session.cli.doctor import SKEW_NOTED
from aind_session.cli.selfcheck import Assumption, NotChecked, NotSeen, Seen, Traffic, assumes
from aind_session.errors import ServiceError
from aind_session.lookup import results
from aind_session.services import codeocean, docdb, http, s3
from aind_session.services.assets import NAME_QUERY_LENGTH
from aind_session.services.codeocean import PROBE, SERVICE, request
from aind_session.services.metadata import RECORDS_PER_REQUEST, SCHEMAS
from aind_session.services.sdk import OLDEST_SERVERS, SERVER_HEADER, CodeOceanError
from aind_session.session import Session

#: Public facts of the README's sessions.
SESSION, RAW_ID = "ecephys_676909_2023-12-13_13-43-40", "16d46411-540a-4122-b47f-8cb2a15d593a"
SUBJECTS = ("676909", "668759")
RESULT, RESULT_ID = f"{SESSION}_sorted_2023-12-17", "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
RECORDS: Mapping[str, str] = {"v1": SESSION, "v2": "828418_2026-02-13_18-31-13"}
MODALITIES = ("behavior", "behavior_videos", "ecephys")
#: Its name, its tags and its custom metadata each contain a word that the others do not.
EXAMPLE = "Example T1 and T2 MRI Images"
EXAMPLE_WORDS = {"name": "Images", "tag": "demo", "metadata": "668759"}
BUCKETS = {
    **dict.fromkeys(("aind-open-data", "aind-ephys-data"), "public"),
    **dict.fromkeys(("aind-private-data-prod-o5171v", settings.RESULTS_BUCKET), "private"),
    settings.SCRATCH_BUCKET: "private",
}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
OLDEST, TOO_NEW = ".".join(map(str, min(OLDEST_SERVERS.values()))), "999.0.0"
#: An answer is shortened by whole records, and so to less than the limit.
MAX_ANSWER_BYTES, NEAR_BYTES = 10_000_000, 8_000_000
MAX_CLOSED_TRIED = 3


# -- Code Ocean ------------------------------------------------------------------------------------


def _search(**body: Any) -> dict[str, Any]:
    answer = request("POST", PROBE, json={"limit": codeocean.PAGE_SIZE, "archived": False, **body})
    found: dict[str, Any] = answer.json()
    return found


def _names(**body: Any) -> list[str]:
    return [str(asset.get("name")) for asset in _search(**body)["results"]]


def _status(send: Callable[[], Any]) -> int:
    """Return the status of a response, whether it is an error or not."""
    try:
        status = int(send().status_code)
    except ServiceError as error:
        if error.status is None:
            raise
        status = error.status
    if status >= 500:
        raise NotChecked(f"status {status}")
    return status


def _with_version(version: str) -> Any:
    return request("POST", PROBE, json={"limit": 1}, headers={SERVER_HEADER: version})


@assumes("codeocean", "SDK pull request 50", "sdk.version_advice")
def server_version(traffic: Traffic) -> Seen:
    """A server refuses a newer `Min-Server-Version` than its own with status 400."""
    try:
        _with_version(TOO_NEW)
    except CodeOceanError as error:
        if error.status_code != 400:
            raise
        versions = set(re.findall(r"\b\d+\.\d+\.\d+\b", error.message)) - {TOO_NEW}
        return True, f"status 400; the message has the version {min(versions, default='?')}"
    return False, "accepted: the header has no effect"


@assumes("codeocean", "SDK changelog", "sdk.Client", OLDEST_SERVERS=OLDEST)
def oldest_server(traffic: Traffic) -> Seen:
    """The server is not older than {OLDEST_SERVERS}."""
    status = _status(lambda: _with_version(OLDEST))
    return status == 200, f"status {status} for {OLDEST}"


@assumes("codeocean", "Code Ocean docs", "codeocean.search_assets", PAGE_SIZE=codeocean.PAGE_SIZE)
def page_size(traffic: Traffic) -> Seen:
    """A page of a search holds up to {PAGE_SIZE} assets."""
    page = _search(sort_field="created", sort_order="desc")
    count, more = len(page["results"]), bool(page.get("has_more"))
    if count < codeocean.PAGE_SIZE and not more:
        raise NotSeen(f"the token sees only {count} assets")
    return count == codeocean.PAGE_SIZE, f"{count} assets, has_more is {more}"


@assumes("codeocean", "SDK changelog, 0.3.0", "codeocean.search_assets")
def next_token(traffic: Traffic) -> Seen:
    """A search with more results returns `next_token`, which leads to the next page."""
    first = _search(limit=1)
    token = first.get("next_token")
    if not first.get("has_more"):
        raise NotChecked("the token sees one asset at most")
    if not token:
        return False, "has_more without a next_token"
    second = _search(limit=1, next_token=token)
    other = [a["id"] for a in first["results"]] != [a["id"] for a in second["results"]]
    what = "another" if other else "the same"
    return other, f"next_token is a {type(token).__name__} and leads to {what} asset"


@assumes(
    "codeocean",
    "seen in October 2024",
    "assets.assets_named",
    each=(20, 21, 40),
    NAME_QUERY_LENGTH=NAME_QUERY_LENGTH,
)
def name_query(length: int, traffic: Traffic) -> Seen:
    """A `name:` query finds assets up to {NAME_QUERY_LENGTH} characters, none beyond ({each})."""
    found = _names(query=f"name:{RESULT[:length]}")
    count = sum(name.startswith(RESULT[:length]) for name in found)
    return bool(found) == (length <= NAME_QUERY_LENGTH), f"{count} assets with that name found"


@assumes("codeocean", "SDK docstring", "assets.assets_named_after")
def same_field_twice(traffic: Traffic) -> Seen:
    """The same field twice in a query means "or"."""
    found = _names(query=" ".join(f"name:{subject}" for subject in SUBJECTS))
    counts = [sum(subject in name for name in found) for subject in SUBJECTS]
    return all(counts), f"assets of each value: {counts}"


@assumes(
    "codeocean", "Code Ocean docs", "assets.assets_mentioning", each=("name", "tag", "metadata")
)
def free_text(where: str, traffic: Traffic) -> Seen:
    """Free text finds assets by their {each}."""
    page = _search(query=EXAMPLE_WORDS[where])
    is_found = any(asset.get("name") == EXAMPLE for asset in page["results"])
    if not is_found and page.get("has_more"):
        raise NotChecked("the word occurs in more assets than a page holds")
    return is_found, f"the example is {'' if is_found else 'not '}found"


@assumes("codeocean", "Code Ocean docs", "assets.assets_of_subject", each=("value", "values"))
def subject_filter(kind: str, traffic: Traffic) -> Seen:
    """A filter on `subject id` with `{each}` finds the assets with that field, and no others."""
    wanted = SUBJECTS if kind == "values" else SUBJECTS[:1]
    value = list(wanted) if kind == "values" else wanted[0]
    page = _search(filters=[{"key": "subject id", kind: value}])
    fields = [str((a.get("custom_metadata") or {}).get("subject id")) for a in page["results"]]
    others = sum(field not in wanted for field in fields)
    counts = [fields.count(value) for value in wanted]
    return all(counts) and not others, f"assets of each value: {counts}, others: {others}"


@assumes("codeocean", "unknown", "codeocean.search_assets")
def archived(traffic: Traffic) -> Seen:
    """`archived: false` leaves archived assets out."""
    archived = {a["id"]: str(a.get("name")) for a in _search(archived=True, limit=1)["results"]}
    if not archived:
        raise NotChecked("the token sees no archived asset")
    name = next(iter(archived.values()))
    found = _search(query=f"name:{name[:NAME_QUERY_LENGTH].split(' ')[0]}")["results"]
    shown = sum(asset["id"] in archived for asset in found)
    return not shown, f"an archived asset is {'' if shown else 'not '}among the {len(found)} found"


@assumes("codeocean", "Code Ocean docs", "sdk.Client")
def no_token(traffic: Traffic) -> Seen:
    """A request without a token is answered with status 401."""
    now = settings.current()
    url = f"{now.domain.value}/api/v1/{PROBE}"
    with http.bare_session(http.Transport(SERVICE, timeout=now.timeout.value)) as bare:
        status = _status(lambda: bare.post(url, json={"limit": 1}))
    return status == 401, f"status {status}"


@assumes("codeocean", "Code Ocean docs", "codeocean.get_asset")
def unknown_asset(traffic: Traffic) -> Seen:
    """An ID that does not exist is answered with status 404."""
    status = _status(lambda: request("GET", f"data_assets/{UNKNOWN_ID}"))
    return status == 404, f"status {status}"


@assumes("codeocean", "working knowledge", "assets.linked_asset")
def closed_asset(traffic: Traffic) -> Seen:
    """An asset that the token may not read is answered with status 401 or 403."""
    path = "external_links.Code Ocean"
    records = _records("v1", "aggregate", [{"$sort": {"_id": 1}}, {"$project": {path: 1}}], 200)
    linked = [i for r in records for i in _linked(r.get("external_links"))]
    found = {asset["id"] for asset in _search(sort_field="created", sort_order="asc")["results"]}
    tried = [asset_id for asset_id in linked if asset_id not in found][:MAX_CLOSED_TRIED]
    statuses = [_status(partial(request, "GET", f"data_assets/{asset_id}")) for asset_id in tried]
    refused = [status for status in statuses if status not in (200, 404)]
    if not refused:
        raise NotChecked(f"no closed asset is known; those tried answered {statuses}")
    return set(refused) <= {401, 403}, f"statuses {statuses} for assets that a search did not find"


def _linked(links: Any) -> list[str]:
    ids = links.get("Code Ocean") if isinstance(links, dict) else None
    return [i for i in ids if isinstance(i, str)] if isinstance(ids, list) else []


@assumes("codeocean", "AWS docs", "s3_account.sign", SKEW_NOTED=SKEW_NOTED)
def clock(traffic: Traffic) -> Seen:
    """The clocks of this machine and Code Ocean differ by less than {SKEW_NOTED:.0f} s."""
    began = time.time()
    date = request("POST", PROBE, json={"limit": 1}).headers.get("Date")
    if not date:
        raise NotChecked("the response has no Date header")
    off = abs(parsedate_to_datetime(date).timestamp() - (began + time.time()) / 2)
    return off < SKEW_NOTED, f"a difference of {off:.0f} s"


@assumes("codeocean", "unknown", "http.Transport")
def rate_limit(traffic: Traffic) -> Seen:
    """A response with status 429 has a `Retry-After` header."""
    if not traffic.refused:
        raise NotSeen(f"no 429 was seen in {traffic.sent} requests")
    text = f"{len(traffic.refused)} answered 429, {sum(traffic.refused)} with Retry-After"
    return all(traffic.refused), text


# -- Files of results ------------------------------------------------------------------------------


@assumes("files", "Code Ocean docs", "codeocean.list_asset_files")
def listing(traffic: Traffic) -> Seen:
    """The files of an internal result are listed, with the types `file` and `folder`."""
    answer = request("POST", f"data_assets/{RESULT_ID}/files", json={"path": ""}).json()
    items = answer.get("items") or []
    types = sorted({str(item.get("type")) for item in items})
    return set(types) == {"file", "folder"}, f"{len(items)} items of the types {', '.join(types)}"


@assumes("files", "Code Ocean docs", "lookup.results.listing")
def external_listing(traffic: Traffic) -> Seen:
    """The files of an external asset are not listed by Code Ocean."""
    status = _status(lambda: request("POST", f"data_assets/{RAW_ID}/files", json={"path": ""}))
    return status >= 400, f"status {status}"


def _link() -> str:
    parameters = {"path": results.OUTPUT}
    answer = request("GET", f"data_assets/{RESULT_ID}/files/urls", params=parameters).json()
    return str(answer.get("download_url") or "")


@assumes("files", "SDK changelog, 0.10.0", "codeocean.read_asset_file")
def link_route(traffic: Traffic) -> Seen:
    """The route `files/urls` returns a `download_url`."""
    has_link = "://" in _link()
    return has_link, "a download_url" if has_link else "no download_url"


@assumes("files", "working knowledge", "codeocean.read_asset_file")
def link_access(traffic: Traffic) -> Seen:
    """A presigned link needs no credentials."""
    url = _link()
    if "://" not in url:
        raise NotChecked("no link was returned")
    status = _status(lambda: http.get_link(SERVICE, url))
    return status == 200, f"status {status} without credentials"


@assumes(
    "files", "working knowledge", "lookup.results.listing", RESULTS_BUCKET=settings.RESULTS_BUCKET
)
def result_folder(traffic: Traffic) -> Seen:
    """The files of an internal result are in {RESULTS_BUCKET}, below its ID."""
    _require_aws()
    found = s3.list_folder(settings.RESULTS_BUCKET, RESULT_ID)
    return found.exists, f"{len(found.folders)} folders and {len(found.files)} files"


@assumes("files", "working knowledge", "lookup.results.has_error", OUTPUT=results.OUTPUT)
def output(traffic: Traffic) -> Seen:
    """A good result has a file `{OUTPUT}`, without a sign of failure in it."""
    _require_aws()
    log = s3.read(settings.RESULTS_BUCKET, f"{RESULT_ID}/{results.OUTPUT}")
    is_good = bool(log) and not results.has_error(log)
    return is_good, f"{len(log)} bytes, {'no' if is_good else 'a'} sign of failure"


def _require_aws() -> None:
    if not s3.has_credentials():
        raise NotChecked("no AWS credentials")


# -- DocDB -----------------------------------------------------------------------------------------


of_docdb = partial(assumes, "docdb", each=SCHEMAS)


def _records(version: str, route: str, query: Any, limit: int, **parameters: Any) -> list[Any]:
    answer = _docdb(version, route, query, limit, **parameters)
    records = json.loads(answer.content)
    if not isinstance(records, list):
        raise TypeError("the answer is not a list")
    return records


def _docdb(version: str, route: str, query: Any, limit: int, **parameters: Any) -> Any:
    """Send a filter to /find, or a pipeline to /aggregate."""
    if route == "aggregate":
        answer = docdb.request(version, "POST", route, json=[*query, {"$limit": limit}])
    else:
        texts = {name: json.dumps(value) for name, value in parameters.items()}
        options = {"filter": json.dumps(query), "limit": str(limit), **texts}
        answer = docdb.request(version, "GET", route, params=options)
    if answer is None:
        raise NotChecked(f"the endpoint of {version} is retired")
    return answer


def _counted(found: list[Any], expected: int) -> Seen:
    return len(found) == expected, f"{len(found)} records, {expected} expected"


@of_docdb("aind-data-access-api", "docdb.find_one")
def find(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} answers /find without credentials."""
    options = {"filter": json.dumps({"name": RECORDS[version]}), "limit": "1"}
    answer = docdb.request(version, "GET", "find", params=options)
    return (False, "the endpoint is retired") if answer is None else _counted(answer.json(), 1)


@of_docdb("aind-data-access-api", "docdb.aggregate")
def aggregate(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} answers /aggregate without credentials."""
    pipeline = [{"$match": {"name": RECORDS[version]}}, {"$project": {"name": 1}}]
    return _counted(_records(version, "aggregate", pipeline, 1), 1)


def _total(version: str) -> int:
    return int(_docdb(version, "count_documents", {}, 0).json()["total_record_count"])


def _page(found: list[Any], size: int, version: str) -> Seen:
    """Check that a page is full, unless fewer records exist."""
    total = _total(version)
    if len(found) == total < size:
        raise NotSeen(f"only {total} records exist, fewer than {size}")
    return _counted(found, min(size, total))


@of_docdb("unknown", "docdb.find", PAGE_SIZE=docdb.PAGE_SIZE)
def page(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} returns {PAGE_SIZE} projected records in one answer."""
    names = {"projection": {"name": 1}, "sort": {"_id": 1}}
    found = _records(version, "find", {}, docdb.PAGE_SIZE, **names)
    return _page(found, docdb.PAGE_SIZE, version)


@of_docdb("unknown", "metadata.prefetch_records", RECORDS_PER_REQUEST=RECORDS_PER_REQUEST)
def full_records(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} returns {RECORDS_PER_REQUEST} full records in one answer to /aggregate."""
    answer = _docdb(version, "aggregate", [{"$sort": {"_id": 1}}], RECORDS_PER_REQUEST)
    same, text = _page(answer.json(), RECORDS_PER_REQUEST, version)
    return same, f"{text}, in {len(answer.content)} bytes"


@of_docdb("aind-data-access-api", "docdb.find", PAGE_SIZE=docdb.PAGE_SIZE)
def large_answer(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} shortens an answer to /find of more than 10 MB, without an error."""
    answer = _docdb(version, "find", {}, docdb.PAGE_SIZE, sort={"_id": 1})
    size, count = len(answer.content), len(answer.json())
    text = f"{count} of at most {docdb.PAGE_SIZE} records, in {size} bytes"
    is_complete = count == min(docdb.PAGE_SIZE, _total(version))
    if is_complete and size <= MAX_ANSWER_BYTES:
        raise NotSeen(f"no answer was near {MAX_ANSWER_BYTES // 10**6} MB: {text}")
    return not is_complete and NEAR_BYTES <= size <= MAX_ANSWER_BYTES, text


@of_docdb("unknown", "docdb.chunks_for_in", URL_LIMIT=docdb.URL_LIMIT)
def long_url(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} accepts URLs of {URL_LIMIT} characters."""
    # Of letters only: a name is quoted, and followed by a comma and a space.
    n_names = (docdb.URL_LIMIT - 250) // len("%22" + "x" * 40 + "%22%2C+")
    names = [RECORDS[version], *(f"{n:x>40}" for n in range(n_names))]
    projection = {"name": 1}
    answer = _docdb(version, "find", {"name": {"$in": names}}, 1, projection=projection)
    text = f"{len(answer.json())} records for a URL of {len(answer.url)} characters"
    return len(answer.json()) == 1, text


@of_docdb("aind-data-access-api", "docdb.find_one")
def sort(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} sorts by the time at which a record was created."""
    key = docdb.CREATED[version]
    sort = {"sort": {key: -1}, "projection": {key: 1}}
    found = [str(record.get(key)) for record in _records(version, "find", {}, 20, **sort)]
    is_sorted = found == sorted(found, reverse=True)
    return is_sorted, f"{len(found)} times {'in' if is_sorted else 'not in'} descending order"


@of_docdb("MongoDB docs", "metadata.records_named")
def regex(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} finds names by a regular expression."""
    begin = RECORDS[version]
    condition = {"name": {"$regex": f"^{re.escape(begin)}"}}
    found = _records(version, "find", condition, 20, projection={"name": 1})
    right = sum(str(record.get("name")).startswith(begin) for record in found)
    return bool(found) and right == len(found), f"{right} of {len(found)} records match"


@of_docdb("MongoDB docs", "docdb.find")
def projection(version: str, traffic: Traffic) -> Seen:
    """DocDB {each} returns the projected keys and `_id` only."""
    options = {"projection": {"name": 1, "location": 1}}
    (record,) = _records(version, "find", {"name": RECORDS[version]}, 1, **options) or ({},)
    expected = {"_id", "name", "location"}
    return set(record) == expected, f"{len(set(record))} keys, {len(expected)} expected"


# -- S3 --------------------------------------------------------------------------------------------


@assumes("s3", "Open Data registry, working knowledge", "s3.is_anonymous", each=BUCKETS)
def bucket(name: str, traffic: Traffic) -> Seen:
    """{each} is listed for everyone if it is public, else with credentials."""
    if BUCKETS[name] == "private":
        _require_aws()
    found = s3.access(name)
    return found == BUCKETS[name], f"{found or 'no such bucket'}, {BUCKETS[name]} expected"


@assumes("s3", "AWS docs", "s3.list_keys", KEYS_PER_PAGE=s3.KEYS_PER_PAGE)
def keys(traffic: Traffic) -> Seen:
    """A listing returns {KEYS_PER_PAGE} keys per request."""
    before = traffic.sent
    found = s3.list_keys("aind-open-data", "", s3.KEYS_PER_PAGE)
    used = traffic.sent - before
    if used == 1 and len(found) < s3.KEYS_PER_PAGE:
        raise NotSeen(f"the bucket has only {len(found)} keys, fewer than {s3.KEYS_PER_PAGE}")
    return used == 1, f"{len(found)} keys in {used} requests"


# -- The README ------------------------------------------------------------------------------------


README: Mapping[str, Callable[[Any], Seen]] = {
    "raw_data_asset": lambda asset: (asset.id == RAW_ID, "an asset"),
    "data_assets": lambda found: (len(found) >= 42, f"{len(found)} assets"),
    "modalities": lambda found: (found == MODALITIES, f"{len(found)} modalities"),
    "ecephys.is_sorted": lambda found: (found, str(found)),
    "subject.sessions": lambda found: (len(found) >= 4, f"{len(found)} sessions"),
}


@assumes("readme", "README", "Session.{each}", each=README)
def session(name: str, traffic: Traffic) -> Seen:
    """`{each}` of the README's session is as documented."""
    return README[name](attrgetter(name)(Session(SESSION)))


ASSUMPTIONS: tuple[Assumption, ...] = (
    *(*server_version, *oldest_server, *page_size, *next_token, *name_query, *same_field_twice),
    *(*free_text, *subject_filter, *archived, *no_token, *unknown_asset, *closed_asset, *clock),
    *(*listing, *external_listing, *link_route, *link_access, *result_folder, *output),
    *(*find, *aggregate, *page, *full_records, *large_answer, *long_url, *sort, *regex),
    *(*projection, *bucket, *keys),
    # The last one evaluates the responses to all others.
    *(*session, *rate_limit),
)
