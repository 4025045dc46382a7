"""Former name of `services.s3`, until every import is changed."""

from __future__ import annotations

from aind_session.services.s3 import *  # noqa: F403
