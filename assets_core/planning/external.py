"""Data that others write and our assets read: where it is, and whether it changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import xxhash

from assets_core.errors import StorageError
from assets_core.planning.asset_state import AssetState

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.definition.partitions.base import PartitionsDefinition

_CHUNK_BYTES = 1 << 20


def external_location(asset: Asset, partition: str | None) -> str:
    """Path or URL of one partition: the asset's template with `{partition}` filled in."""
    template = asset.path
    if template is None:
        raise AssertionError(f"{asset.key} is not external")
    return template if partition is None else template.replace("{partition}", partition)


class ExternalFiles:
    """The file of one external asset partition, as IO managers read files."""

    def __init__(self, asset: Asset, partition: str | None) -> None:
        self._location = external_location(asset, partition)

    @property
    def names(self) -> tuple[str, ...]:
        """The one file's name."""
        return (self._location.rpartition("/")[2],)

    def open(self, name: str) -> BinaryIO:
        """A seekable reader of the file."""
        path = self.local_path(name)
        if path is not None:
            return path.open("rb")
        import fsspec

        stream: BinaryIO = fsspec.open(self._location, "rb").open()
        return stream

    def local_path(self, name: str) -> Path | None:
        """The file on the local disk, None for a remote one."""
        return _local(self._location)


def observe_external(asset: Asset, definition: PartitionsDefinition) -> AssetState:
    """What is there of an external asset: version 1 of each partition whose file exists, by a hash of its content.

    A remote file counts by the checksum its store gives.
    """
    state = AssetState(definition)
    for ordinal, key in enumerate(definition.keys()):
        found = _content_hash(external_location(asset, key))
        if found is not None:
            state.seq[ordinal] = state.taken[ordinal] = 1
            state.data[ordinal] = np.uint64(found)
    return state


def _local(location: str) -> Path | None:
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    return None if "://" in location else Path(location)


def _content_hash(location: str) -> int | None:
    path = _local(location)
    try:
        if path is not None:
            digest = xxhash.xxh3_64()
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
            return digest.intdigest()
        import fsspec

        filesystem, name = fsspec.core.url_to_fs(location)
        return xxhash.xxh3_64_intdigest(str(filesystem.checksum(name)).encode())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            "external-unreadable",
            f"the external file {location} cannot be read.",
            why=str(error),
            do="check the path and its permissions.",
        ) from error
