"""The verbs: a module each, with a function `register` that adds it to the app.

A module of a verb imports nothing that asks a service before its verb is called: `--help` loads
all of them.
"""

from __future__ import annotations

#: Modules of the verbs, in the order in which `--help` lists them.
MODULES = (
    *("verbs.show", "verbs.list_sessions", "verbs.explain", "verbs.open_page", "run"),
    *("doctor", "verbs.snapshot"),
)
