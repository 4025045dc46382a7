"""The core file `quality_control`: every metric in one flat list, and its groups.

1.x keeps metrics inside evaluations. 2.x keeps one list of metrics with tags; the upgrade writes
the evaluation's name as tag `type`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from aind_session.records.modalities import modality_abbreviation, written_modalities
from aind_session.records.shape import (
    Part,
    View,
    all_named,
    at,
    copied,
    field,
    mappings,
    shared,
    text,
)
from aind_session.records.times import parse_time

QCStatus = Literal["Pass", "Fail", "Pending"]

_STATUSES: dict[str, QCStatus] = {"pass": "Pass", "fail": "Fail", "pending": "Pending"}


@dataclass(frozen=True)
class StatusChange:
    """One entry of a metric's history."""

    status: QCStatus | None
    evaluator: str | None = None
    timestamp: datetime | None = None


def _status(value: Any) -> QCStatus | None:
    return _STATUSES.get((text(value) or "").strip().casefold())


def _modality(value: Any) -> str | None:
    written = written_modalities(value)
    return modality_abbreviation(written[0]) if written else None


def _history(value: Any) -> tuple[StatusChange, ...]:
    return tuple(
        StatusChange(
            _status(entry.get("status")),
            text(entry.get("evaluator")),
            parse_time(entry.get("timestamp")),
        )
        for entry in mappings(value)
    )


class Metric(Part):
    """One metric, with the same attributes for both schemas."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.status!r})"

    name = field(text, "name", doc="The metric's name.")
    modality = shared(_modality, "modality", doc="The abbreviation of its modality.")
    stage = shared(text, "stage", doc="The stage, such as `Raw data`, `Processing` or `Analysis`.")
    history = field(_history, "status_history", doc="Every status, in the order of the record.")
    description = field(text, "description", doc="What it measures.")
    reference = field(text, "reference", doc="A figure, as a path in the asset or a link.")

    @property
    def type(self) -> str | None:
        """The kind of curation, if it is a curation."""
        return text(at(self.raw, "type")) or text(at(self.raw, "value", "type"))

    @property
    def curation_history(self) -> tuple[dict[str, Any], ...]:
        """The curators and times of a curation, as copies; empty for other metrics."""
        written = at(self.raw, "curation_history") or at(self.raw, "value", "curation_history")
        return tuple(copied(entry) for entry in mappings(written))

    @property
    def value(self) -> Any:
        """The value, of any type, a copy."""
        return copied(at(self.raw, "value"))

    @property
    def tags(self) -> dict[str, str]:
        """The tags that group it; a list becomes `tag_1`, `tag_2`, as in the upgrade to 2.x."""
        own = _tags(at(self.raw, "tags"))
        name = text(at(self._outer, "name"))
        return own if own or name is None else {"type": name}

    @property
    def evaluation(self) -> str | None:
        """The name of its evaluation; else the first of its tags."""
        tags = self.tags
        return tags.get("type") or next(iter(tags.values()), None)

    @property
    def status(self) -> QCStatus | None:
        """The last status."""
        return self.history[-1].status if self.history else None


@dataclass(frozen=True)
class Evaluation:
    """Metrics that are evaluated together.

    Attributes
    ----------
    latest_status
        The status in the record, else derived from the metrics: `Fail` if any metric failed that is
        not allowed to fail, else `Pending` if any metric is pending.
    """

    name: str | None
    modality: str | None
    stage: str | None
    metrics: tuple[Metric, ...]
    latest_status: QCStatus | None
    description: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    created: datetime | None = None
    allow_failed_metrics: bool = False


class QualityControl(View):
    """The quality control of a data asset.

    Examples
    --------
    >>> metric = {"name": "drift", "value": 3, "status_history": [{"status": "Fail"}]}
    >>> control = QualityControl({"evaluations": [{"name": "Probe A", "metrics": [metric]}]})
    >>> control.metrics, control.status
    ((Metric('drift', 'Fail'),), {'type:Probe A': 'Fail'})
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.metrics)} metrics)"

    notes = field(text, "notes", doc="Remarks.")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Every metric, in the order of the record."""
        within = (metric for evaluation in self._evaluations for metric in evaluation.metrics)
        return (*within, *self._metrics)

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The metrics in groups: those of 1.x, or the metrics of one name, modality and stage."""
        groups: dict[tuple[str | None, str | None, str | None], list[Metric]] = {}
        for metric in self._metrics:
            key = (metric.evaluation, metric.modality, metric.stage)
            groups.setdefault(key, []).append(metric)
        allowed = self._allowed
        grouped = (
            Evaluation(*key, tuple(some), _worst(_forgiven(metric, allowed) for metric in some))
            for key, some in groups.items()
        )
        return (*self._evaluations, *grouped)

    @property
    def status(self) -> dict[str, QCStatus]:
        """The status by tag (``type:Probe A``), modality and stage.

        Read from the record (before 2.4, its keys are the tags' values only), else derived from the
        metrics.
        """
        given = at(self.raw, "status")
        if isinstance(given, Mapping):
            written = {str(key): _status(value) for key, value in given.items()}
            if any(written.values()):
                return {key: status for key, status in written.items() if status is not None}
        found: dict[str, list[QCStatus | None]] = {}
        for evaluation in self._evaluations:
            name = f"type:{evaluation.name}" if evaluation.name else None
            for key in (name, evaluation.modality, evaluation.stage):
                found.setdefault(key or "", []).append(evaluation.latest_status)
        allowed = self._allowed
        for metric in self._metrics:
            tags = [f"{key}:{tag}" for key, tag in metric.tags.items()]
            for key in (*tags, metric.modality, metric.stage):
                found.setdefault(key or "", []).append(_forgiven(metric, allowed))
        joined = {key: _worst(statuses) for key, statuses in found.items() if key}
        return {key: status for key, status in joined.items() if status is not None}

    @property
    def _evaluations(self) -> tuple[Evaluation, ...]:
        """The evaluations of 1.x."""
        return tuple(map(_written, mappings(at(self.raw, "evaluations"))))

    @property
    def _metrics(self) -> tuple[Metric, ...]:
        """The metrics of 2.x."""
        return tuple(map(Metric, mappings(at(self.raw, "metrics"))))

    @property
    def _allowed(self) -> frozenset[str]:
        """The tags whose metrics may fail."""
        return frozenset(all_named(at(self.raw, "allow_tag_failures")))


