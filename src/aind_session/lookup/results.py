"""Results: the files of a data asset, and whether the run that left it failed.

Files are read in S3, or through Code Ocean if S3 does not show them. Code Ocean shows the files of
internal assets only, with one request more for each file that is read.

The rules for failed runs are the field's working knowledge: Code Ocean's own end status is
"succeeded" for many results that cannot be used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, TypeVar

from aind_session import context, settings
from aind_session.errors import (
    AccessDeniedError,
    CredentialsError,
    MissingFileError,
    NotFoundError,
    ServiceError,
)
from aind_session.identifiers import SessionID, session_in_name
from aind_session.lookup import evidence, folders, rules
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures
from aind_session.lookup.folders import Folder
from aind_session.query import CODE_OCEAN, S3, count, query
from aind_session.services import codeocean, files, s3
from aind_session.services.assets import Assets
from aind_session.services.models import AssetSummary
from aind_session.services.s3 import Listing, has_credentials
from aind_session.threads import gather, outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

T = TypeVar("T")

MAX_KEYS_PER_SEARCH = 1000
#: Folders that are listed one by one if their keys cannot be.
MAX_FOLDERS_PER_SEARCH = 12

#: Texts in the log of a failed run.
ERRORS = (
    "Essential container in task exited",
    "Out of memory.",
    "Task failed to start - DockerTimeoutError",
    "Traceback (most recent call last):",
    "Command error:",
    "WARN: Killing running tasks",
)
#: In a sorting pipeline's log this alone is a warning: some probes may be usable.
CUDA_ERROR = "The CUDA error was:"
OUTPUT, NWB = "output", "nwb"
#: Folders with one folder for each sorted stream, in the result of a spike sorting.
STREAM_FOLDERS = frozenset({"curated", "sorting_precurated", "postprocessed", "spikesorted"})
#: Sorted assets that are checked at once, the newest first, until one has not failed.
_CHECKED_AT_ONCE = (1, 4)


# -- files -----------------------------------------------------------------------------------------


def listing(asset: AssetSummary, path: str = "") -> Listing:
    """List a folder of a data asset, one level deep; a missing one is empty, and does not exist."""
    found = _from_either(
        asset,
        lambda folder: files.listing(folder.bucket, _key(folder, path)),
        lambda: _listed_by_code_ocean(asset.id, path),
    )
    is_inside = (folders.of_asset(asset) or ("",))[0] == settings.RESULTS_BUCKET
    if not (found.exists or path) and is_inside and not _prefers_code_ocean(asset):
        # The files of a new asset may be hidden from S3 for some seconds (seen by users).
        try:
            other = _listed_by_code_ocean(asset.id, path)
        except (ServiceError, CredentialsError):
            return found
        if other.exists:
            note("S3 does not show the files of %s yet: Code Ocean does", asset.id)
            _remember(("files of", asset.id), seconds=60)
            return other
    return found


def cached_listing(asset: AssetSummary) -> Listing | None:
    """Return the listing of an asset's root if it is cached; never sends a request."""
    folder = folders.of_asset(asset)
    cached: Listing | None = None
    if folder is not None:
        cached = files.listing.cached(folder.bucket, folder.prefix)
    if cached is None or not cached.exists:
        cached = _listed_by_code_ocean.cached(asset.id, "") or cached
    return cached


def read(asset: AssetSummary, path: str) -> bytes | None:
    """Read a small file of a data asset; None if it does not exist."""
    return _from_either(
        asset,
        lambda folder: files.read_text(folder.bucket, _key(folder, path)),
        lambda: next(iter(_read_by_code_ocean(asset.id, path)), None),
    )


