"""Exit codes, for scripts."""

from __future__ import annotations

#: Found, or done.
FOUND = 0
#: Every service that can answer was asked and knows nothing; or a check failed.
NOT_FOUND = 1
#: The command line cannot be understood.
USAGE = 2
#: A service or a credential did not let it be found out.
UNKNOWN = 3
INTERRUPTED = 130
#: What a shell tells of a program whose output nobody reads any more.
UNREAD = 141
