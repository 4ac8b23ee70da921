"""What is current: heads and outcomes of many assets as arrays, read row by row when few and in bulk when many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sqlalchemy import Connection, LargeBinary, Select, Table, literal_column, select

from assets_core.state import schema
from assets_core.state.bulk import read_batches, worthwhile_rows
from assets_core.state.packed import Blobs, PackedHashes, distinct, require_lengths, runs_of
from assets_core.state.rows import Heads, Outcomes

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from assets_core.state.bulk import Column
    from assets_core.state.database import Database
    from assets_core.state.rows import F64, I64, Mask

_KIND_ROLLBACK, _KIND_DROP = schema.KINDS.index("rollback"), schema.KINDS.index("drop")
#: Assets in one query: the databases bound the number of parameters.
_ASSETS_AT_ONCE = 500
_RECORD_HASH_BYTES = 32


def read_heads(database: Database, branch: str, assets: Sequence[str]) -> dict[str, Heads]:
    """The heads of many assets in one pass."""
    wanted, found = _read(database, schema.heads, branch, assets)
    parts: dict[str, Heads] = {}
    with database.reading() as connection:  # what cannot be decoded counts as damage
        for columns in found:
            table = _HeadTable.of(connection, columns)
            parts.update((wanted[number], table.part(first, last)) for number, first, last in columns.spans())
        nothing = _HeadTable.of(connection, _no_rows(schema.heads)).part(0, 0)
    return {asset: parts.get(asset, nothing) for asset in assets}


def read_outcomes(database: Database, branch: str, assets: Sequence[str]) -> dict[str, Outcomes]:
    """The outcomes of many assets in one pass."""
    wanted, found = _read(database, schema.outcomes, branch, assets)
    parts: dict[str, Outcomes] = {}
    for columns in found:
        for number, first, last in columns.spans():
            at = slice(first, last)
            parts[wanted[number]] = Outcomes(
                positions=columns.numbers("position")[at],
                blocked=columns.numbers("blocked")[at] != 0,
                basis=columns.numbers("basis")[at].view(np.uint64),
            )
    nothing = Outcomes(np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.uint64))
    return {asset: parts.get(asset, nothing) for asset in assets}


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Rows of a table by column, ordered by asset and position."""

    by_name: Mapping[str, Column]

    def numbers(self, name: str) -> I64:
        return cast("I64", self.by_name[name])

    def reals(self, name: str) -> F64:
        return cast("F64", self.by_name[name])

    def blobs(self, name: str) -> Blobs:
        return cast("Blobs", self.by_name[name])

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Assets with the rows they have: number, first, last."""
        ids = self.numbers("asset")
        starts, counts = runs_of(ids)
        return zip(ids[starts].tolist(), starts.tolist(), (starts + counts).tolist(), strict=True)

    def part(self, first: int, last: int) -> _Columns:
        return _Columns(
            {
                name: column.part(first, last) if isinstance(column, Blobs) else column[first:last]
                for name, column in self.by_name.items()
            }
        )

    @classmethod
    def concatenate(cls, parts: Sequence[_Columns]) -> _Columns:
        if len(parts) == 1:
            return parts[0]
        found: dict[str, Column] = {}
        for name, column in parts[0].by_name.items():
            if isinstance(column, Blobs):
                found[name] = Blobs.concatenate([part.blobs(name) for part in parts])
            else:
                found[name] = np.concatenate([part.numbers(name) for part in parts])
        return cls(found)


def _read(
    database: Database, table: Table, branch: str, assets: Sequence[str]
) -> tuple[dict[int, str], list[_Columns]]:
    """The rows of some assets on a branch, each asset's in one piece; and the numbers of the assets."""
    with database.reading() as connection:
        wanted = _asset_names(connection, assets)
        queries = _queries(connection, table, branch, sorted(wanted))
        if not _is_many(connection, queries):
            return wanted, [_by_rows(connection, table, queries)]
    with database.left_to_another_library() as path:
        batches = None if path is None else read_batches(path, map(database.text_of, queries))
    if batches is not None and all(_fits(table, batch) for batch in batches):
        names = table.columns.keys()
        return wanted, _whole_assets([_Columns(dict(zip(names, batch, strict=True))) for batch in batches])
    with database.reading() as connection:
        return wanted, [_by_rows(connection, table, queries)]


def _whole_assets(batches: Sequence[_Columns]) -> list[_Columns]:
    """The same rows, cut between assets instead of anywhere; only an asset that was cut is copied."""
    found: list[_Columns] = []
    cut: list[_Columns] = []
    for batch in batches:
        spans = list(batch.spans())
        last_start = spans[-1][1]
        first = 0
        if cut and int(cut[0].numbers("asset")[0]) == spans[0][0]:
            first = spans[0][2]
            cut.append(batch.part(0, first))
            if len(spans) == 1:
                continue
        if cut:
            found.append(_Columns.concatenate(cut))
        if first < last_start:
            found.append(batch.part(first, last_start))
        cut = [batch.part(last_start, spans[-1][2])]
    if cut:
        found.append(_Columns.concatenate(cut))
    return found


def _asset_names(connection: Connection, assets: Sequence[str]) -> dict[int, str]:
    ids = schema.assets
    found: dict[int, str] = {}
    for start in range(0, len(assets), _ASSETS_AT_ONCE):
        part = assets[start : start + _ASSETS_AT_ONCE]
        query = select(ids.c.id, ids.c.name).where(ids.c.name.in_(part))
        found.update((row.id, row.name) for row in connection.execute(query))
    return found