def find(asset: AssetSummary, path: str, name: str) -> Iterator[str]:
    """Yield the paths of files with a name below a folder; a bounded search."""
    keys = _from_either(asset, lambda folder: _keys(folder, path), lambda: None)
    found = tuple(key for key in keys or () if key.rpartition("/")[2] == name)
    if found or (keys is not None and len(keys) < MAX_KEYS_PER_SEARCH):
        yield from found
        return
    # Too many keys, or Code Ocean, which lists single folders only.
    waiting = deque([path])
    for _ in range(MAX_FOLDERS_PER_SEARCH):
        if not waiting:
            break
        folder = waiting.popleft()
        listed = listing(asset, folder)
        if name in listed.files:
            yield f"{folder}/{name}"
        waiting.extend(f"{folder}/{inside}" for inside in listed.folders)


def _key(folder: Folder, path: str) -> str:
    return f"{folder.prefix}/{path}".strip("/")


def _from_either(
    asset: AssetSummary, from_s3: Callable[[Folder], T], code_ocean: Callable[[], T]
) -> T:
    """Read from S3, or from Code Ocean if it holds the files and S3 does not show them."""
    folder = folders.of_asset(asset)
    if folder is not None and folder.bucket != settings.RESULTS_BUCKET:
        return from_s3(folder)
    if folder is None or _prefers_code_ocean(asset):
        return code_ocean()
    try:
        return from_s3(folder)
    except AccessDeniedError:
        note("s3://%s is closed: the files are read through Code Ocean", folder.bucket)
        _remember(("closed", folder.bucket))
        return code_ocean()
    except ServiceError as error:
        failures = Failures("files")
        failures.add(error)
        try:
            with failures.limit():
                return code_ocean()
        except (ServiceError, CredentialsError):
            raise error from None


def _prefers_code_ocean(asset: AssetSummary) -> bool:
    """Whether the files of an asset inside Code Ocean are hidden from S3."""
    if _is_remembered(("files of", asset.id)):
        return True
    try:
        # The results' bucket is closed without credentials: no request is needed to find out.
        return not has_credentials() or _is_remembered(("closed", settings.RESULTS_BUCKET))
    except (ServiceError, CredentialsError):
        # With AWS settings that are not valid, S3 cannot be used; Code Ocean may work.
        return True


def _remember(fact: tuple[str, str], seconds: float | None = None) -> None:
    context.current().cache.put(("files", "", *fact), True, seconds)


def _is_remembered(fact: tuple[str, str]) -> bool:
    return bool(context.current().cache.cached(("files", "", *fact)))


def _keys(folder: Folder, path: str) -> tuple[str, ...]:
    keys = keys_below(folder.bucket, _key(folder, path) + "/")
    within = f"{folder.prefix}/" if folder.prefix else ""
    return tuple(key.removeprefix(within) for key in keys)


@query(S3, "list all keys below s3://{0}/{1}", count("key"))
def keys_below(bucket: str, prefix: str) -> tuple[str, ...]:
    """List the first keys below a folder, at any depth."""
    return s3.list_keys(bucket, prefix, MAX_KEYS_PER_SEARCH)


@query(CODE_OCEAN, "list /{1} of data asset {0}", files.contents)
def _listed_by_code_ocean(asset_id: str, path: str) -> Listing:
    try:
        items = codeocean.list_asset_files(asset_id, path)
    except codeocean.CodeOceanNotFoundError:
        return Listing()
    return Listing(
        tuple(name for name, is_folder, _ in items if is_folder),
        tuple(name for name, is_folder, _ in items if not is_folder),
        bool(items),
    )


@query(CODE_OCEAN, "read {1} of data asset {0}", files.size)
def _read_by_code_ocean(asset_id: str, path: str) -> tuple[bytes, ...]:
    try:
        return (codeocean.read_asset_file(asset_id, path),)
    except (codeocean.CodeOceanNotFoundError, NotFoundError):
        return ()


# -- failed runs -----------------------------------------------------------------------------------


def is_output_file_from_sorting_pipeline(output: str) -> bool:
    r"""Return True if a log is that of a spike-sorting pipeline.

    Examples
    --------
    >>> is_output_file_from_sorting_pipeline("N E X T F L O W\nspike sorting: kilosort4")
    True
    >>> is_output_file_from_sorting_pipeline("N E X T F L O W\nface tracking")
    False
    """
    return is_log_of_sorting_pipeline(output.encode("utf-8", "replace"))


