"""A launcher that replaces `subject.ibl_data_converter` by its own class, made of the package's."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import aind_session
from aind_session.extension import register_namespace
from aind_session.extensions.smartspim_neuropixels import (
    SCRATCH_STORAGE_DIR,
    IBLDataConverterExtension,
)

logging.basicConfig(level=logging.WARNING)


@register_namespace(name="ibl_data_converter", cls=aind_session.Subject)
class OwnConverter(IBLDataConverterExtension):
    """The converter, with a folder of manifests of its own."""

    storage_dir = SCRATCH_STORAGE_DIR.parent / "ibl_annotation_temp" / "manifests"

    @property
    def csv_manifest_path(self) -> Any:
        return self.storage_dir / self._base.id / f"{self._base.id}_data_converter_manifest.csv"


def main() -> None:
    converter: Any = aind_session.Subject(sys.argv[1]).ibl_data_converter
    bucket, prefix = aind_session.get_bucket_and_prefix(converter.csv_manifest_path)
    print(
        json.dumps(
            {
                "class": type(converter).__name__,
                "bucket": bucket,
                "prefix": prefix,
                "surface": converter.surface_recording_names,
            }
        )
    )


if __name__ == "__main__":
    main()
