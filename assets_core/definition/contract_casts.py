"""Bringing an Arrow table into the schema of a contract, only where no value changes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from assets_core.definition.check_outcome import CheckOutcome

if TYPE_CHECKING:
    from assets_core.definition.contract import Contract
    from assets_core.definition.contract_columns import ColumnRule

__all__ = ["build_schema", "build_type", "conform_table"]

#: Families between which values may move; `conform_table` proves for each value that it stays the same.
_ALLOWED = {
    "int": ("int", "float", "decimal"),
    "float": ("int", "float", "decimal"),
    "decimal": ("int", "float", "decimal"),
    "date": ("date", "timestamp"),
    "timestamp": ("timestamp", "date"),
}
_MAX_TEXT = 200


class _CannotCastError(Exception):
    """A column cannot become what the contract says; the text says why."""


def build_schema(fields: Sequence[ColumnRule]) -> pa.Schema:
    """The Arrow schema of column rules, all columns nullable."""
    return pa.schema([pa.field(rule.name, build_type(rule)) for rule in fields])


def build_type(rule: ColumnRule) -> pa.DataType:
    """The Arrow type of one rule."""
    if rule.type.startswith("struct<"):
        return pa.struct([pa.field(child.name, build_type(child)) for child in rule.children])
    if rule.type.startswith("list<"):
        return pa.list_(build_type(rule.children[0]))
    if rule.type.startswith("map<"):
        return pa.map_(pa.string(), build_type(rule.children[1]))
    return _plain_type(rule.type)


@functools.cache
def _plain_type(text: str) -> pa.DataType:
    name, _, inner = text.rstrip(")]").replace("(", "[").partition("[")
    parts = [part.strip() for part in inner.split(",")] if inner else []
    if name.startswith("decimal"):
        return getattr(pa, name)(int(parts[0]), int(parts[1]))
    if name == "timestamp":
        return pa.timestamp(parts[0], tz=parts[1].removeprefix("tz=") if len(parts) > 1 else None)
    if name in ("duration", "time64", "time32"):
        return getattr(pa, name)(parts[0])
    return pa.date32() if name == "date32" else pa.type_for_alias(name)


def conform_table(contract: Contract, table: pa.Table) -> tuple[pa.Table, list[CheckOutcome]]:
    """See `Contract.conform`."""
    schema = contract.arrow_schema
    present = table.schema.names
    n = len(schema)
    is_alike = present[:n] == schema.names and table.schema.types[:n] == schema.types
    if is_alike and (len(present) == n or (contract.allows_extra and len(set(present)) == len(present))):
        return table, []
    names: list[str] = []
    columns: list[Any] = []
    outcomes: list[CheckOutcome] = []
    taken: set[str] = set()
    for rule in contract.fields:
        name = rule.name
        if name not in present and contract.takes_field_names and rule.field in present:
            name = rule.field
        taken.add(name)
        column = _column(table, name, rule, schema.field(rule.name).type, outcomes)
        if column is not None:
            names.append(rule.name)
            columns.append(column)
    extras = [index for index, name in enumerate(present) if name not in taken]
    for index in extras:
        if not contract.allows_extra:
            outcomes.append(_extra_column(contract, present[index], table.schema.types[index]))
        names.append(present[index])
        columns.append(table.column(index))
    if not columns:  # a table without columns would lose the number of its rows
        return table, outcomes
    return pa.table(columns, names=names), outcomes


def _column(
    table: pa.Table, name: str, rule: ColumnRule, wanted: pa.DataType, outcomes: list[CheckOutcome]
) -> Any:
    indices = table.schema.get_all_field_indices(name)
    if not indices:
        if rule.required:
            outcomes.append(_failed(rule, "present", "no such column", f"a column of type {rule.type}"))
            return None
        return _default_column(rule, wanted, table.num_rows)
    if len(indices) > 1:
        outcomes.append(_failed(rule, "present", f"{len(indices)} columns of this name", "one column"))
    column = table.column(indices[0])
    try:
        return cast_column(column, rule, wanted)
    except _CannotCastError as error:
        outcomes.append(_failed(rule, "type", f"{column.type}: {error}"[:_MAX_TEXT], rule.type))
        return column


def _default_column(rule: ColumnRule, wanted: pa.DataType, n_rows: int) -> Any:
    if rule.default is None:
        return pa.nulls(n_rows, wanted)
    return pa.repeat(pa.scalar(rule.default, wanted), n_rows)


def _failed(rule: ColumnRule, what: str, observed: str, expected: str) -> CheckOutcome:
    return CheckOutcome(f"contract:{rule.name}:{what}", "failed", "error", observed, expected)


def _extra_column(contract: Contract, name: str, kind: pa.DataType) -> CheckOutcome:
    return CheckOutcome(
        f"contract:{name}:extra",
        "failed",
        "error",
        f"a column of type {kind}",
        f"only the columns of {contract.name}, which forbids others",
    )


def cast_column(column: Any, rule: ColumnRule, wanted: pa.DataType) -> Any:
    """Cast a column, or raise `_CannotCastError` when a value would change."""
    found = column.type
    if found.equals(wanted):
        return column
    if pa.types.is_null(found):
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    if pa.types.is_dictionary(found):
        return cast_column(column.cast(found.value_type), rule, wanted)
    if isinstance(found, pa.BaseExtensionType):
        return cast_column(_storage(column, found), rule, wanted)
    if pa.types.is_struct(found) and rule.children:
        return _cast_struct(column.combine_chunks(), rule, wanted)
    _require_allowed(found, wanted)
    if pa.types.is_nested(wanted):
        return _cast(column, wanted)
    if pa.types.is_floating(found) and not pa.types.is_floating(wanted):
        # NaN is how pandas writes a missing number; there is no other form of it in a whole or decimal column.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, found), column)
    return _same_values(column, _cast(column, wanted))


def _storage(column: Any, kind: Any) -> Any:
    if str(kind.extension_name) == "arrow.uuid":
        return pa.chunked_array(
            [[None if value is None else str(value) for value in column.to_pylist()]], pa.string()
        )
    return pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)


def _cast(column: Any, wanted: pa.DataType) -> Any:
    try:
        if pa.types.is_integer(column.type) and pa.types.is_decimal(wanted):
            column = column.cast(pa.decimal256(76, wanted.scale))
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _CannotCastError(str(error).partition("\n")[0]) from error


def _same_values(column: Any, cast: Any) -> Any:
    """`cast`, if casting it back gives `column`; Arrow's own safe casts allow rounding of some kinds."""
    exact = ("int", "text", "binary", "time", "duration", "bool")
    if _family(column.type) == _family(cast.type) and _family(cast.type) in exact:
        return cast
    if _family(column.type) == "timestamp" == _family(cast.type):
        return cast
    back = _cast(cast, column.type)
    same = pc.equal(back, column)
    if pa.types.is_floating(column.type):
        same = pc.or_kleene(same, pc.and_(pc.is_nan(back), pc.is_nan(column)))
    n_changed = pc.sum(pc.invert(same)).as_py() or 0
    if n_changed:
        first = column.filter(pc.fill_null(pc.invert(same), False))[0].as_py()
        raise _CannotCastError(f"{n_changed} of {len(column)} values would change, the first is {first!r}")
    return cast


