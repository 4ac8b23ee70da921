"""What is published of one asset, as arrays over the ordinals of its partitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from assets_core.planning.fingerprint import mix, name_hash

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import PartitionsDefinition
    from assets_core.state.rows import Heads, Outcomes
    from io_managers.versions.publication import Publication

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_Item = TypeVar("_Item", bound=np.generic)

#: Values of `AssetState.outcome`: how the last try ended when it published nothing.
NO_OUTCOME, FAILED, BLOCKED = 0, 1, 2


class _Layout:
    """Which rows of the state store belong to which ordinals."""

    def __init__(self, definition: PartitionsDefinition, positions: I64) -> None:
        own = definition.positions()
        self._n = len(own)
        #: Rows and their ordinals; None where row and ordinal are the same throughout.
        self._places: tuple[I64, I64] | None = None
        if len(own) != len(positions) or not bool((own == positions).all()):
            self._places = _locate(own, positions)

    def lay_out(self, values: npt.NDArray[_Item]) -> npt.NDArray[_Item]:
        """Values by ordinal, 0 where there is no row; not a copy where row and ordinal are the same."""
        if self._places is None:
            return values
        rows, ordinals = self._places
        found = np.zeros(self._n, values.dtype)
        found[ordinals] = values[rows]
        return found

    def row_of(self, ordinal: int) -> int:
        """The row of an ordinal, -1 where there is none."""
        return ordinal if self._places is None else int(self._rows[ordinal])

    @cached_property
    def _rows(self) -> I64:
        found = np.full(self._n, -1, np.int64)
        if self._places is not None:
            found[self._places[1]] = self._places[0]
        return found


class HashColumns(Mapping[str, U64]):
    """Hashes by name, each an array over the ordinals; those from the state store are decoded when asked for."""

    def __init__(self, packed: Mapping[str, U64] | None = None, layout: _Layout | None = None) -> None:
        self._packed = packed if packed is not None else {}
        self._layout = layout
        self._known: dict[str, U64] = {}

    def __getitem__(self, name: str) -> U64:
        found = self._known.get(name)
        if found is None:
            values = self._packed[name]
            found = self._known[name] = values if self._layout is None else self._layout.lay_out(values)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._packed), **self._known})

    def __len__(self) -> int:
        return len(self._known.keys() | self._packed.keys())

    def thaw(self) -> None:
        """Decode all of them, to arrays that may be changed."""
        for name in self:
            self[name]
        self._packed = {}

    def set_row(self, ordinal: int, hashes: Mapping[str, int], n: int) -> None:
        """Replace the hashes of one ordinal: 0 for the names that are not given. After `thaw` only."""
        for name in hashes:
            if name not in self._known:
                self._known[name] = np.zeros(n, np.uint64)
        for name, values in self._known.items():
            values[ordinal] = hashes.get(name, 0)


class AssetState:
    """The current versions of an asset's partitions and the outcome of failed tries.

    All arrays have one element per ordinal of `definition`; only `publish` changes them. `seq` is 0 where nothing is
    published, `taken` also counts a version that was dropped.
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
        self.inputs = HashColumns()
        self.columns = HashColumns()
        self.outcome = np.zeros(n, np.uint8)
        self.outcome_basis = np.zeros(n, np.uint64)
        self._record_hashes: dict[int, str] = {}
        self._heads: Heads | None = None
        self._layout: _Layout | None = None
        self._is_shared = False
        self._mixed: dict[tuple[str, ...] | None, U64] = {}

    @classmethod
    def build(
        cls, definition: PartitionsDefinition, heads: Heads | None, outcomes: Outcomes | None
    ) -> AssetState:
        """Lay the rows of the state store out by ordinal; partitions outside the definition are left out.

        Where the rows are just the partitions, the arrays of the state store are used as they are.
        """
        state = cls(definition)
        if heads is not None and len(heads.positions):
            layout = _Layout(definition, heads.positions)
            state._heads, state._layout, state._is_shared = heads, layout, True
            state.taken = state.seq = layout.lay_out(heads.seq)
            if heads.dropped.any():
                state.seq = np.where(layout.lay_out(heads.dropped), 0, state.taken)
            state.code = layout.lay_out(heads.code_version)
            state.config = layout.lay_out(heads.config_version)
            state.data = layout.lay_out(heads.data_version)
            state.published_at = layout.lay_out(heads.published_at)
            state.held = layout.lay_out(heads.held)
            state.inputs = HashColumns(heads.inputs, layout)
            state.columns = HashColumns(heads.columns, layout)
        if outcomes is not None and len(outcomes.positions):
            layout = _Layout(definition, outcomes.positions)
            state.outcome = layout.lay_out(np.where(outcomes.blocked, BLOCKED, FAILED).astype(np.uint8))
            state.outcome_basis = layout.lay_out(outcomes.basis)
        return state

    def publish(self, ordinal: int, publication: Publication, published_at: float) -> None:
        """Take a publication up, so that the steps after it read it."""
        if self._is_shared:
            self._thaw()
        self.seq[ordinal] = self.taken[ordinal] = publication.seq
        self.code[ordinal] = int(publication.code_version, 16)
        self.config[ordinal] = int(publication.config_version, 16)
        self.data[ordinal] = int(publication.data_version[:16], 16)
        self.published_at[ordinal] = published_at
        self._record_hashes[ordinal] = publication.self_hash
        self.outcome[ordinal] = NO_OUTCOME
        n = len(self.seq)
        columns = {name: int(value, 16) for name, value in publication.column_hashes.items()}
        self.columns.set_row(ordinal, columns, n)
        inputs = {name: int(use.fingerprint, 16) for name, use in publication.inputs.items()}
        self.inputs.set_row(ordinal, inputs, n)
        for names, mixed in self._mixed.items():
            at = slice(ordinal, ordinal + 1)
            mixed[at] = self._mix(names, at)

    def _thaw(self) -> None:
        """Stop sharing arrays with the state store."""
        self.seq, self.taken = self.seq.copy(), self.taken.copy()
        self.code, self.config, self.data = self.code.copy(), self.config.copy(), self.data.copy()
        self.published_at = self.published_at.copy()
        self.columns.thaw()
        self.inputs.thaw()
        self._is_shared = False

    def hash_of_record(self, ordinal: int) -> str:
        """`self_hash` of the current record, "" where there is none."""
        known = self._record_hashes.get(ordinal)
        if known is not None:
            return known
        if self._heads is None or self._layout is None:
            return ""
        row = self._layout.row_of(ordinal)
        return "" if row < 0 else self._heads.record_hash(row)

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


def _locate(own: I64, positions: I64) -> tuple[I64, I64]:
    """Rows of `positions` that are among the positions of a definition, and their ordinals."""
    if not len(own):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order: I64 | None = None
    if len(own) > 1 and not bool(np.all(own[1:] > own[:-1])):
        order = np.argsort(own, kind="stable")
        own = own[order]
    where = np.minimum(np.searchsorted(own, positions), len(own) - 1)
    rows = np.flatnonzero(own[where] == positions)
    ordinals = where[rows]
    return rows, ordinals if order is None else order[ordinals]
