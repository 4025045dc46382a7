"""A program's own tests, which patch the utilities that they call."""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest import mock

from upath import UPath

import aind_session
from aind_session.utils import codeocean_utils


def get_stream_names(asset_id: str) -> list[str]:
    _, compressed = aind_session.ecephys.get_clipped_and_compressed_dirs(asset_id)
    return sorted(path.stem for path in compressed.iterdir())


def get_last_line(asset_id: str) -> str:
    return codeocean_utils.get_output_text(asset_id).splitlines()[-1]


def main() -> None:
    asset_id, folder = sys.argv[1], UPath(sys.argv[2])
    with mock.patch.object(codeocean_utils, "get_data_asset_source_dir", return_value=folder):
        report: dict[str, Any] = {
            "streams": get_stream_names(asset_id),
            "log": get_last_line(asset_id),
        }
    with mock.patch.object(codeocean_utils, "get_codeocean_client") as get_client:
        get_client.return_value.data_assets.get_data_asset.side_effect = ValueError("patched")
        try:
            codeocean_utils.get_data_asset_model(asset_id)
        except ValueError as error:
            report["error"] = str(error)
    codeocean_utils.get_data_asset_source_dir.cache_clear()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
