"""Utility functions, under the names of version 0.3. Each is imported when it is first used.

====================  ==========================================================
`codeocean_utils`     data assets, computations, their logs
`docdb_utils`         metadata records
`s3_utils`            folders in the data buckets
`misc_utils`          `get_ttl_hash`, `testmod`
====================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aind_session.utils import codeocean_utils as codeocean_utils
    from aind_session.utils import docdb_utils as docdb_utils
    from aind_session.utils import misc_utils as misc_utils
    from aind_session.utils import s3_utils as s3_utils
    from aind_session.utils.codeocean_utils import *  # noqa: F403
    from aind_session.utils.docdb_utils import *  # noqa: F403
    from aind_session.utils.misc_utils import *  # noqa: F403
    from aind_session.utils.s3_utils import *  # noqa: F403

# The names in each module.
_MODULES = {
    "codeocean_utils": """
        get_codeocean_client get_codeocean_model get_data_asset_model get_data_asset_search_query
        get_data_asset_source_dir get_data_assets get_normalized_uuid get_output_text
        get_subject_data_assets is_computation_error is_data_asset_error is_output_error
        is_output_file_from_sorting_pipeline is_raw_data_asset search_computations
        search_data_assets sort_by_created wait_until_ready
    """,
    "docdb_utils": """
        extract_codeocean_data_asset_ids_from_docdb_record get_codeocean_data_asset_ids_from_docdb
        get_docdb_api_client get_docdb_record get_subject_docdb_records
    """,
    "misc_utils": "get_ttl_hash testmod",
    "s3_utils": "S3_DATA_BUCKET_NAMES get_bucket_and_prefix get_source_dir_by_name",
}

#: Module of each name: here, and at the top of the package.
HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(HOME, key=lambda name: (not name.isupper(), name))


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"aind_session.utils.{name}")
    if name not in HOME:
        raise AttributeError(f"module 'aind_session.utils' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"aind_session.utils.{HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]
