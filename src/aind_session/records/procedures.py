"""The core file `procedures`: what was done to the subject, and to specimens made from it."""

from __future__ import annotations

import datetime
from typing import Any

from aind_session.records.shape import (
    View,
    all_named,
    at,
    copied_dict,
    either,
    items,
    mappings,
    text,
)
from aind_session.records.times import parse_date

# The lists that hold procedures on the subject; the last four are those of the oldest files.
_ON_SUBJECT = ("subject_procedures", "headframes", "craniotomies", "injections", "fiber_implants")


class Procedure(View):
    """One surgery, procedure within a surgery, or treatment of a specimen."""

    __slots__ = ("_surgery",)

    def __init__(self, raw: Any, surgery: Any = None) -> None:
        super().__init__(raw)
        self._surgery = surgery

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type!r}, {self.date})"

    @property
    def type(self) -> str | None:
        """What was done."""
        return (
            text(at(self.raw, "procedure_type"))
            or text(at(self.raw, "object_type"))
            or text(at(self.raw, "type"))
        )

    @property
    def date(self) -> datetime.date | None:
        """The day on which it began; within a surgery the surgery's."""
        return parse_date(at(self.raw, "start_date")) or parse_date(at(self._surgery, "start_date"))

    @property
    def end_date(self) -> datetime.date | None:
        """The day on which it ended; within a surgery the surgery's."""
        return parse_date(at(self.raw, "end_date")) or parse_date(at(self._surgery, "end_date"))

    @property
    def experimenters(self) -> tuple[str, ...]:
        """Who did it."""
        paths = ("experimenter_full_name",), ("experimenters",)
        return either(self.raw, *paths, all_named) or either(self._surgery, *paths, all_named)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that were followed."""
        written = [*items(at(self.raw, "protocol_id")), *items(at(self._surgery, "protocol_id"))]
        return tuple(found for found in map(text, written) if found is not None)

    @property
    def details(self) -> dict[str, Any]:
        """Everything that the record tells of it, without the procedures of a surgery."""
        told = copied_dict(self.raw)
        told.pop("procedures", None)
        return told


class Procedures(View):
    """What was done to a subject before and after the recording, in one list."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.subject_id!r})"

    @property
    def subject_id(self) -> str | None:
        """The subject's ID."""
        return text(at(self.raw, "subject_id"))

    @property
    def on_subject(self) -> tuple[Procedure, ...]:
        """What was done to the subject; a surgery stands for itself and before its procedures."""
        found = []
        for surgery in mappings([at(self.raw, key) for key in _ON_SUBJECT]):
            found.append(Procedure(surgery))
            within = mappings(surgery.get("procedures"))
            found.extend(Procedure(procedure, surgery) for procedure in within)
        return tuple(found)

    @property
    def on_specimens(self) -> tuple[Procedure, ...]:
        """What was done to specimens."""
        return tuple(map(Procedure, mappings(at(self.raw, "specimen_procedures"))))

    @property
    def all(self) -> tuple[Procedure, ...]:
        """Everything, in the order of the record."""
        return self.on_subject + self.on_specimens

    @property
    def injections(self) -> tuple[Procedure, ...]:
        """The injections among what was done to the subject; some real ones tell no type."""
        return tuple(
            procedure
            for procedure in self.on_subject
            if "injection" in (procedure.type or "").casefold()
            or at(procedure.raw, "injection_materials") is not None
        )