def is_log_of_sorting_pipeline(log: bytes) -> bool:
    """Whether a log mentions Nextflow, sorting and kilosort."""
    lower = log.lower()
    return b"n e x t f l o w" in lower and b"sorting" in lower and b"kilosort" in lower


def is_output_error(output_text: str) -> bool:
    r"""Return True if a log is that of a run that failed.

    Examples
    --------
    >>> is_output_error("Traceback (most recent call last):\nKeyError: 0")
    True
    >>> is_output_error("The CUDA error was: out of memory")
    True
    >>> is_output_error("N E X T F L O W\nsorting, kilosort4\nThe CUDA error was: 2")
    False
    """
    return has_error(output_text.encode("utf-8", "replace"))


def has_error(log: bytes) -> bool:
    """Whether a log contains an error; in bytes, as a log can have hundreds of megabytes."""
    if any(error.encode() in log for error in ERRORS):
        return True
    return CUDA_ERROR.encode() in log and not is_log_of_sorting_pipeline(log)


def output_of_asset(asset: AssetSummary) -> str:
    """Return the log of the run that left a data asset."""
    with tracing(about(asset), "output"):
        output = read(asset, OUTPUT)
        if output is None:
            raise MissingFileError(
                f"Data asset {asset.id} ({asset.name}) has no file {OUTPUT!r} in its root: it is "
                "not the result of a run, or the run failed.",
                trail=trace_lines(),
            )
        return output.decode("utf-8", "replace")


def why_failed(root: Listing, output: bytes | None, *, is_sorting: bool) -> str | None:
    """Return why a result is that of a failed run; None if it is not.

    A spike sorting failed, too, if it has no sorted streams: since version 1.1 the pipeline can
    write `nwb/` although every sorting job failed, and the results of 2023 are good without it.
    """
    if output is None:
        return f"no log ({OUTPUT!r})"
    if has_error(output):
        return f"an error in its log ({OUTPUT!r})"
    if is_sorting and STREAM_FOLDERS.isdisjoint(root.folders):
        return "no sorted streams"
    return None


def failure(asset: AssetSummary) -> str | None:
    """Return why a data asset is the result of a failed run; None if it is not.

    This decides `is_sorted`, `is_sorting_error`, `result:LABEL` and `run(label=...)`. An asset that
    is not a result (raw data, a collection) fails only by its own state.
    """
    state = asset.state.lower()
    if state == "failed":
        return "it could not be captured"
    # Of a draft, not all that the run left has been captured yet.
    if state == "draft" or not _is_result(asset):
        return None
    with tracing(about(asset), "failed run"):
        why = why_failed(*_evidence(asset), is_sorting=rules.is_sorted(asset.name))
        if why is not None:
            note("Data asset %s (%s) failed: %s", asset.id, asset.name, why)
        return why


def status(some: Assets) -> Literal["good", "failed", "never"]:
    """Return whether one of a label's assets is good; the newest is checked first."""
    complete = [asset for asset in some if asset.state.lower() != "draft"]
    if any(failure(asset) is None for asset in reversed(complete)):
        return "good"
    return "failed" if complete else "never"


def is_good(asset: AssetSummary) -> bool:
    """Whether a data asset is the complete result of a run that did not fail."""
    return asset.state.lower() != "draft" and failure(asset) is None


def is_data_asset_error(asset: AssetSummary) -> bool:
    """Whether a data asset is an error by the rule of version 0.3.

    That demands `nwb/*.nwb*` of a result whose log is that of the Nextflow sorting pipeline.
    """
    if asset.state.lower() in ("failed", "draft") or not _is_result(asset):
        return asset.state.lower() == "failed"
    with tracing(about(asset), "failed run"):
        root, output = _evidence(asset)
        if why_failed(root, output, is_sorting=False) is not None:
            return True
        if output is None or not is_log_of_sorting_pipeline(output):
            return False
        # An empty folder is not listed; newer results have `*.nwb.zarr` in the root.
        names = (*root.folders, *root.files)
        return not any(n == NWB or n.endswith((".nwb", ".nwb.zarr")) for n in names)


