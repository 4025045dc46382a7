"""One metadata record, and the questions that both generations of records answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final, TypeVar

from aind_session.identifiers import find_session_id, split_asset_name
from aind_session.records import (
    acquisition,
    data_description,
    envelope,
    instrument,
    modalities,
    subject,
)
from aind_session.records.data_description import DataLevel
from aind_session.records.procedures import Procedures
from aind_session.records.processing import Processing
from aind_session.records.quality_control import QualityControl
from aind_session.records.shape import View, at, text

T = TypeVar("T")

#: The questions, each an attribute of `Record` whose answer is the same for both generations.
QUESTIONS: Final[tuple[str, ...]] = (
    "name",
    "id",
    "session_id",
    "subject_id",
    "platform",
    "project",
    "data_level",
    "modalities",
    "modalities_as_written",
    "genotype",
    "sex",
    "date_of_birth",
    "year_of_birth",
    "strain",
    "species",
    "breeding",
    "acquisition_start",
    "acquisition_start_doubt",
    "acquisition_end",
    "session_type",
    "experimenters",
    "investigators",
    "instrument_id",
    "ethics",
    "source_data",
    "tags",
    "sorter_names",
    "processing",
    "quality_control",
    "procedures",
    "codeocean_ids",
    "location",
    "bucket",
    "prefix",
    "schema_version",
    "created",
    "modified",
)


class Record(View):
    """A read-only view on one metadata record of either generation.

    Making one costs nothing; each question reads the record when it is asked. A question never
    raises: where the record does not say, or says it in a shape that no record had before, the
    answer is None, or `()` where there can be several.

    Parameters
    ----------
    raw
        The record, or any other JSON value.

    Examples
    --------
    >>> old = Record({"subject": {"sex": "Male"}, "data_description": {"modality": ["ophys"]}})
    >>> new = Record(
    ...     {
    ...         "subject": {"subject_details": {"sex": "Male"}},
    ...         "data_description": {"modalities": [{"abbreviation": "pophys"}]},
    ...     }
    ... )
    >>> old.sex == new.sex, old.modalities == new.modalities, new.genotype
    (True, True, None)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def to_dict(self) -> dict[str, Any]:
        """Give the answers to all questions, by the questions' names."""
        return {question: getattr(self, question) for question in QUESTIONS}

    # The record itself

    @property
    def name(self) -> str | None:
        """The data asset's name: the record's, since the description's may be another."""
        return text(at(self.raw, "name")) or data_description.name(self._description)

    @property
    def id(self) -> str | None:
        """The record's ID in its database."""
        return envelope.record_id(self.raw)

    @property
    def session_id(self) -> str | None:
        """The session ID in the name."""
        found = find_session_id(self.name)
        return None if found is None else found.id

    @property
    def location(self) -> str | None:
        """Where the files are, as written: `s3://bucket/prefix`."""
        return text(at(self.raw, "location"))

    @property
    def bucket(self) -> str | None:
        """The bucket of the location."""
        return envelope.bucket_and_prefix(self.raw)[0]

    @property
    def prefix(self) -> str | None:
        """The prefix of the location, without slashes at its ends."""
        return envelope.bucket_and_prefix(self.raw)[1]

    @property
    def codeocean_ids(self) -> tuple[str, ...]:
        """IDs of the data assets in Code Ocean."""
        return envelope.codeocean_ids(self.raw)

    @property
    def schema_version(self) -> str | None:
        """The version of the record around the core files, which have their own."""
        return text(at(self.raw, "schema_version"))

    @property
    def created(self) -> datetime | None:
        """When the record was first written, in UTC: not the asset, nor the recording."""
        return envelope.created(self.raw)

    @property
    def modified(self) -> datetime | None:
        """When the record was last written, in UTC."""
        return envelope.modified(self.raw)

    # The subject

    @property
    def subject_id(self) -> str | None:
        """The subject's ID, from the first core file that tells one, else from the name."""
        told = (
            subject.subject_id(at(self.raw, "subject"))
            or data_description.subject_id(self._description)
            or self._of_recording(acquisition.subject_id)
        )
        if told is not None:
            return told
        found = find_session_id(self.name)
        return None if found is None else found.subject_id

    @property
    def genotype(self) -> str | None:
        """The subject's genotype."""
        return subject.genotype(at(self.raw, "subject"))

    @property
    def sex(self) -> str | None:
        """The subject's sex: `Male`, `Female`."""
        return subject.sex(at(self.raw, "subject"))

    @property
    def date_of_birth(self) -> date | None:
        """The subject's date of birth."""
        return subject.date_of_birth(at(self.raw, "subject"))

    @property
    def year_of_birth(self) -> int | None:
        """The subject's year of birth, told for some that have no date."""
        return subject.year_of_birth(at(self.raw, "subject"))

    @property
    def strain(self) -> str | None:
        """The subject's background strain; the upgrade to 2.x writes C57BL/6J where none was."""
        return subject.strain(at(self.raw, "subject"))

    @property
    def species(self) -> str | None:
        """The subject's species (`Mus musculus`)."""
        return subject.species(at(self.raw, "subject"))

    @property
    def breeding(self) -> dict[str, str] | None:
        """What is known of the parents: group, and each one's ID and genotype."""
        return subject.breeding(at(self.raw, "subject"))

    # The data

    @property
    def project(self) -> str | None:
        """The project's name."""
        return data_description.project(self._description)

    @property
    def investigators(self) -> tuple[str, ...]:
        """The investigators' names."""
        return data_description.investigators(self._description)

    @property
    def platform(self) -> str | None:
        """The platform, from the description of 1.x, else from the name if it begins with one."""
        told = data_description.platform(self._description)
        if told is not None:
            return told
        found = find_session_id(self.name)
        return None if found is None else found.platform

    @property
    def modalities(self) -> tuple[str, ...]:
        """Today's abbreviations of the modalities, sorted."""
        return modalities.current_modalities(self.modalities_as_written)

    @property
    def modalities_as_written(self) -> tuple[str, ...]:
        """The modalities as the record spells them, obsolete spellings kept, in its order."""
        return data_description.modalities(self._description)

    @property
    def data_level(self) -> DataLevel | None:
        """`raw`, `derived` or `simulated`.

        The name decides between raw and derived, where it has a session: descriptions are copied
        from raw assets to derived ones, and then say `raw`.
        """
        told = data_description.data_level(self._description)
        if told == "simulated":
            return told
        parts = split_asset_name(self.name or "")
        if parts.is_raw:
            return "raw"
        return "derived" if parts.steps else told

    @property
    def source_data(self) -> tuple[str, ...]:
        """Names of the assets from which this one was made."""
        return data_description.source_data(self._description)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, which only 2.x has."""
        return data_description.tags(self._description)

    # The recording

    @property
    def acquisition_start(self) -> datetime | None:
        """When the recording began, aware.

        The instant that the record writes, never another; without an offset it is Pacific time.
        Records are often wrong here: see `acquisition_start_doubt`.
        """
        return self._of_recording(acquisition.start)

    @property
    def acquisition_start_doubt(self) -> str | None:
        """Why `acquisition_start` is uncertain, or None where nothing speaks against it."""
        files = self._recording
        found = find_session_id(self.name)
        return acquisition.doubt(files[0], found.dt if found else None) if files else None

    @property
    def acquisition_end(self) -> datetime | None:
        """When the recording ended, aware; with the same doubts as the start."""
        files = self._recording
        return acquisition.end(files[0]) if files else None

    @property
    def session_type(self) -> str | None:
        """What was done, in the words of those who did it."""
        return self._of_recording(acquisition.session_type)

    @property
    def experimenters(self) -> tuple[str, ...]:
        """The experimenters' names."""
        return self._of_recording(acquisition.experimenters)

    @property
    def instrument_id(self) -> str | None:
        """The rig or instrument, as its own file spells it, else as the recording's does.

        In 1.x the two often differ (`MESO.1` and `429_MESO1_20260122`); the upgrade to 2.x keeps
        the first.
        """
        told = instrument.instrument_id(at(self.raw, "rig"), at(self.raw, "instrument"))
        return told or self._of_recording(acquisition.instrument_id)

    @property
    def ethics(self) -> tuple[str, ...]:
        """Numbers of the approvals under which the recording was made."""
        return self._of_recording(acquisition.ethics)

    # What was done to subject and data

    @property
    def procedures(self) -> Procedures | None:
        """What was done to the subject and to specimens."""
        return Procedures.of(at(self.raw, "procedures"))

    @property
    def processing(self) -> Processing | None:
        """The steps that made the data."""
        return Processing.of(at(self.raw, "processing"))

    @property
    def sorter_names(self) -> tuple[str, ...]:
        """The spike sorters that the processing tells."""
        view = self.processing
        return () if view is None else view.sorter_names

    @property
    def quality_control(self) -> QualityControl | None:
        """What was found when the data were looked at."""
        return QualityControl.of(at(self.raw, "quality_control"))

    @property
    def _description(self) -> Any:
        return at(self.raw, "data_description")

    @property
    def _recording(self) -> list[Any]:
        return acquisition.in_order(at(self.raw, "session"), at(self.raw, "acquisition"))

    def _of_recording(self, read: Callable[[Any], T]) -> T:
        """Ask the files of the recording in turn, for the first answer that says something."""
        for core in self._recording:
            answer = read(core)
            if answer:
                return answer
        return read(None)
