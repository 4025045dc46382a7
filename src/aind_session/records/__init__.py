"""Readers of metadata records: one per core file, both generations, one answer.

A record is a JSON object of the document database. Its core files (`subject`, `acquisition`, ...)
are each read by their own keys and `schema_version`, never by the database the record came from:
records that mix both generations exist.
"""

from __future__ import annotations

from aind_session.records.modalities import modality_abbreviation
from aind_session.records.procedures import Procedure, Procedures
from aind_session.records.processing import Pipeline, Processing, ProcessingStep
from aind_session.records.quality_control import (
    Evaluation,
    Metric,
    QualityControl,
    StatusChange,
)
from aind_session.records.record import QUESTIONS, Record
from aind_session.records.sources import input_names, session_of_description
from aind_session.records.times import parse_date, parse_time

__all__ = [
    "QUESTIONS",
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