def _evidence(asset: AssetSummary) -> tuple[Listing, bytes | None]:
    root, output = gather(partial(listing, asset), partial(read, asset, OUTPUT))
    if output is None and OUTPUT in root.files:
        # S3 did not show it yet; by now it is cached that Code Ocean does.
        output = read(asset, OUTPUT)
    return root, output


def _is_result(asset: AssetSummary) -> bool:
    # By name as well: its type may be one that this package does not know.
    return asset.type == "result" or rules.is_sorted(asset.name)


def about(asset: AssetSummary) -> str:
    """Return what a lookup of an asset is filed under: its session, else its ID."""
    session = session_in_name(asset.name)
    return session.id if session is not None else asset.id


# -- sorted sessions -------------------------------------------------------------------------------


def sorted_assets(session: SessionID, some: Assets) -> Assets:
    """Return the sorted assets among a session's, ascending by creation."""
    chosen = []
    for asset in some:
        named = session_in_name(asset.name)
        # A record can link another session's sorting.
        is_own = named is None or (named.subject_id, named.dt) == (session.subject_id, session.dt)
        if is_own and rules.is_sorted(asset.name):
            chosen.append(asset)
    return rules.ascending(chosen)


def why_sorted(session: SessionID) -> tuple[bool, str]:
    """Return whether a session has a sorted asset that did not fail, and the reason.

    The newest is checked first, alone, then the next four, then the others.
    Without Code Ocean, the sortings that DocDB records and S3 has are enough for a yes.
    """
    with tracing(session.id, "sorted"):
        known = evidence.of(session, "sortings that only this service has")
        if CODE_OCEAN in known.failures.errors:
            candidates = _recorded_sortings(known)
        else:
            candidates = sorted_assets(session, evidence.with_linked(known).assets)
        good, why = _newest_good(candidates, known.failures)
        if good is None:
            known.failures.raise_error()
            note("%s is not sorted: %s", session.id, why.removeprefix("no: "))
        known.failures.warn()
        context.current().cache.put(("files", "sorted", session.id), good is not None)
        return good is not None, why


def cached_is_sorted(session: SessionID) -> bool | None:
    """Return the cached answer to whether a session is sorted, else None."""
    answer: bool | None = context.current().cache.cached(("files", "sorted", session.id))
    return answer


def _newest_good(candidates: Assets, failures: Failures) -> tuple[AssetSummary | None, str]:
    # What is still being captured has not failed, and cannot be used either.
    waiting: Sequence[AssetSummary] = [a for a in candidates[::-1] if a.state.lower() != "draft"]
    why = "no: the sorting is being captured" if candidates else "no: it has no sorted data asset"
    for size in (*_CHECKED_AT_ONCE, len(waiting)):
        group, waiting = waiting[:size], waiting[size:]
        answers = outcomes(*(partial(failure, a) for a in group))
        for asset, outcome in zip(group, answers, strict=True):
            reason = failures.value_or("could not be checked", outcome)
            if reason is None:
                return asset, f"yes: {asset.name} ({asset.id})"
            # The newest one's reason is reported for all.
            why = why if why.startswith("failed") else f"failed: {reason}"
    return None, why


def _recorded_sortings(known: Evidence) -> Assets:
    """Return what is needed of assets, from the DocDB records that describe them."""
    found: dict[str, AssetSummary] = {}
    for row in known.records:
        if not rules.is_sorted(row.name) or not row.location.startswith("s3://"):
            continue
        bucket, prefix = s3.split(row.location)
        created = row.record.created
        found[row.location] = AssetSummary(
            id=next(iter(row.linked), prefix),
            name=row.name,
            created=int(created.timestamp()) if created is not None else 0,
            tags=(),
            custom_metadata={},
            bucket=bucket,
            prefix=prefix,
            external=bucket != settings.RESULTS_BUCKET,
            state="ready",
            type="result",
            archived=False,
            raw=b"",
        )
    return tuple(sorted(found.values(), key=lambda a: (a.created, a.id)))
