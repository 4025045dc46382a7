"""Answers of the core file `subject`.

In 1.x they stand in the file itself, in 2.x under `subject_details`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from aind_session.records.shape import at, either, is_second_generation, named, text
from aind_session.records.times import parse_date

_BREEDING = (
    "breeding_group",
    "maternal_genotype",
    "maternal_id",
    "paternal_genotype",
    "paternal_id",
)
_YEARS = range(1900, 2200)


def subject_id(core: Any) -> str | None:
    """Read the subject's ID."""
    return text(at(core, "subject_id"))


def genotype(core: Any) -> str | None:
    """Read the genotype; only mice have one."""
    return either(core, ("genotype",), ("subject_details", "genotype"), text)


def sex(core: Any) -> str | None:
    """Read the sex, `Male` or `Female`."""
    return either(core, ("sex",), ("subject_details", "sex"), text)


def date_of_birth(core: Any) -> date | None:
    """Read the date of birth."""
    return either(core, ("date_of_birth",), ("subject_details", "date_of_birth"), parse_date)


def year_of_birth(core: Any) -> int | None:
    """Read the year of birth, which is all that records tell of people and some primates."""
    year = either(core, ("year_of_birth",), ("subject_details", "year_of_birth"), _year)
    if year is not None:
        return year
    born = date_of_birth(core)
    return born.year if born else None


def strain(core: Any) -> str | None:
    """Read the background strain."""
    return either(core, ("background_strain",), ("subject_details", "strain"), named)


def species(core: Any) -> str | None:
    """Read the species' Latin name."""
    return either(core, ("species",), ("subject_details", "species"), named)


def breeding(core: Any) -> dict[str, str] | None:
    """Read what is known of the parents."""
    places = [at(core, "subject_details", "breeding_info"), at(core, "breeding_info"), core]
    if not is_second_generation(core):
        places = [*places[1:], places[0]]
    for place in places:
        if isinstance(place, Mapping):
            answers = {key: text(place.get(key)) for key in _BREEDING}
            known = {key: answer for key, answer in answers.items() if answer is not None}
            if known:
                return known
    return None


def _year(value: Any) -> int | None:
    digits = text(value) or ""
    return (
        int(digits) if digits.isdecimal() and len(digits) == 4 and int(digits) in _YEARS else None
    )
