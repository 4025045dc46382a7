"""Metadata of a session or subject: records as DocDB has them, and one answer for each question."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from aind_session.records import QUESTIONS, Procedures, Processing, QualityControl, Record

if TYPE_CHECKING:
    from aind_session.lookup.by_id import AssetLike
    from aind_session.session import Session
    from aind_session.subject import Subject


class _Questions:
    """The questions that a record answers, in both schema versions, one attribute each."""

    if TYPE_CHECKING:
        # The answers' types; the attributes themselves are made below, one for each question.
        name: str | None
        id: str | None
        session_id: str | None
        subject_id: str | None
        platform: str | None
        project: str | None
        data_level: str | None
        modalities: tuple[str, ...]
        modalities_as_written: tuple[str, ...]
        genotype: str | None
        sex: str | None
        date_of_birth: datetime.date | None
        year_of_birth: int | None
        strain: str | None
        species: str | None
        breeding: dict[str, str] | None
        acquisition_start: datetime.datetime | None
        acquisition_start_doubt: str | None
        acquisition_end: datetime.datetime | None
        session_type: str | None
        experimenters: tuple[str, ...]
        investigators: tuple[str, ...]
        instrument_id: str | None
        ethics: tuple[str, ...]
        source_data: tuple[str, ...]
        tags: tuple[str, ...]
        sorter_names: tuple[str, ...]
        processing: Processing | None
        quality_control: QualityControl | None
        procedures: Procedures | None
        codeocean_ids: tuple[str, ...]
        location: str | None
        bucket: str | None
        prefix: str | None
        schema_version: str | None
        created: datetime.datetime | None
        modified: datetime.datetime | None

    def _records(self) -> tuple[Mapping[str, Any], ...]:
        """Return the records that answer, in order."""
        raise NotImplementedError

    def _answer(self, question: str) -> Any:
        answer: Any = None
        for record in self._records():
            answer = getattr(Record(record), question)
            if answer is not None and answer != ():
                break
        return answer

    def __dir__(self) -> list[str]:
        names = {*object.__dir__(self), *QUESTIONS}
        return sorted(name for name in names if not name.startswith("_"))


def _attribute(question: str) -> property:
    doc = cast(property, getattr(Record, question)).__doc__
    return property(lambda self: self._answer(question), doc=doc)


for _question in QUESTIONS:
    setattr(_Questions, _question, _attribute(_question))


class RecordDict(_Questions, dict[str, Any]):
    """A metadata record as it stands, with the same questions for both generations.

    `keys`, `get`, `json.dumps` and `dict(...)` work as for any dictionary; it is the caller's own,
    and empty if there is no record. Each question is an attribute, whose answer is None (or `()`)
    if the record does not contain it.

    Examples
    --------
    >>> record = RecordDict({"subject": {"subject_details": {"sex": "Male"}}})
    >>> record.sex
    'Male'
    >>> record["subject"]
    {'subject_details': {'sex': 'Male'}}
    """

    def _records(self) -> tuple[Mapping[str, Any], ...]:
        return (self,)


class SessionDocDB(RecordDict):
    """The metadata record of a session: that of schema 1.x where there is one, else 2.x.

    Looked up when `session.docdb` is first used, both generations at the same time; one copy
    for each `Session` object. A question that one generation does not answer is put to the other.

    Attributes
    ----------
    v1, v2 : RecordDict
        The record of one generation; empty where it has none.

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

        self._take(metadata.records(base._id, base._group))

    def _take(self, found: Mapping[str, bytes]) -> None:
        import msgspec

        decoded = {g: RecordDict(msgspec.json.decode(raw)) for g, raw in found.items()}
        self.v1 = decoded.get("v1", RecordDict())
        self.v2 = decoded.get("v2", RecordDict())
        if found:
            # Decoded once more: what is changed here stays unchanged in `v1` and `v2`.
            self.update(msgspec.json.decode(found.get("v1") or found["v2"]))

    def _records(self) -> tuple[Mapping[str, Any], ...]:
        return (self, self.v2) if self.v1 else (self,)

    def __reduce__(self) -> tuple[Any, ...]:
        # The record crosses processes as it is; it is not looked up again over there.
        return _rebuild, (type(self), dict(self), dict(self.v1), dict(self.v2))


class FoundRecord(SessionDocDB):
    """The record of any data asset, by name, ID or location; otherwise as `session.docdb`."""

    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._take(found)


def _rebuild(
    cls: type[SessionDocDB], record: dict[str, Any], v1: dict[str, Any], v2: dict[str, Any]
) -> SessionDocDB:
    made = cls.__new__(cls)
    made.update(record)
    made.v1, made.v2 = RecordDict(v1), RecordDict(v2)
    return made


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
        Empty where there is no record.

    Raises
    ------
    ServiceError
        DocDB did not answer.

    Examples
    --------
    >>> from aind_session.extensions.docdb import get_record
    >>> get_record("16d46411-540a-4122-b47f-8cb2a15d593a").name
    'ecephys_676909_2023-12-13_13-43-40'
    """
    from aind_session.lookup import by_id

    return FoundRecord(by_id.record_of(name_id_or_location))


class SubjectDocDB(_Questions, tuple[RecordDict, ...]):
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

    def _records(self) -> tuple[Mapping[str, Any], ...]:
        newest_first = (*reversed(self), *reversed(self.records))
        return tuple(r for r in newest_first if isinstance(r.get("subject"), dict))

    def __reduce__(self) -> tuple[Any, ...]:
        return SubjectDocDB._of, (tuple(self), self.records)
