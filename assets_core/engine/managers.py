"""Which IO manager reads the versions of an asset: the one that wrote them, whatever the code says now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from assets_core.errors import FormatError
from io_managers.formats.registry import io_manager_name_for, load_io_manager
from io_managers.keys import format_asset_partition

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from io_managers.formats.protocol import IOManager
    from io_managers.versions.publication import Publication


def manager_of(asset: Asset) -> IOManager:
    """The IO manager that stores an asset from now on."""
    return load_io_manager(
        asset.io_manager if asset.io_manager is not None else io_manager_name_for(asset.output)
    )


def writer_of(asset: Asset, own: IOManager, versions: Sequence[Publication]) -> IOManager:
    """The IO manager that wrote some versions of an asset; its own when there are none.

    Args:
        asset: The definition.
        own: `manager_of` the asset.
        versions: To be read together.

    Raises:
        FormatError: `formats-differ`: they were written by several.
    """
    first = versions[0] if versions else None
    if first is None or all(version.io_manager == own.name for version in versions):
        return own
    for other in versions:
        if other.io_manager != first.io_manager:
            names = [format_asset_partition(asset.key, version.partition) for version in (first, other)]
            raise FormatError(
                "formats-differ",
                f"{names[0]} and {names[1]} cannot be read together.",
                why=f"the first is stored as {first.io_manager}, the second as {other.io_manager}: "
                "the asset's format has changed in between.",
                do=f"assetline materialize {asset.key} brings all partitions to the new one.",
            )
    return load_io_manager(first.io_manager)
