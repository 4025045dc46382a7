"""`python -m aind_session` is the command `aind-session`."""

from __future__ import annotations

import sys

from aind_session.cli import main

if __name__ == "__main__":
    sys.exit(main())
