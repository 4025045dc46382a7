"""The Code Ocean SDK: all names that are used of it, imported at once.

Its modules import each other in circles. Threads that begin with different ones of them at the same
time meet halves, and fail; the lock of this one module lets the first do it and the others wait.
Nothing else imports the SDK.
"""

from __future__ import annotations

from codeocean import CodeOcean
from codeocean.components import Permissions
from codeocean.computation import (
    Computation,
    DataAssetsRunParam,
    NamedRunParam,
    RunParams,
)
from codeocean.data_asset import (
    AWSS3Source,
    ComputationSource,
    DataAsset,
    DataAssetParams,
    Source,
)
from codeocean.error import Error

__all__ = [
    "AWSS3Source",
    "CodeOcean",
    "Computation",
    "ComputationSource",
    "DataAsset",
    "DataAssetParams",
    "DataAssetsRunParam",
    "Error",
    "NamedRunParam",
    "Permissions",
    "RunParams",
    "Source",
]
