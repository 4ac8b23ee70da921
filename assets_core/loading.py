"""Reading published data and its history."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from assets_core.engine.managers import manager_of, writer_of
from assets_core.errors import NotFoundError
from assets_core.project.partition_selection import parse_partitions
from io_managers.formats.annotations import item_type
from io_managers.formats.loading import load_value
from io_managers.formats.protocol import SupportsConcat
from io_managers.keys import format_asset_partition

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.definition.partitions.base import PartitionsDefinition, PartitionSet, StoredKeys
    from assets_core.project.project import Project
    from assets_core.state.rows import PublicationRow
    from assets_core.state.store import StateStore
    from io_managers.formats.protocol import FileSource
    from io_managers.versions.publication import Publication
    from io_managers.versions.store import VersionStore


@dataclass(frozen=True)
class VersionRow:
    """One version of an asset partition.

    Attributes:
        version: `v7` for the version number 7.
        published_at: Aware, UTC.
        rows: None for what is not a table.
        current: Whether readers see it.
    """

    version: str
    partition: str | None
    published_at: dt.datetime
    run_id: str
    rows: int | None
    bytes: int
    code_version: str
    data_version: str
    kind: str
    current: bool


@dataclass(frozen=True)
class PublishedData:
    """What is published on one branch.

    Attributes:
        state: Up to date with the log.
        now: The instant at which open-ended partitions are closed.
        resolve: Partitions of an asset that are `missing`, `stale` or `failed`.
        stored: Keys of dynamic partitions.
    """

    project: Project
    versions: VersionStore
    state: StateStore
    now: dt.datetime
    resolve: Callable[[str, str], PartitionSet]
    stored: StoredKeys | None = None

    def history(self, key: str, partition: str | None = None) -> list[VersionRow]:
        """Every version of an asset, newest first; `partition` narrows to one, also to one that is no longer defined.

        Raises:
            NotFoundError: `partition-not-found`, `asset-not-found`.
        """
        space = self._space(self.project.require(key))
        rows = self._rows(key, partition)
        if partition is not None and not rows:
            space.ordinal(partition)
        newest: dict[str | None, int] = {}
        for row in rows:
            newest[row.partition] = max(row.seq, newest.get(row.partition, 0))
        return [_version_row(row, is_newest=row.seq == newest[row.partition]) for row in rows]

    def load(
        self,
        key: str,
        partition: str | None = None,
        *,
        as_type: Any = None,
        columns: Sequence[str] | None = None,
        as_of: dt.datetime | None = None,
    ) -> Any:
        """Published data of an asset.

        Args:
            key: The asset.
            partition: A partition expression (a key, a range, `latest:7`, ...); None for all that is published.
            as_type: Wanted type, as an input's annotation; None for the asset's own, by partition in a dict when
                several partitions cannot be joined into one value.
            columns: Columns of a table, None for all.
            as_of: What was current at an aware instant, instead of now.

        Raises:
            NotFoundError: `nothing-published`: none of the partitions has a version (at that time).
        """
        asset = self.project.require(key)
        manager = own = manager_of(asset)
        if asset.function is None:
            sources = self._external_sources(asset, partition)
        else:
            versions = self._published_versions(asset, partition, as_of)
            manager = writer_of(asset, own, versions)
            sources = [(version.partition, self.versions.files(version)) for version in versions]
        if not sources:
            when = f" as of {as_of.isoformat()}" if as_of else ""
            option = f" -p {shlex.quote(partition)}" if partition else ""
            raise NotFoundError(
                "nothing-published",
                f"nothing is published of {format_asset_partition(key, partition)}{when}.",
                why="it was never materialized, it was dropped, or a quality gate held it back.",
                do=f"assetline status {key}; assetline materialize {key}{option}",
            )
        if as_type is None:
            # what an earlier code stored in another format is given as that format has it
            output = _own_type(asset) if manager is own else Any
            # what cannot be joined comes by partition, so that a range can be asked of any asset
            joins = len(sources) == 1 or isinstance(manager, SupportsConcat)
            as_type = output if joins else dict[str, output]  # type: ignore[valid-type]
        return load_value(manager, sources, as_type, columns)

    def _space(self, asset: Asset) -> PartitionsDefinition:
        return asset.partition_space.at(self.now, self.stored)

    def _rows(self, key: str, partition: str | None) -> list[PublicationRow]:
        if partition is None:
            return self.state.publications(self.versions.branch, key)
        return self.state.publications(self.versions.branch, key, partition)

    def _chosen(self, asset: Asset, partition: str | None) -> PartitionSet:
        space = self._space(asset)
        if partition is None:
            return space.all()
        return parse_partitions(partition, space, lambda word: self.resolve(asset.key, word))

    def _external_sources(self, asset: Asset, partition: str | None) -> list[tuple[str | None, FileSource]]:
        from assets_core.planning.external import ExternalFiles, observe_external

        space = self._space(asset)
        present = observe_external(asset, space).seq
        return [
            (space.key(ordinal), ExternalFiles(asset, space.key(ordinal)))
            for ordinal in self._chosen(asset, partition).ordinals()
            if present[ordinal]
        ]

    def _published_versions(
        self, asset: Asset, partition: str | None, as_of: dt.datetime | None
    ) -> list[Publication]:
        chosen = self._chosen(asset, partition)
        single = next(iter(chosen.keys())) if len(chosen) == 1 else None
        newest: dict[str | None, PublicationRow] = {}
        for row in self._rows(asset.key, single):
            if as_of is not None and row.published_at > as_of.timestamp():
                continue
            before = newest.get(row.partition)
            if before is None or row.seq > before.seq:
                newest[row.partition] = row
        # in the order of the definition; what an earlier definition published only history has
        keys = chosen.keys()
        rows = [newest[name] for name in keys if name in newest]
        return [
            self.versions.require(asset.key, row.partition, row.seq) for row in rows if row.kind != "drop"
        ]


def _own_type(asset: Asset) -> Any:
    """The type that an asset returns; the whole of one that yields its value in pieces."""
    piece = item_type(asset.output)
    return asset.output if piece is Parameter.empty else piece


def _version_row(row: PublicationRow, *, is_newest: bool) -> VersionRow:
    return VersionRow(
        f"v{row.seq}",
        row.partition,
        dt.datetime.fromtimestamp(row.published_at, dt.UTC),
        row.run_id,
        row.rows,
        row.size_bytes,
        row.code_version,
        row.data_version,
        row.kind,
        is_newest and row.kind != "drop",
    )
