"""Metadata records of schema 1.x and 2.x: one class that reads both.

A record is a JSON object of DocDB. Its core files (`subject`, `acquisition`, ...) are each read by
their own keys and `schema_version`, never by the database of the record: records with core files of
both schemas exist.
"""

from __future__ import annotations

from aind_session.records.modalities import modality_abbreviation as modality_abbreviation
from aind_session.records.processing import Pipeline as Pipeline
from aind_session.records.processing import Procedure as Procedure
from aind_session.records.processing import Procedures as Procedures
from aind_session.records.processing import Processing as Processing
from aind_session.records.processing import ProcessingStep as ProcessingStep
from aind_session.records.processing import input_names as input_names
from aind_session.records.quality_control import Evaluation as Evaluation
from aind_session.records.quality_control import Metric as Metric
from aind_session.records.quality_control import QualityControl as QualityControl
from aind_session.records.quality_control import StatusChange as StatusChange
from aind_session.records.record import QUESTIONS as QUESTIONS
from aind_session.records.record import Answers as Answers
from aind_session.records.record import Record as Record
from aind_session.records.record import session_of_description as session_of_description
from aind_session.records.times import parse_date as parse_date
from aind_session.records.times import parse_time as parse_time
