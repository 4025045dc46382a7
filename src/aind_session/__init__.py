"""Find a session's data by its ID: assets, folders, metadata, modalities, sorting results.

Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aind_session.utils import HOME as _UTILITIES

if TYPE_CHECKING:
    from aind_session.attached_data import attached as attached
    from aind_session.attached_data import get_asset_dir as get_asset_dir
    from aind_session.errors import AindSessionError as AindSessionError
    from aind_session.errors import NotFoundError as NotFoundError
    from aind_session.errors import PartialAnswerWarning as PartialAnswerWarning
    from aind_session.errors import ServiceError as ServiceError
    from aind_session.extension import ExtensionBaseClass as ExtensionBaseClass
    from aind_session.extension import namespaces as namespaces
    from aind_session.extension import register_namespace as register_namespace
    from aind_session.extensions.docdb import get_record as get_record
    from aind_session.extensions.ecephys import EcephysExtension
    from aind_session.extensions.lims import LimsExtension
    from aind_session.runs import RunPlan as RunPlan
    from aind_session.runs import RunReport as RunReport
    from aind_session.runs import read_run as read_run
    from aind_session.runs import resume_run as resume_run
    from aind_session.sandbox import Catalogue as Catalogue
    from aind_session.sandbox import Sandbox as Sandbox
    from aind_session.sandbox import sandbox as sandbox
    from aind_session.search import get_sessions as get_sessions
    from aind_session.search import iter_sessions as iter_sessions
    from aind_session.search import list_modalities as list_modalities
    from aind_session.search import list_platforms as list_platforms
    from aind_session.search import list_projects as list_projects
    from aind_session.search import list_subjects as list_subjects
    from aind_session.session import Session as Session
    from aind_session.sessions import Sessions as Sessions
    from aind_session.subject import Subject as Subject
    from aind_session.utils.codeocean_utils import *  # noqa: F403
    from aind_session.utils.docdb_utils import *  # noqa: F403
    from aind_session.utils.misc_utils import *  # noqa: F403
    from aind_session.utils.s3_utils import *  # noqa: F403

    ecephys = EcephysExtension
    lims = LimsExtension
    __version__: str

# Where each public name lives.
_HOME = {name: f"utils.{module}" for name, module in _UTILITIES.items()} | {
    "AindSessionError": "errors",
    "Catalogue": "sandbox.catalogue",
    "ExtensionBaseClass": "extension",
    "NotFoundError": "errors",
    "PartialAnswerWarning": "errors",
    "RunPlan": "runs",
    "RunReport": "runs",
    "Sandbox": "sandbox",
    "ServiceError": "errors",
    "Session": "session",
    "Sessions": "sessions",
    "Subject": "subject",
    "attached": "attached_data",
    "ecephys": "extensions.ecephys:EcephysExtension",
    "get_asset_dir": "attached_data",
    "get_record": "extensions.docdb",
    "get_sessions": "search",
    "iter_sessions": "search",
    "list_modalities": "search",
    "list_platforms": "search",
    "list_projects": "search",
    "list_subjects": "search",
    "lims": "extensions.lims:LimsExtension",
    "namespaces": "extension",
    "read_run": "runs",
    "register_namespace": "extension",
    "resume_run": "runs",
    "sandbox": "sandbox:",
}

# Modules that are there after `import aind_session` alone, though not offered by completion.
_MODULES = frozenset(
    {"errors", "extension", "extensions", "identifiers", "plots", "records", "search", "session"}
    | {"sessions", "settings", "subject", "testing"}
)

__all__ = [*sorted(_HOME, key=lambda name: (not name.isupper(), name)), "__version__"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("aind-session")
    elif name in _HOME:
        module, whole, attribute = _HOME[name].partition(":")
        found = importlib.import_module(f"aind_session.{module}")
        value = found if whole and not attribute else getattr(found, attribute or name)
    elif name in _MODULES:
        value = importlib.import_module(f"aind_session.{name}")
    else:
        raise AttributeError(f"module 'aind_session' has no attribute {name!r}")
    globals()[name] = value
    return value


def _start_sandbox(wanted: str) -> None:
    """Start the sandbox that the environment or a `.env` file requests."""
    from aind_session.sandbox import autostart

    autostart(wanted)


def __dir__() -> list[str]:
    return list(__all__)
