"""Several versions of one table joined into one, in order, without changing a cell.

Columns are matched by name, in the first version's order. All versions have the same columns; a version without
rows and columns is passed over. Types may differ where no cell is lost: null with anything, integers and floats
(when every integer is exact as a float), decimals, units of timestamps and durations, categories and their plain
values, and lists and structs of these. Rows are numbered afresh where the pandas index is one of numbers without
a name; other indexes are joined.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from io_managers.errors import FormatError
from io_managers.formats.frames import hidden_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["VersionsDifferError", "concat_tables"]


class VersionsDifferError(FormatError):
    """Two of the versions to be joined do not fit together.

    Attributes:
        first: Position of the version the others are compared with.
        other: Position of the version that differs.
    """

    def __init__(self, code: str, what: str, *, why: str, do: str, first: int, other: int) -> None:
        super().__init__(code, what, why=why, do=do)
        self.first = first
        self.other = other


def concat_tables(tables: Sequence["pa.Table"]) -> "pa.Table":
    """Join tables in order; none give a table without columns.

    Raises:
        VersionsDifferError: `columns-differ` or `column-types-differ`, with the positions of the two.
    """
    import pyarrow as pa

    kept = [(position, table) for position, table in enumerate(tables) if table.num_columns or table.num_rows]
    if not kept:
        return tables[0] if tables else pa.table({})
    kept = _without_row_numbers(kept)
    first_position, first = kept[0]
    for position, table in kept[1:]:
        _require_same_names(first, table, first_position, position)
    names = first.column_names
    kept = [(position, table.select(names)) for position, table in kept]
    if any(table.schema.types != first.schema.types for _, table in kept[1:]):
        return _concat_promoted(kept)
    metadata = first.schema.metadata
    return pa.concat_tables([table.replace_schema_metadata(metadata) for _, table in kept])


def _concat_promoted(kept: list[tuple[int, "pa.Table"]]) -> "pa.Table":
    import pyarrow as pa

    names = kept[0][1].column_names
    columns = [
        _join_columns(name, [(position, table.column(name)) for position, table in kept]) for name in names
    ]
    types = [column.type for column in columns]
    pattern = next((table for _, table in kept if table.schema.types == types), kept[0][1])
    schema = pa.schema(
        [pa.field(name, kind) for name, kind in zip(names, types, strict=True)],
        metadata=pattern.schema.metadata,
    )
    return pa.Table.from_arrays(columns, schema=schema)


def _join_columns(name: str, parts: list[tuple[int, "pa.ChunkedArray"]]) -> "pa.ChunkedArray":
    """One column of all versions in the one type that holds every cell."""
    import pyarrow as pa

    if len({part.type for _, part in parts}) > 1:
        parts = [(position, _decoded(part)) for position, part in parts]
    first_position, first = next((item for item in parts if not pa.types.is_null(item[1].type)), parts[0])
    kind = first.type
    for position, part in parts:
        merged = _merge(kind, part.type)
        if merged is None:
            raise _types_differ(
                name, (first_position, first.type), (position, part.type), "no type holds both"
            )
        kind = merged
    chunks: list[pa.Array] = []
    for position, part in parts:
        try:
            chunks += part.cast(kind).chunks
        except pa.ArrowException as error:
            differing = next(
                item for item in parts if item[1].type != part.type and not pa.types.is_null(item[1].type)
            )
            pair = sorted(
                [(position, part.type), (differing[0], differing[1].type)], key=lambda item: item[0]
            )
            raise _types_differ(name, pair[0], pair[1], str(error)) from error
    return pa.chunked_array(chunks, type=kind)


def _merge(left: "pa.DataType", right: "pa.DataType") -> "pa.DataType | None":
    """The type that holds the cells of both, or None."""
    import pyarrow as pa

    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if not _may_join(left, right):
        return None
    try:
        schemas = [pa.schema([("x", kind)]) for kind in (left, right)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None


def _may_join(left: "pa.DataType", right: "pa.DataType") -> bool:
    """Whether a type for both is worth trying; the cast then checks cell by cell."""
    from pyarrow import types

    if types.is_null(left) or types.is_null(right):
        return True
    if _is_list(left) and _is_list(right):
        return _may_join(left.value_type, right.value_type)
    if types.is_struct(left) and types.is_struct(right):
        shared = {field.name for field in left} & {field.name for field in right}
        return all(_may_join(left.field(name).type, right.field(name).type) for name in shared)
    return _family(left) == _family(right)


def _is_list(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind))


def _family(kind: "pa.DataType") -> str:
    """Types without children that may be joined share a family."""
    from pyarrow import types

    if types.is_integer(kind) or types.is_floating(kind):
        return "number"
    if types.is_timestamp(kind):
        return f"timestamp in {kind.tz}"
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "bytes"
    return next(
        (name for name in ("decimal", "duration", "date", "time") if getattr(types, f"is_{name}")(kind)),
        str(kind),
    )


def _decoded(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Categories and views as plain values."""
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if types.is_string_view(kind):
        return column.cast(pa.large_string())
    if types.is_binary_view(kind):
        return column.cast(pa.large_binary())
    return column


def _without_row_numbers(kept: list[tuple[int, "pa.Table"]]) -> list[tuple[int, "pa.Table"]]:
    """Drop an index of numbers without a name: the numbers of several versions mean nothing together."""
    import pyarrow as pa

    result = []
    for position, table in kept:
        hidden = hidden_columns(table.schema)
        if len(hidden) == 1 and pa.types.is_integer(table.schema.field(hidden[0]).type):
            table = table.drop_columns(list(hidden))
        result.append((position, table))
    return result


def _require_same_names(first: "pa.Table", other: "pa.Table", first_position: int, position: int) -> None:
    ours, theirs = set(first.column_names), set(other.column_names)
    if ours == theirs:
        return
    lacking = [f"{name!r} is missing in the second" for name in first.column_names if name not in theirs]
    lacking += [f"{name!r} is missing in the first" for name in other.column_names if name not in ours]
    raise VersionsDifferError(
        "columns-differ",
        f"the tables at positions {first_position} and {position} cannot be joined: their columns differ.",
        why="; ".join(lacking) + ".",
        do="materialize the older one again, ask only for columns that all have with In(columns=[...]), "
        "or load them apart with dict[str, T].",
        first=first_position,
        other=position,
    )


def _types_differ(
    name: str, first: tuple[int, "pa.DataType"], other: tuple[int, "pa.DataType"], reason: str
) -> VersionsDifferError:
    return VersionsDifferError(
        "column-types-differ",
        f"the tables at positions {first[0]} and {other[0]} cannot be joined: the types of column {name!r} do not fit.",
        why=f"{first[1]} in the first, {other[1]} in the second: {reason}.",
        do="give the column one type in the asset's function and materialize the older one again, "
        "or load them apart with dict[str, T].",
        first=first[0],
        other=other[0],
    )
