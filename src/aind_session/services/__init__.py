"""Requests to each service, in its own client's terms; independent of sessions."""

from __future__ import annotations

import logging

# Silent by default: without a handler Python itself would write warnings to the terminal.
logging.getLogger("aind_session").addHandler(logging.NullHandler())
