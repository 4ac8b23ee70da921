"""What is published of one asset, as arrays over the ordinals of its partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assets_core.planning.fingerprint import mix, name_hash

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import PartitionsDefinition
    from assets_core.state.rows import Heads, Outcomes
    from io_managers.versions.publication import Publication

U64 = npt.NDArray[np.uint64]

#: Values of `AssetState.outcome`: how the last try ended when it published nothing.
NO_OUTCOME, FAILED, BLOCKED = 0, 1, 2


class AssetState:
    """The current versions of an asset's partitions and the outcome of failed tries.

    All arrays have one element per ordinal of `definition`. `seq` is 0 where nothing is published.
    """

    def __init__(self, definition: PartitionsDefinition) -> None:
        n = len(definition)
        self.definition = definition
        self.seq = np.zeros(n, np.int64)
        self.taken = np.zeros(n, np.int64)
        self.code = np.zeros(n, np.uint64)
        self.config = np.zeros(n, np.uint64)
        self.data = np.zeros(n, np.uint64)
        self.published_at = np.zeros(n, np.float64)
        self.held = np.zeros(n, np.bool_)
        self.inputs: dict[str, U64] = {}
        self.columns: dict[str, U64] = {}
        self.outcome = np.zeros(n, np.uint8)
        self.outcome_basis = np.zeros(n, np.uint64)
        self.record_hash: dict[int, str] = {}
        self._heads: Heads | None = None
        self._head_rows: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._mixed: dict[tuple[str, ...] | None, U64] = {}

    @classmethod
    def build(
        cls, definition: PartitionsDefinition, heads: Heads | None, outcomes: Outcomes | None
    ) -> AssetState:
        """Lay the rows of the state store out by ordinal; partitions outside the definition are left out."""
        state = cls(definition)
        if heads is not None and len(heads.positions):
            rows, ordinals = _locate(definition, heads.positions)
            state._heads = heads
            state._head_rows = np.full(len(definition), -1, np.int64)
            state._head_rows[ordinals] = rows
            state.taken[ordinals] = heads.seq[rows]
            state.seq[ordinals] = np.where(heads.dropped[rows], 0, heads.seq[rows])
            state.code[ordinals] = heads.code_version[rows]
            state.config[ordinals] = heads.config_version[rows]
            state.data[ordinals] = heads.data_version[rows]
            state.published_at[ordinals] = heads.published_at[rows]
            state.held[ordinals] = heads.held[rows]
            for target, source in ((state.inputs, heads.inputs), (state.columns, heads.columns)):
                for name, values in source.items():
                    target[name] = np.zeros(len(definition), np.uint64)
                    target[name][ordinals] = values[rows]
        if outcomes is not None and len(outcomes.positions):
            rows, ordinals = _locate(definition, outcomes.positions)
            state.outcome[ordinals] = np.where(outcomes.blocked[rows], BLOCKED, FAILED)
            state.outcome_basis[ordinals] = outcomes.basis[rows]
        return state

    def publish(self, ordinal: int, publication: Publication, published_at: float) -> None:
        """Take a publication up, so that the steps after it read it."""
        self.seq[ordinal] = self.taken[ordinal] = publication.seq
        self.code[ordinal] = int(publication.code_version, 16)
        self.config[ordinal] = int(publication.config_version, 16)
        self.data[ordinal] = int(publication.data_version[:16], 16)
        self.published_at[ordinal] = published_at
        self.record_hash[ordinal] = publication.self_hash
        self.outcome[ordinal] = NO_OUTCOME
        for name, value in publication.column_hashes.items():
            if name not in self.columns:
                self.columns[name] = np.zeros(len(self.seq), np.uint64)
            self.columns[name][ordinal] = int(value, 16)
        for name, use in publication.inputs.items():
            if name not in self.inputs:
                self.inputs[name] = np.zeros(len(self.seq), np.uint64)
            self.inputs[name][ordinal] = int(use.fingerprint, 16)
        for columns, mixed in self._mixed.items():
            at = slice(ordinal, ordinal + 1)
            mixed[at] = self._mix(columns, at)

    def hash_of_record(self, ordinal: int) -> str:
        """`self_hash` of the current record, "" where there is none."""
        known = self.record_hash.get(ordinal)
        if known is None:
            row = self._head_rows[ordinal] if len(self._head_rows) else -1
            known = self._heads.record_hash(int(row)) if self._heads is not None and row >= 0 else ""
            self.record_hash[ordinal] = known
        return known

    def mixed(self, columns: tuple[str, ...] | None) -> U64:
        """For each ordinal a hash of its position and its content, 0 where nothing is published.

        `columns` restricts the content to these columns, as far as their hashes are known: a version without
        them counts with all of its content.
        """
        found = self._mixed.get(columns)
        if found is None:
            found = self._mixed[columns] = self._mix(columns, slice(None))
        return found

    def _mix(self, columns: tuple[str, ...] | None, at: slice) -> U64:
        content = self.data[at]
        known = [name for name in columns or () if name in self.columns]
        if columns is not None and known:
            part = np.zeros(len(content), np.uint64)
            has_columns = np.zeros(len(content), np.bool_)
            for name in known:
                values = self.columns[name][at]
                has_columns |= values != 0
                part += np.where(values != 0, mix(name_hash(name), values), np.uint64(0))
            content = np.where(has_columns, part, content)
        positions = self.definition.positions()[at]
        return np.where(self.seq[at] > 0, mix(positions, content), np.uint64(0))


def _locate(
    definition: PartitionsDefinition, positions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of `positions` that belong to the definition, and their ordinals."""
    own = definition.positions()
    if not len(own):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order: npt.NDArray[np.int64] | None = None
    if len(own) > 1 and not bool(np.all(own[1:] > own[:-1])):
        order = np.argsort(own, kind="stable")
        own = own[order]
    where = np.minimum(np.searchsorted(own, positions), len(own) - 1)
    rows = np.flatnonzero(own[where] == positions)
    ordinals = where[rows]
    return rows, ordinals if order is None else order[ordinals]