def _written(evaluation: Mapping[str, Any]) -> Evaluation:
    """Return an evaluation of 1.x."""
    metrics = tuple(Metric(metric, evaluation) for metric in mappings(evaluation.get("metrics")))
    forgiving = evaluation.get("allow_failed_metrics") is True
    derived = _worst(
        "Pass" if forgiving and metric.status == "Fail" else metric.status for metric in metrics
    )
    return Evaluation(
        name=text(evaluation.get("name")),
        modality=_modality(evaluation.get("modality")),
        stage=text(evaluation.get("stage")),
        metrics=metrics,
        latest_status=_status(evaluation.get("latest_status")) or derived,
        description=text(evaluation.get("description")),
        tags=all_named(evaluation.get("tags")),
        notes=text(evaluation.get("notes")),
        created=parse_time(evaluation.get("created")),
        allow_failed_metrics=forgiving,
    )


def _forgiven(metric: Metric, allowed: frozenset[str]) -> QCStatus | None:
    """Return a metric's status: `Pass` for a failed metric that is allowed to fail."""
    may_fail = any(tag in allowed or f"{key}:{tag}" in allowed for key, tag in metric.tags.items())
    return "Pass" if may_fail and metric.status == "Fail" else metric.status


def _worst(statuses: Iterable[QCStatus | None]) -> QCStatus | None:
    found = set(statuses)
    for status in ("Fail", "Pending", "Pass"):
        if status in found:
            return status
    return None


def _tags(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        found = {str(key): text(tag) for key, tag in value.items()}
        return {key: tag for key, tag in found.items() if tag is not None}
    return {f"tag_{number}": tag for number, tag in enumerate(all_named(value), start=1)}
