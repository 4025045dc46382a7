"""The platform of a session whose name does not say: today's names have none."""

from __future__ import annotations

from dataclasses import replace

from aind_session.identifiers import SessionID
from aind_session.lookup import assets, belonging, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.filters import todays_platform


def of(session: SessionID) -> str | None:
    """Give a session's platform by its name, else by the assets and records of that name."""
    if session.platform is not None:
        return session.platform
    with trail.following(session.id, "platform"):
        known = assets.of_session(session, "the platform")
        found = of_known(known)
        if found is None:
            opened = replace(known, assets=assets.open_linked(known))
            found = of_known(opened)
        if found is None:
            known.gaps.warn()
        return found


def of_known(known: Known) -> str | None:
    """Give the platform that a session's assets and records tell, those of raw data first."""
    for asset in sorted(known.assets, key=lambda a: not belonging.is_raw(a)):
        told = asset.custom_metadata.get("experiment type")
        if told:
            return todays_platform(str(told))
    for row in sorted(known.rows, key=lambda r: not belonging.named(r.name).is_raw):
        told = row.record.platform
        if told:
            return todays_platform(told)
    return _of_other_spelling(known)


def _of_other_spelling(known: Known) -> str | None:
    for name in (*(a.name for a in known.assets), *(r.name for r in known.rows)):
        found = belonging.session_of(name)
        if found is not None and found.platform is not None:
            return found.platform
    return None
