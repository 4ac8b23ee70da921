"""Tables of pandas, Arrow, Polars and DuckDB as Parquet files.

One file, `part-0.parquet`, compressed with Snappy. Dictionary encoding is tried where a sample of the column
repeats itself: trying it on columns of distinct numbers is half of what `DataFrame.to_parquet` spends.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from io_managers.errors import FormatError
from io_managers.formats.concatenation import concat_tables
from io_managers.formats.content_hash import TableHasher
from io_managers.formats.frames import (
    FRAME_TYPES,
    FrameKind,
    batches_of,
    frame_kind,
    from_arrow,
    hidden_columns,
    require_text_names,
    to_arrow,
    type_title,
)
from io_managers.formats.protocol import FileSink, FileSource, Written, created
from io_managers.nearest import nearest_names

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ParquetManager"]

_FILE = "part-0.parquet"
_COMPRESSION = "snappy"
_ROWS_PER_GROUP = 131_072
_SAMPLE_ROWS = 1024
#: A dictionary is worth its while while it has fewer entries than this, and than a quarter of the rows.
_MAX_ENTRIES = 100_000


class ParquetManager:
    """Stores any table as Parquet, and gives it back as any table type."""

    name = "parquet"

    def write(self, value: Any, sink: FileSink) -> Written:
        """Write a frame, or an iterator of frames with one row group for each.

        Args:
            value: A pandas, Arrow, Polars or DuckDB table, or an iterator of pandas frames or record batches of
                one schema (a column may be null, or of a narrower number type, in later ones).
            sink: Receives `part-0.parquet`.

        Returns:
            Rows, columns and content hashes. Columns of an index without a name enter the data version alone.

        Raises:
            FormatError: It is not a table, or a column cannot be stored.
        """
        kind = frame_kind(type(value))
        if kind is None:
            return _write_pieces(_pieces_of_iterator(value), sink)
        table = to_arrow(value, kind)
        if not hasattr(table, "num_rows"):
            schema = table.schema
            return _write_pieces(_with_schema(batches_of(table, _ROWS_PER_GROUP), schema), sink)
        return _write_table(table, sink)

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> Any:
        """Read one version.

        Args:
            source: The version's files.
            as_type: One of the table types; None is pandas.
            columns: The columns to read, in this order. pandas then gets no index but those named here.

        Raises:
            FormatError: `as_type` is not a table type, or a column does not exist.
        """
        kind = _kind_asked(as_type)
        return from_arrow(_read_table(source, columns), kind)

    def read_many(
        self,
        sources: Sequence[FileSource],
        as_type: Any,
        columns: Sequence[str] | None,
    ) -> Any:
        """Read several versions joined in order; no versions give a table without rows.

        Raises:
            FormatError: As `read`, or the tables do not fit together.
        """
        kind = _kind_asked(as_type)
        tables = [_read_table(source, columns) for source in sources]
        if not tables and columns:
            import pyarrow as pa

            tables = [pa.table({name: pa.nulls(0) for name in columns})]
        return from_arrow(tables[0] if len(tables) == 1 else concat_tables(tables), kind)


def to_arrow_table(value: Any) -> "pa.Table":
    """A frame, or an iterator of frames, as one Arrow table in memory.

    Raises:
        FormatError: The value is not a table, or cannot be stored and come back equal.
    """
    import pyarrow as pa

    kind = frame_kind(type(value))
    if kind is None:
        pieces = list(_pieces_of_iterator(value))
        return pa.concat_tables(pieces)
    table = to_arrow(value, kind)
    return table.read_all() if isinstance(table, pa.RecordBatchReader) else table


def _write_table(table: "pa.Table", sink: FileSink) -> Written:
    import pyarrow.parquet as pq

    _require_storable(table)
    hasher = TableHasher(table.schema)
    hasher.update(table)
    with created(sink, _FILE) as file:
        pq.write_table(table, file, compression=_COMPRESSION, use_dictionary=_repetitive_columns(table))
    return _written(table.schema, table.num_rows, hasher)


def _write_pieces(pieces: "Iterator[pa.Table]", sink: FileSink) -> Written:
    """Write tables as they come, one row group each; the first decides the schema."""
    import pyarrow.parquet as pq

    first = next(pieces)
    _require_storable(first)
    hasher, n_rows = TableHasher(first.schema), 0
    with (
        created(sink, _FILE) as file,
        pq.ParquetWriter(
            file, first.schema, compression=_COMPRESSION, use_dictionary=_repetitive_columns(first)
        ) as writer,
    ):
        for position, piece in enumerate(_chain(first, pieces)):
            fitted = piece if position == 0 else _fitted(piece, first.schema, position)
            if fitted.num_rows:
                hasher.update(fitted)
                writer.write_table(fitted, row_group_size=fitted.num_rows)
                n_rows += fitted.num_rows
    return _written(first.schema, n_rows, hasher)


def _chain(first: "pa.Table", rest: "Iterator[pa.Table]") -> "Iterator[pa.Table]":
    yield first
    yield from rest


def _with_schema(pieces: "Iterator[pa.Table]", schema: "pa.Schema") -> "Iterator[pa.Table]":
    """The pieces, or one without rows when there are none."""
    empty = True
    for piece in pieces:
        empty = False
        yield piece
    if empty:
        yield schema.empty_table()


def _pieces_of_iterator(value: Any) -> "Iterator[pa.Table]":
    if value is None:
        raise FormatError(
            "value-is-none",
            "the function returned None where a table was expected.",
            do="return the table; check that every path through the function ends in a return.",
        )
    if not isinstance(value, Iterator | Generator):
        raise _not_a_table(value)
    return _arrow_pieces(value)


def _arrow_pieces(value: Iterable[Any]) -> "Iterator[pa.Table]":
    n_pieces = 0
    for item in value:
        kind = frame_kind(type(item))
        if kind is None:
            raise _not_a_table(item, f"item {n_pieces} of the iterator")
        table = to_arrow(item, kind)
        yield table if hasattr(table, "num_rows") else table.read_all()
        n_pieces += 1
    if not n_pieces:
        raise FormatError(
            "iterator-empty",
            "the function's iterator gave no frame, so the columns are not known.",
            do="yield at least one frame; one with columns and no rows will do.",
        )


def _fitted(piece: "pa.Table", schema: "pa.Schema", position: int) -> "pa.Table":
    """The piece in the first one's schema."""
    import pyarrow as pa

    if piece.schema.equals(schema):
        return piece
    ours, theirs = schema.names, piece.schema.names
    if set(ours) != set(theirs):
        differing = ", ".join(map(repr, sorted(set(ours) ^ set(theirs))))
        raise FormatError(
            "iterator-columns-differ",
            f"item {position} of the function's iterator has other columns than the first.",
            why=f"only one of the two has {differing}; an index that is not 0, 1, 2 ... counts as a column.",
            do="yield frames of the same columns; .reset_index(drop=True) drops an index.",
        )
    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        try:
            columns.append(piece.column(name).cast(kind))
        except pa.ArrowException as error:
            raise FormatError(
                "iterator-types-differ",
                f"column {name!r} of item {position} of the function's iterator does not fit the first item's type.",
                why=f"{piece.schema.field(name).type} does not fit {kind}: {error}",
                do=f"give {name!r} the same type in every frame, also where all its values are missing.",
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _require_storable(table: "pa.Table") -> None:
    from pyarrow import types

    require_text_names(table.column_names)
    for field in table.schema:
        if types.is_struct(field.type) and not field.type.num_fields:
            raise FormatError(
                "column-not-storable",
                f"column {field.name!r} holds structs without fields, which Parquet cannot hold.",
                do="drop the column, or give the structs a field.",
            )
        if types.is_run_end_encoded(field.type):
            raise FormatError(
                "column-not-storable",
                f"column {field.name!r} is run-end encoded, which Parquet cannot hold.",
                do="decode it with pyarrow.compute.run_end_decode.",
            )


def _written(schema: "pa.Schema", rows: int, hasher: TableHasher) -> Written:
    hashes, data_version = hasher.hashes()
    columns = {field.name: str(field.type) for field in schema}
    for name in hidden_columns(schema):
        del columns[name], hashes[name]
    return Written(rows, columns, hashes, data_version)


def _repetitive_columns(table: "pa.Table") -> list[str]:
    """The paths of the leaf columns for which a dictionary is worth trying, by a sample of rows."""
    import numpy as np
    from pyarrow import types

    rows = table.num_rows
    is_small = rows <= 4 * _SAMPLE_ROWS
    paths: list[str] = []
    doubtful: list[str] = []
    for field in table.schema:
        kind = field.type
        if types.is_nested(kind):
            paths += _leaf_paths(field.name, kind)
        elif types.is_dictionary(kind):
            paths.append(field.name)
        elif types.is_boolean(kind) or types.is_null(kind) or isinstance(kind, _extension_type()):
            continue
        elif not is_small:
            doubtful.append(field.name)
        elif not types.is_primitive(kind):
            paths.append(field.name)
    if doubtful:
        # Drawn with a fixed seed: evenly spaced rows of a sorted column would all differ.
        drawn = np.random.default_rng(_SAMPLE_ROWS).integers(0, rows, _SAMPLE_ROWS)
        sample = table.select(doubtful).take(np.sort(drawn))
        paths += [name for name in doubtful if _is_repetitive(sample.column(name), rows)]
    return paths


def _is_repetitive(sample: "pa.ChunkedArray", rows: int) -> bool:
    """Whether the sample has no more distinct values than one of a column that is worth a dictionary would have."""
    drawn = len(sample) - sample.null_count
    distinct = len(sample.unique()) - bool(sample.null_count)
    limit = min(rows / 4, _MAX_ENTRIES)
    return bool(distinct <= math.ceil(limit * (1 - math.exp(-drawn / limit))))


def _extension_type() -> type:
    import pyarrow as pa

    kind: type = pa.BaseExtensionType
    return kind


def _leaf_paths(path: str, kind: "pa.DataType") -> list[str]:
    """The Parquet paths of a nested column's leaves that are not numbers."""
    from pyarrow import types

    if types.is_map(kind):
        key, item = f"{path}.key_value.key", f"{path}.key_value.value"
        return _leaf_paths(key, kind.key_type) + _leaf_paths(item, kind.item_type)
    if types.is_struct(kind):
        return [leaf for child in kind for leaf in _leaf_paths(f"{path}.{child.name}", child.type)]
    if types.is_nested(kind):
        return _leaf_paths(f"{path}.list.element", kind.value_type)
    return [] if types.is_primitive(kind) or types.is_null(kind) else [path]


def _kind_asked(as_type: Any) -> FrameKind:
    if as_type is None:
        return "pandas"
    kind = frame_kind(as_type) if isinstance(as_type, type) else None
    if kind is None:
        raise FormatError(
            "type-not-offered",
            f"a table stored as parquet cannot be loaded as {type_title(as_type)}.",
            why=f"it can be loaded as {FRAME_TYPES}.",
            do="annotate the parameter with one of these, or dict[str, T] or Iterator[T] of one.",
        )
    return kind


def _read_table(source: FileSource, columns: Sequence[str] | None) -> "pa.Table":
    names = [name for name in source.names if name.endswith(".parquet")]
    if not names:
        raise FormatError(
            "no-parquet-file",
            "the stored version holds no Parquet file.",
            why=f"its files are: {', '.join(source.names) or 'none'}.",
            do="load it with the IO manager that wrote it.",
        )
    tables = [_read_file(source, name, columns) for name in names]
    return tables[0] if len(tables) == 1 else concat_tables(tables)


def _read_file(source: FileSource, name: str, columns: Sequence[str] | None) -> "pa.Table":
    import pyarrow.parquet as pq

    path = source.local_path(name)
    if path is not None:
        with pq.ParquetFile(path) as file:
            return _read_columns(file, columns)
    with source.open(name) as stream, pq.ParquetFile(stream, pre_buffer=True) as file:
        return _read_columns(file, columns)


def _read_columns(file: "pq.ParquetFile", columns: Sequence[str] | None) -> "pa.Table":
    if columns is None:
        return file.read(use_threads=_is_large(file))
    schema = file.schema_arrow
    hidden = hidden_columns(schema)
    known = [name for name in schema.names if name not in hidden]
    for name in columns:
        if name not in known:
            near = nearest_names(name, known, n=3)
            raise FormatError(
                "column-not-found",
                f"the stored table has no column {name!r}.",
                why=f"its columns are: {', '.join(known)}.",
                do=f"ask for {' or '.join(map(repr, near))}." if near else "ask for one of these.",
            )
    wanted = list(dict.fromkeys(columns))
    return file.read(columns=wanted, use_threads=_is_large(file)).select(wanted)


def _is_large(file: "pq.ParquetFile") -> bool:
    """Whether threads can pay for themselves."""
    return bool(file.metadata.num_rows * file.metadata.num_columns > 100_000)


def _not_a_table(value: Any, whose: str = "the function's value") -> FormatError:
    title = type_title(type(value))
    hint = " Return series.to_frame() for a Series." if title.endswith("Series") else ""
    return FormatError(
        "value-not-a-table",
        f"{whose} is a {title}, and cannot be stored as a table.",
        why=f"tables are: {FRAME_TYPES}; and iterators of these.{hint}",
        do="return a table, or change the return annotation to what the function returns.",
    )