def _queries(connection: Connection, table: Table, branch: str, ids: Sequence[int]) -> list[Select[Any]]:
    """Queries that together give the rows by ascending asset and position."""
    branches = schema.branches
    branch_id = connection.execute(select(branches.c.id).where(branches.c.name == branch)).scalar()
    if branch_id is None:
        return []
    return [
        select(table)
        .where(table.c.branch == branch_id, table.c.asset.in_(ids[start : start + _ASSETS_AT_ONCE]))
        .order_by(table.c.asset, table.c.position)
        for start in range(0, len(ids), _ASSETS_AT_ONCE)
    ]


def _is_many(connection: Connection, queries: Sequence[Select[Any]]) -> bool:
    """Whether the rows are worth a read in bulk; looks at no more of them than it takes to know."""
    left = limit = worthwhile_rows()
    for query in queries:
        some: Select[Any] = query.with_only_columns(literal_column("1")).order_by(None).limit(left)
        left -= len(_raw_rows(connection, some))
        if left <= 0:
            return True
    return limit <= 0


def _by_rows(connection: Connection, table: Table, queries: Sequence[Select[Any]]) -> _Columns:
    """Rows through the database's own driver; ValueError or TypeError for a value of the wrong kind."""
    rows: list[tuple[Any, ...]] = []
    for query in queries:
        rows.extend(_raw_rows(connection, query))
    values = list(zip(*rows, strict=True)) if rows else [()] * len(table.columns)
    return _Columns(
        {
            column.name: _column(column.type, items)
            for column, items in zip(table.columns, values, strict=True)
        }
    )


def _column(kind: TypeEngine[Any], values: Sequence[Any]) -> Column:
    if isinstance(kind, LargeBinary):
        return Blobs.join(values)
    if kind.python_type is float:
        return np.array(values, np.float64)
    return np.array(values, np.int64)


def _raw_rows(connection: Connection, query: Select[Any]) -> list[tuple[Any, ...]]:
    """The driver's own tuples: for thousands of rows, several times cheaper than SQLAlchemy's."""
    cursor = connection.execute(query).cursor
    return [] if cursor is None else list(cursor.fetchall())


def _fits(table: Table, columns: Sequence[Column]) -> bool:
    """Whether columns are of the kinds that the table declares."""
    return all(
        isinstance(found, Blobs)
        if isinstance(column.type, LargeBinary)
        else isinstance(found, np.ndarray)
        and (found.dtype == np.float64) is (column.type.python_type is float)
        for column, found in zip(table.columns, columns, strict=True)
    )


def _no_rows(table: Table) -> _Columns:
    return _Columns({column.name: _column(column.type, ()) for column in table.columns})


@dataclass(frozen=True, slots=True, eq=False)
class _HeadTable:
    """The heads of several assets, of which `part` gives those of one without a copy."""

    columns: _Columns
    is_held: Mask
    is_dropped: Mask
    names: Mapping[int, tuple[str, ...]]
    record_hashes: memoryview

    @classmethod
    def of(cls, connection: Connection, columns: _Columns) -> _HeadTable:
        """Check the blobs; ValueError or LookupError when they are not what was written."""
        lists = {
            "inputs": columns.numbers("input_names"),
            "columns": columns.numbers("column_names"),
        }
        numbers = {number for ids in lists.values() for number in distinct(ids)}
        names = _name_lists(connection, sorted(numbers))
        for name, ids in lists.items():
            require_lengths(ids, columns.blobs(name), names)
        records = columns.blobs("record_hash")
        if not bool(np.all(records.lengths() == _RECORD_HASH_BYTES)):
            raise ValueError("a record hash is not 32 bytes long")
        kind = columns.numbers("kind")
        return cls(
            columns,
            kind == _KIND_ROLLBACK,
            kind == _KIND_DROP,
            names,
            records.data[int(records.offsets[0]) :].data,
        )

    def part(self, first: int, last: int) -> Heads:
        """The rows from `first` to before `last`."""
        numbers = self.columns.numbers
        at = slice(first, last)
        return Heads(
            positions=numbers("position")[at],
            seq=numbers("seq")[at],
            code_version=numbers("code_version")[at].view(np.uint64),
            config_version=numbers("config_version")[at].view(np.uint64),
            data_version=numbers("data_version")[at].view(np.uint64),
            published_at=self.columns.reals("published_at")[at],
            rows=numbers("rows")[at],
            held=self.is_held[at],
            dropped=self.is_dropped[at],
            inputs=self._hashes("input_names", "inputs", first, last),
            columns=self._hashes("column_names", "columns", first, last),
            record_hashes=self.record_hashes[_RECORD_HASH_BYTES * first : _RECORD_HASH_BYTES * last],
        )

    def _hashes(self, lists: str, blobs: str, first: int, last: int) -> PackedHashes:
        packed = self.columns.blobs(blobs).part(first, last)
        return PackedHashes(self.columns.numbers(lists)[first:last], packed, self.names)


def _name_lists(connection: Connection, numbers: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Lists of column or parameter names; ValueError for one that is none."""
    table = schema.name_lists
    found: dict[int, tuple[str, ...]] = {}
    for start in range(0, len(numbers), _ASSETS_AT_ONCE):
        query = select(table).where(table.c.id.in_(numbers[start : start + _ASSETS_AT_ONCE]))
        for number, text in connection.execute(query):
            names = json.loads(text)
            if not isinstance(names, list):
                raise ValueError(f"{text[:40]!r} is no list of names")
            found[number] = tuple(names)
    return found
