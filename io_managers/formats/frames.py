"""The table types of users, told apart by name, and turned into Arrow and back.

pandas: the index is part of the frame. The default one (0, 1, 2 ...) is not stored; any other is stored as
columns and comes back as the index. One without a name is stored as `__index_level_0__`, which only pandas gets
to see. NaN in a pandas column is stored as null. As in `pandas.read_parquet`: lists come back as numpy arrays,
object columns as the type of their cells, categories that are not text as plain values, seconds as milliseconds.
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, assert_never

from io_managers.errors import FormatError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FRAME_TYPES", "FrameKind", "frame_kind", "from_arrow", "hidden_columns", "to_arrow", "type_title"]

FrameKind = Literal["pandas", "table", "batch", "reader", "polars", "lazy", "duckdb"]

_KINDS: dict[tuple[str, str], FrameKind] = {
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "table",
    ("pyarrow", "RecordBatch"): "batch",
    ("pyarrow", "RecordBatchReader"): "reader",
    ("polars", "DataFrame"): "polars",
    ("polars", "LazyFrame"): "lazy",
    ("duckdb", "DuckDBPyRelation"): "duckdb",
}

#: The types a table can be given as, for messages.
FRAME_TYPES = ", ".join(f"{root}.{name}" for root, name in _KINDS)

#: What `infer_dtype` calls the object columns that Arrow stores without changing a cell.
_UNIFORM = frozenset(
    {
        "string",
        "bytes",
        "integer",
        "floating",
        "boolean",
        "decimal",
        "time",
        "timedelta",
        "empty",
        "mixed-integer-float",
    }
)
_NUMBERS = frozenset({"int", "float"})
_INDEX_LEVEL = re.compile(r"__index_level_\d+__")


def frame_kind(cls: type[Any]) -> FrameKind | None:
    """Which table type a class is or derives from, without importing any library; None when it is none."""
    for base in cls.__mro__:
        kind = _KINDS.get((base.__module__.partition(".")[0].lstrip("_"), base.__qualname__))
        if kind is not None:
            return kind
    return None


def type_title(cls: Any) -> str:
    """A type as a user writes it: `pandas.DataFrame`, `int`, `list[int]`."""
    if not isinstance(cls, type):
        return str(cls).replace("typing.", "").replace("collections.abc.", "")
    root = cls.__module__.partition(".")[0]
    return cls.__qualname__ if root == "builtins" else f"{root.lstrip('_')}.{cls.__qualname__}"


def to_arrow(value: Any, kind: FrameKind) -> "pa.Table | pa.RecordBatchReader":
    """The frame as an Arrow table, or as a reader where it need not be in memory at once.

    Raises:
        FormatError: It has columns that cannot be stored and come back equal; the column is named.
    """
    import pyarrow as pa

    match kind:
        case "pandas":
            return _from_pandas(value)
        case "table":
            return value
        case "batch":
            return pa.Table.from_batches([value])
        case "reader":
            return value
        case "polars":
            return _from_polars(value)
        case "lazy":
            return _from_polars(value.collect())
        case "duckdb":
            return pa.RecordBatchReader.from_stream(value)
        case _:
            assert_never(kind)


def from_arrow(table: "pa.Table", kind: FrameKind) -> Any:
    """The table as the frame asked for; only pandas sees the columns of an index without a name."""
    if kind == "pandas":
        return table.to_pandas()
    hidden = hidden_columns(table.schema)
    if hidden:
        table = table.drop_columns(list(hidden))
    match kind:
        case "table":
            return table
        case "batch":
            return _one_batch(table)
        case "reader":
            return table.to_reader()
        case "polars" | "lazy":
            import polars as pl

            frame = pl.DataFrame(table)
            return frame if kind == "polars" else frame.lazy()
        case "duckdb":
            import duckdb

            return duckdb.connect().from_arrow(table)
        case _:
            assert_never(kind)


def hidden_columns(schema: "pa.Schema") -> tuple[str, ...]:
    """The columns that hold levels of a pandas index without a name, or with that of a column."""
    raw = (schema.metadata or {}).get(b"pandas", b"")
    if b'"__index_level_' not in raw:
        return ()
    return tuple(
        name
        for name in json.loads(raw)["index_columns"]
        if isinstance(name, str) and _INDEX_LEVEL.fullmatch(name) and schema.get_field_index(name) >= 0
    )


def _one_batch(table: "pa.Table") -> "pa.RecordBatch":
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_pylist([], schema=table.schema)


def _from_polars(frame: Any) -> "pa.Table":
    import pyarrow as pa

    # Objects would be stored as the addresses that they have in this process.
    objects = [f"{name!r} ({kind})" for name, kind in frame.schema.items() if "Object" in str(kind)]
    if objects:
        raise _polars_not_storable("Python objects have no form outside this process.", objects)
    try:
        return frame.to_arrow()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _polars_not_storable(
            str(error), [f"{name!r} ({kind})" for name, kind in frame.schema.items()]
        ) from error


def _polars_not_storable(why: str, columns: list[str]) -> FormatError:
    return FormatError(
        "column-not-storable",
        f"the frame has a column that Arrow and Parquet cannot hold, one of {', '.join(columns)}.",
        why=why,
        do="cast it before returning the frame, for example with .cast(pl.String).",
    )


def _from_pandas(frame: "pd.DataFrame") -> "pa.Table":
    import pyarrow as pa

    require_text_names(list(frame.columns))
    require_text_names([name for name in frame.index.names if name is not None])
    _require_uniform_columns(frame)
    try:
        table = pa.Table.from_pandas(frame, preserve_index=not _is_default(frame.index), nthreads=1)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _not_storable(frame, error) from error
    if not frame.columns.size and len(frame):
        raise FormatError(
            "frame-without-columns",
            f"the frame has {len(frame)} rows and no columns, and Parquet would forget the rows.",
            do="give it a column, for example with .reset_index().",
        )
    _require_unique([*table.column_names])
    if any(kind.__class__.__name__ == "ArrowDtype" for kind in frame.dtypes):
        _require_readable(table)
    return table


def require_text_names(names: list[Any]) -> None:
    """Refuse column names that are not text, or that occur twice.

    Raises:
        FormatError: `column-name-not-text`, `columns-duplicate`.
    """
    for name in names:
        if not isinstance(name, str):
            raise FormatError(
                "column-name-not-text",
                f"the frame has a column or index named {name!r}, which is not text but {type_title(type(name))}.",
                why="Parquet stores names as text, and the name would come back different.",
                do="name the columns with text, for example: frame.columns = [str(c) for c in frame.columns].",
            )
    _require_unique(names)


def _require_unique(names: list[str]) -> None:
    if len(set(names)) == len(names):
        return
    twice = sorted({name for name in names if names.count(name) > 1})
    raise FormatError(
        "columns-duplicate",
        f"the frame has more than one column named {twice[0]!r}.",
        why=f"names that occur more than once: {', '.join(map(repr, twice))}; the names of index levels count.",
        do="rename or drop the copies before returning the frame.",
    )


def _is_default(index: "pd.Index") -> bool:
    import pandas as pd

    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None


def _require_uniform_columns(frame: "pd.DataFrame") -> None:
    """Refuse object columns whose cells Arrow would bend to one type: dates cut from times, text made bytes."""
    import numpy as np

    for position, kind in enumerate(frame.dtypes.array):
        if isinstance(kind, np.dtype) and kind.hasobject:
            _require_uniform(frame.columns[position], frame.iloc[:, position])


def _require_uniform(name: str, column: "pd.Series[Any]") -> None:
    import pandas as pd

    found = pd.api.types.infer_dtype(column, skipna=True)
    if found in _UNIFORM:
        return
    cells = column.dropna()
    kinds = {type_title(type(cell)) for cell in cells}
    if found == "datetime":
        kinds = {
            "datetime with a time zone" if cell.tzinfo else "datetime without a time zone" for cell in cells
        }
    if kinds & {"set", "frozenset"}:
        raise FormatError(
            "column-not-storable",
            f"column {name!r} holds sets, which Parquet cannot hold.",
            why="they would come back as lists.",
            do="turn them into sorted lists first.",
        )
    if len(kinds) > 1 and not kinds <= _NUMBERS:
        raise FormatError(
            "column-mixed-types",
            f"column {name!r} mixes values of different types.",
            why=f"it holds {', '.join(sorted(kinds))}; a stored column has one type.",
            do=f"make it one type before returning the frame, for example: frame[{name!r}].astype(str).",
        )


def _not_storable(frame: "pd.DataFrame", error: Exception) -> FormatError:
    """The error of the first column that Arrow refuses by itself."""
    import pyarrow as pa

    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        try:
            pa.Table.from_pandas(column.to_frame(), preserve_index=False, nthreads=1)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as own:
            return FormatError(
                "column-not-storable",
                f"column {name!r} of type {column.dtype} cannot be stored.",
                why="; ".join(str(part) for part in own.args) or str(own),
                do="make it numbers, text, dates, or lists and dicts of these.",
            )
    return FormatError(
        "index-not-storable",
        f"the index of the frame cannot be stored (levels: {list(frame.index.names)}).",
        why="; ".join(str(part) for part in error.args),
        do="turn it into columns with .reset_index(), or drop it with .reset_index(drop=True).",
    )


def _require_readable(table: "pa.Table") -> None:
    """Refuse Arrow-backed pandas types that pandas itself cannot name on the way back."""
    try:
        table.schema.empty_table().to_pandas()
    except (TypeError, NotImplementedError) as error:
        raise FormatError(
            "column-not-storable",
            "the frame has an Arrow-backed column that pandas could not read back.",
            why=str(error),
            do="return pa.Table.from_pandas(frame) with the annotation pa.Table, or use plain pandas types.",
        ) from error


def batches_of(reader: "pa.RecordBatchReader", rows: int) -> "Iterator[pa.Table]":
    """The reader's batches joined into tables of at least `rows` rows, but for the last."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in reader:
        waiting.append(batch)
        n_waiting += batch.num_rows
        if n_waiting >= rows:
            yield pa.Table.from_batches(waiting)
            waiting, n_waiting = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting)
