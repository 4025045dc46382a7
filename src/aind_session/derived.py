"""Derived data assets: Code Ocean's own model, with what made each and the way back to raw data."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from aind_session.lookup import belonging, derived, folders, outputs
from aind_session.lookup.derived import Maker
from aind_session.services import storage
from aind_session.services.models import AssetSummary, decode_asset, decode_assets
from aind_session.services.sdk import DataAsset

if TYPE_CHECKING:
    from typing_extensions import Self
    from upath import UPath


# The SDK has no `py.typed`, so that for mypy its model is of no type; read all the same, it exports
# none of its names, and a hundred lines elsewhere would need this.
class ExtendedDataAsset(DataAsset):  # type: ignore[misc]
    """A data asset that tells more of itself; equal to the plain model of the same asset."""

    id: str
    name: str
    created: int

    @classmethod
    def of(cls, asset: DataAsset) -> Self:
        """Make one of the plain model."""
        return cls(**{f.name: getattr(asset, f.name) for f in fields(DataAsset)})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataAsset):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(DataAsset))

    def __hash__(self) -> int:
        return hash(self.id)


class DerivedDataAsset(ExtendedDataAsset):
    """A data asset that was made of others; equal to the plain model of the same asset.

    Each property asks when it is read.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> asset = session.get_derived_data_assets("sorted")[-1]
    >>> asset.label, asset.is_error
    ('sorted', False)
    >>> asset.provenance_chain[-1] == session.raw_data_asset
    True
    """

    _summary: AssetSummary

    @classmethod
    def of_summary(cls, summary: AssetSummary) -> Self:
        """Make one of what a search tells of an asset."""
        made = cls.of(decode_asset(summary.raw))
        # The model is frozen; the summary is no field of it, and not compared.
        object.__setattr__(made, "_summary", summary)
        return made

    @property
    def label(self) -> str | None:
        """The last label in the name, as written: `sorted-ks2.5`; None for a name of its own."""
        return belonging.label_of(self.name)

    @property
    def path(self) -> UPath | None:
        """Folder of the files, in S3; None where the asset does not tell."""
        folder = folders.of_asset(self._summary)
        return None if folder is None else storage.path(folder.bucket, folder.prefix)

    @property
    def is_error(self) -> bool:
        """Whether the run that left it failed, by its log and by what it left."""
        return outputs.is_asset_error(self._summary)

    @property
    def made_by(self) -> Maker:
        """Capsule or pipeline, commit, run and parameters, as far as these are told."""
        return derived.maker(self._summary)

    @property
    def provenance_chain(self) -> tuple[DataAsset, ...]:
        """The assets that it was made of, nearest first, back to raw data.

        Combined and intermediate assets are part of it; what is gone or closed ends its branch.
        So does a service that does not answer, with a `PartialAnswerWarning`.

        Raises
        ------
        ServiceError, CredentialsError
            Of no asset could be found out what it was made of.
        """
        return decode_assets(asset.raw for asset in derived.chain(self._summary))
