"""Metadata records of schema 1.x and 2.x: one class that reads both.

A record is a JSON object of DocDB. Its core files (`subject`, `acquisition`, ...) are each read by
their own keys and `schema_version`, never by the database of the record: records with core files of
both schemas exist.
"""

from __future__ import annotations

from aind_session.records.modalities import modality_abbreviation
from aind_session.records.processing import (
    Pipeline,
    Procedure,
    Procedures,
    Processing,
    ProcessingStep,
)
from aind_session.records.quality_control import (
    Evaluation,
    Metric,
    QualityControl,
    StatusChange,
)
from aind_session.records.record import QUESTIONS, Answers, Record
from aind_session.records.sources import input_names, session_of_description
from aind_session.records.times import parse_date, parse_time

__all__ = [
    "QUESTIONS",
    "Answers",
    "Evaluation",
    "Metric",
    "Pipeline",
    "Procedure",
    "Procedures",
    "Processing",
    "ProcessingStep",
    "QualityControl",
    "Record",
    "StatusChange",
    "input_names",
    "modality_abbreviation",
    "parse_date",
    "parse_time",
    "session_of_description",
]
