"""The namespace `docdb`: metadata records as DocDB has them, and one answer for each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aind_session.records import QUESTIONS, Answers

if TYPE_CHECKING:
    from aind_session.identifiers import SessionID
    from aind_session.lookup.by_id import AssetLike
    from aind_session.session import Session
    from aind_session.subject import Subject


def _public_names(holder: object) -> list[str]:
    names = {*object.__dir__(holder), *QUESTIONS}
    return sorted(name for name in names if not name.startswith("_"))


class RecordDict(Answers, dict[str, Any]):
    """A metadata record as it stands, with the same questions for both schema versions.

    `keys`, `get`, `json.dumps` and `dict(...)` work as for any dictionary; it is the caller's own,
    and empty if no record was found. Each property is an attribute, whose value is None (or `()`)
    if the record does not contain it.

    Examples
    --------
    >>> record = RecordDict({"subject": {"subject_details": {"sex": "Male"}}})
    >>> record.sex
    'Male'
    >>> record["subject"]
    {'subject_details': {'sex': 'Male'}}
    """

    def _records(self, of_asset: bool) -> Iterable[Mapping[str, Any]]:
        return (self,)

    def __dir__(self) -> list[str]:
        return _public_names(self)


class SessionDocDB(RecordDict):
    """The metadata record of a session: that of schema 1.x if there is one, else of 2.x.

    Looked up when `session.docdb` is first used, both schemas at the same time; one copy for each
    `Session` object. A property that one schema's record lacks is read from the other's. If only a
    derived data asset has a record, this is empty, and the properties about the subject, session
    and project are read from that record.

    Attributes
    ----------
    v1, v2 : RecordDict
        The record of one schema; empty if there is none.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> session.docdb["subject"]["genotype"] == session.docdb.genotype
    True
    >>> session.docdb.v2
    {}
    """

    def __init__(self, base: Session) -> None:
        from aind_session.lookup import metadata

        self._session: SessionID | None = base._id
        self._take(metadata.records(base._id, base._group))

    def _take(self, found: Mapping[str, bytes]) -> None:
        import msgspec

        decoded = {g: RecordDict(msgspec.json.decode(raw)) for g, raw in found.items()}
        self.v1 = decoded.get("v1", RecordDict())
        self.v2 = decoded.get("v2", RecordDict())
        if found:
            # Decoded once more: what is changed here stays unchanged in `v1` and `v2`.
            self.update(msgspec.json.decode(found.get("v1") or found["v2"]))

    def _records(self, of_asset: bool) -> Iterable[Mapping[str, Any]]:
        if self or of_asset or self._session is None:
            return (self, self.v2) if self.v1 else (self,)
        from aind_session.lookup import metadata

        return metadata.of_derived(self._session)


class FoundRecord(SessionDocDB):
    """The record of any data asset, by name, ID or location; otherwise as `session.docdb`."""

    _session = None

    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._take(found)


def get_record(name_id_or_location: AssetLike) -> FoundRecord:
    """Get the metadata record of a data asset.

    Parameters
    ----------
    name_id_or_location
        Name of a data asset, its Code Ocean ID, its folder (`s3://...`) or its model; or the ID of
        the record itself.

    Returns
    -------
    FoundRecord
        Empty if no record was found.

    Examples
    --------
    >>> from aind_session.extensions.docdb import get_record
    >>> get_record("16d46411-540a-4122-b47f-8cb2a15d593a").name
    'ecephys_676909_2023-12-13_13-43-40'
    """
    from aind_session.lookup import by_id

    return FoundRecord(by_id.record_of(name_id_or_location))


class SubjectDocDB(Answers, tuple[RecordDict, ...]):
    """The metadata records of a subject, oldest first, with the questions about the subject.

    One record for each data asset: of schema 1.x if there is one, else of 2.x. The newest record
    with a core file `subject` answers the questions first.

    Attributes
    ----------
    records : tuple of RecordDict
        Every record of the subject, of both schema versions.

    Examples
    --------
    >>> import aind_session
    >>> docdb = aind_session.Subject(676909).docdb
    >>> docdb[0]["name"]
    'behavior_676909_2023-10-24_15-15-50'
    >>> docdb.genotype
    'Pvalb-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt'
    """

    records: tuple[RecordDict, ...]

    def __new__(cls, base: Subject) -> SubjectDocDB:
        """Fetch the records of a subject."""
        import msgspec

        from aind_session.lookup import metadata

        found = metadata.all_of_subject(base.id)
        decoded = {g: [RecordDict(msgspec.json.decode(r)) for r in raw] for g, raw in found.items()}
        return cls._of(
            metadata.one_per_asset(decoded), tuple(r for some in decoded.values() for r in some)
        )

    @classmethod
    def _of(cls, kept: Iterable[RecordDict], every: Iterable[RecordDict]) -> SubjectDocDB:
        made = tuple.__new__(cls, kept)
        made.records = tuple(
            sorted(every, key=lambda r: (str(r.created or ""), str(r.name), str(r.id)))
        )
        return made

    def __dir__(self) -> list[str]:
        return _public_names(self)

    def _records(self, of_asset: bool) -> Iterable[Mapping[str, Any]]:
        newest_first = (*reversed(self), *reversed(self.records))
        return tuple(r for r in newest_first if isinstance(r.get("subject"), dict))

    def __reduce__(self) -> tuple[Any, ...]:
        return SubjectDocDB._of, (tuple(self), self.records)
