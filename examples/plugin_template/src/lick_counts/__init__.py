"""Licks of behavior sessions: a template of namespaces for `aind-session`."""