def _require_allowed(found: pa.DataType, wanted: pa.DataType) -> None:
    one, other = _family(found), _family(wanted)
    if one == other == "list":
        _require_allowed(found.value_type, wanted.value_type)
        if found.value_type != wanted.value_type and _family(found.value_type) not in ("int", "text"):
            raise _CannotCastError(f"items of type {found.value_type} are not {wanted.value_type}")
    elif one == other == "map":
        _require_allowed(found.item_type, wanted.item_type)
    elif one == other == "timestamp":
        if (found.tz is None) != (wanted.tz is None):
            raise _CannotCastError(
                "its times have no zone" if found.tz is None else f"its times are in zone {found.tz}"
            )
    elif one == "struct" or other not in _ALLOWED.get(one, (one,)):
        raise _CannotCastError(f"{one} does not become {other}" if one != other else "the types differ")
    elif (
        "timestamp" in (one, other)
        and getattr(found if one == "timestamp" else wanted, "tz", None) is not None
    ):
        raise _CannotCastError("a time with a zone and a date do not become one another")


@functools.lru_cache(maxsize=256)
def _family(kind: pa.DataType) -> str:
    is_kind = pa.types
    tests = (
        ("bool", is_kind.is_boolean),
        ("int", is_kind.is_integer),
        ("float", is_kind.is_floating),
        ("decimal", is_kind.is_decimal),
        (
            "text",
            lambda item: (
                is_kind.is_string(item) or is_kind.is_large_string(item) or is_kind.is_string_view(item)
            ),
        ),
        ("binary", lambda item: is_kind.is_binary(item) or is_kind.is_large_binary(item)),
        ("binary", lambda item: is_kind.is_fixed_size_binary(item) or is_kind.is_binary_view(item)),
        ("date", is_kind.is_date),
        ("timestamp", is_kind.is_timestamp),
        ("time", is_kind.is_time),
        ("duration", is_kind.is_duration),
        ("map", is_kind.is_map),
        ("list", lambda item: is_kind.is_list(item) or is_kind.is_large_list(item)),
        ("list", is_kind.is_fixed_size_list),
        ("struct", is_kind.is_struct),
    )
    return next((name for name, holds in tests if holds(kind)), str(kind))


def _cast_struct(array: Any, rule: ColumnRule, wanted: pa.DataType) -> Any:
    if pa.types.is_map(wanted):
        return _struct_to_map(array, rule, wanted)
    if not pa.types.is_struct(wanted):
        raise _CannotCastError(f"struct does not become {_family(wanted)}")
    present = [array.type.field(index).name for index in range(array.type.num_fields)]
    extras = sorted(set(present) - {child.name for child in rule.children})
    if extras:
        raise _CannotCastError(f"it has further fields: {', '.join(extras)}")
    parts = []
    for child in rule.children:
        kind = wanted.field(child.name).type
        if child.name in present:
            values = pa.chunked_array([pc.struct_field(array, child.name)])
            parts.append(cast_column(values, child, kind).combine_chunks())
        elif child.required:
            raise _CannotCastError(f"it has no field {child.name}")
        else:
            parts.append(_default_column(child, kind, len(array)))
    fields = [wanted.field(child.name) for child in rule.children]
    return pa.chunked_array([pa.StructArray.from_arrays(parts, fields=fields, mask=pc.is_null(array))])


def _struct_to_map(array: Any, rule: ColumnRule, wanted: pa.DataType) -> Any:
    """Python dicts arrive as structs of all their keys; a null there is an absent key, if values are never null."""
    if rule.children[1].nullable:
        raise _CannotCastError("a null in it may be a value or an absent key; build a pa.map_ column")
    rows = [
        None if row is None else [(key, value) for key, value in row.items() if value is not None]
        for row in array.to_pylist()
    ]
    values = pa.array([value for row in rows if row for _, value in row] or None, None) if any(rows) else None
    if values is not None:
        _require_allowed(values.type, wanted.item_type)
    try:
        return pa.chunked_array([pa.array(rows, wanted)])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _CannotCastError(str(error)) from error
