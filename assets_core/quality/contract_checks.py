r"""The rules of a contract on an Arrow table, column by column, without a Python object for each value.

A missing value is a null; NaN in a floating column counts as missing too, as pandas knows no other kind. A missing
value violates `not_null` where the column is not nullable and no other rule anywhere.

Patterns are searched as pydantic's engine does: anywhere in the text, `$` only at its very end, `\w`, `\d` and
the like over all of Unicode. RE2 finds the matches where it means the same; else Python's `re` does on the
distinct values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets_core.definition.check_outcome import CheckOutcome
from assets_core.quality.plain_values import SAMPLE_ROWS, plain_row, plain_value

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.definition.contract import Contract
    from assets_core.definition.contract_columns import ColumnRule

__all__ = ["check_contract"]

_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_VIOLATIONS = {"ge": "less", "gt": "less_equal", "le": "greater", "lt": "greater_equal"}
_SLACK = 1e-9
_UNICODE_SENSITIVE = re.compile(r"\\[wWdDsSbBpP]|\(\?[a-z]*i|\[:")


@dataclass(frozen=True)
class _Values:
    """The values of one rule with the rows they stand in; `rows` None means each row has its value."""

    path: str
    rule: ColumnRule
    array: Any
    rows: Any = None


def check_contract(contract: Contract, table: pa.Table) -> list[CheckOutcome]:
    """Judge a table by a contract.

    Args:
        contract: Columns and rules.
        table: As staged; it is not cast here.

    Returns:
        `contract:schema`, or one outcome for each column that is missing, of another type, or forbidden; then one
        for each rule, `contract:COLUMN:RULE`, kept or violated. Parts of nested columns are named `COLUMN.FIELD`
        and `COLUMN[]`.
    """
    schema = contract.arrow_schema
    outcomes = list(_check_schema(contract, table, schema))
    wrong = {outcome.check for outcome in outcomes}
    if not outcomes:
        columns = f"{len(schema)} columns" + (" and others" if len(table.schema) > len(schema) else "")
        outcomes.append(
            CheckOutcome("contract:schema", "passed", "error", columns, f"the columns of {contract.name}")
        )
    for rule in contract.fields:
        if not wrong.isdisjoint((f"contract:{rule.name}:present", f"contract:{rule.name}:type")):
            continue
        for values in _parts(_Values(rule.name, rule, table.column(rule.name))):
            outcomes += _check_values(values, table, python_patterns=contract.uses_python_patterns)
    if contract.has_validators and not wrong:
        from assets_core.quality.model_validators import check_validators

        outcomes.append(check_validators(contract, table))
    return outcomes


def _check_schema(contract: Contract, table: pa.Table, schema: pa.Schema) -> Iterator[CheckOutcome]:
    for rule in contract.fields:
        indices = table.schema.get_all_field_indices(rule.name)
        if len(indices) != 1:
            observed = f"{len(indices)} columns of this name" if indices else "no such column"
            yield _outcome(f"{rule.name}:present", "failed", observed, f"one column of type {rule.type}")
        elif not table.schema.types[indices[0]].equals(schema.field(rule.name).type):
            yield _outcome(f"{rule.name}:type", "failed", str(table.schema.types[indices[0]]), rule.type)
    if not contract.allows_extra:
        for name in sorted(set(table.schema.names) - set(schema.names)):
            yield _outcome(
                f"{name}:extra", "failed", "a further column", f"only the columns of {contract.name}"
            )


def _outcome(
    name: str, status: Any, observed: str, expected: str, sample: tuple[dict[str, object], ...] = ()
) -> CheckOutcome:
    return CheckOutcome(f"contract:{name}", status, "error", observed, expected, sample)


def _parts(values: _Values) -> Iterator[_Values]:
    """A column, then what is inside of it as columns of their own."""
    yield values
    rule = values.rule
    if not rule.children or not _has_rules(rule.children):
        return
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = values.array.combine_chunks() if isinstance(values.array, pa.ChunkedArray) else values.array
    rows = values.rows if values.rows is not None else np.arange(len(array))
    valid = pc.is_valid(array)
    array, rows = array.filter(valid), rows[valid.to_numpy(zero_copy_only=False)]
    if rule.type.startswith("struct<"):
        for child in rule.children:
            field = pc.struct_field(array, child.name)
            yield from _parts(_Values(f"{values.path}.{child.name}", child, field, rows))
        return
    if rule.type.startswith("map<"):
        array = pa.ListArray.from_arrays(array.offsets, array.items)
    items, parents = pc.list_flatten(array), pc.list_parent_indices(array).to_numpy()
    yield from _parts(_Values(f"{values.path}[]", rule.children[-1], items, rows[parents]))


def _has_rules(rules: Sequence[ColumnRule]) -> bool:
    names = (*_SIGNS, "multiple_of", "pattern", "min_length", "max_length", "enum", "is_finite")
    return any(
        not rule.nullable
        or any(getattr(rule, name) not in (None, (), False) for name in names)
        or _has_rules(rule.children)
        for rule in rules
    )


def _check_values(values: _Values, table: pa.Table, *, python_patterns: bool) -> Iterator[CheckOutcome]:
    import pyarrow as pa
    import pyarrow.compute as pc

    rule, array = values.rule, values.array
    if not rule.nullable:
        yield _judge(values, table, "not_null", "no missing value", pc.is_null(array, nan_is_null=True), "")
    if any(getattr(rule, name) is not None for name in _SIGNS):
        span = _span(array)
        for name, sign in _SIGNS.items():
            limit = getattr(rule, name)
            if limit is not None:
                mask = getattr(pc, _VIOLATIONS[name])(array, _limit(limit, array.type))
                yield _judge(values, table, name, f"{sign} {plain_value(limit)}", mask, span)
    if rule.is_finite:
        yield _judge(values, table, "finite", "finite", pc.is_inf(array), "")
    if rule.multiple_of is not None:
        mask = pa.array(_not_multiples(array, rule.multiple_of))
        yield _judge(values, table, "multiple_of", f"a multiple of {rule.multiple_of}", mask, "")
    if rule.min_length is not None or rule.max_length is not None:
        lengths = _lengths(array)
        span = _span(lengths)
        if rule.min_length is not None:
            mask = pc.less(lengths, rule.min_length)
            yield _judge(
                values, table, "min_length", f"length >= {rule.min_length}", mask, span and f"length {span}"
            )
        if rule.max_length is not None:
            mask = pc.greater(lengths, rule.max_length)
            yield _judge(
                values, table, "max_length", f"length <= {rule.max_length}", mask, span and f"length {span}"
            )
    if rule.pattern is not None:
        mask = pc.invert(_matches(array, rule.pattern, use_python=python_patterns))
        yield _judge(values, table, "pattern", f"matches {rule.pattern}", mask, "")
    if rule.enum:
        known = pc.is_in(array, value_set=pa.array(rule.enum, array.type))
        allowed = ", ".join(repr(plain_value(item)) for item in rule.enum[:20])
        mask = pc.and_(pc.is_valid(array), pc.invert(known))
        yield _judge(
            values, table, "enum", f"one of {allowed}{', ...' if len(rule.enum) > 20 else ''}", mask, ""
        )
    if rule.unique:
        yield _judge(values, table, "unique", "every value once", pa.array(_duplicates(array)), "")


def _judge(values: _Values, table: pa.Table, rule: str, expected: str, mask: Any, span: str) -> CheckOutcome:
    """The outcome of one rule from the mask of the values that violate it; a null in the mask is no violation."""
    import numpy as np
    import pyarrow.compute as pc

    n = len(values.array)
    noun = "rows" if values.rows is None else "values"
    n_failing = pc.sum(mask).as_py() or 0
    name = f"{values.path}:{rule}"
    if not n_failing:
        return _outcome(name, "passed", f"{n:,} {noun}" + (f"; {span}" if span else ""), expected)
    at = np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
    rows = at if values.rows is None else np.unique(values.rows[at])
    observed = f"{n_failing:,} of {n:,} {noun} ({_share(n_failing, n)}); " + (f"{span}; " if span else "")
    observed += f"first in row {int(rows[0]):,}"
    column = values.path.partition(".")[0].partition("[")[0] if values.rows is not None else values.path
    sample = [plain_row(row, column) for row in table.take(rows[:SAMPLE_ROWS]).to_pylist()]
    return _outcome(name, "failed", observed, expected, tuple(sample))


def _share(part: int, whole: int) -> str:
    return "all" if part == whole else f"{100 * part / whole:.2g}%"


def _span(array: Any) -> str:
    """The smallest and the greatest value as text, "" when there is none; NaN apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    is_duration = pa.types.is_duration(kind)  # which Arrow cannot order
    found = pc.min_max(array.cast(pa.int64()) if is_duration else array).as_py()
    if found["min"] is None:
        return ""
    if is_duration:
        found = {name: pa.scalar(value, kind).as_py() for name, value in found.items()}
    return f"min {plain_value(found['min'])}, max {plain_value(found['max'])}"


def _limit(limit: Any, kind: Any) -> Any:
    """The limit in the column's own type if it has such a value, else as it is: 0.5 for whole numbers."""
    import pyarrow as pa

    try:
        scalar = pa.scalar(limit, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):
        return pa.scalar(limit)
    return scalar if scalar.as_py() == limit else pa.scalar(limit)


def _lengths(array: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_map(kind):
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        array = pa.ListArray.from_arrays(array.offsets, array.items, mask=pc.is_null(array))
        kind = array.type
    if pa.types.is_nested(kind):
        return pc.list_value_length(array)
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return pc.binary_length(array) if is_binary else pc.utf8_length(array)


def _matches(array: Any, pattern: str, *, use_python: bool) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_ascii_safe = (
        not _UNICODE_SENSITIVE.search(pattern) or pc.all(pc.string_is_ascii(array)).as_py() is not False
    )
    if not use_python and is_ascii_safe:
        try:
            return pc.match_substring_regex(array, pattern)
        except pa.ArrowInvalid:
            pass  # RE2 knows less than other engines
    # Python's `$` also matches before a last line break; Rust's does not.
    if not use_python and pattern.endswith("$") and not pattern.endswith("\\$"):
        pattern = pattern[:-1] + r"\Z"
    compiled = re.compile(pattern)
    coded = array.dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    found = pa.array([compiled.search(text) is not None for text in coded.dictionary.to_pylist()], pa.bool_())
    return found.take(coded.indices)


def _not_multiples(array: Any, factor: Any) -> Any:
    """Mask of the values that are no multiple; of floats, those further off than a billionth, as in pydantic."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return [None if value is None else value % factor != 0 for value in array.to_pylist()]
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    numbers = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        if pa.types.is_integer(array.type) and float(factor).is_integer():
            return valid & (np.mod(numbers, int(factor)) != 0)
        rest = np.abs(np.mod(numbers.astype(np.float64), float(factor)))
        return valid & ~np.isnan(rest) & (rest > _SLACK) & (np.abs(rest - float(factor)) > _SLACK)


def _duplicates(array: Any) -> Any:
    """Mask of the values that occur more than once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    codes = pc.fill_null(array.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
    valid = codes >= 0
    if pa.types.is_floating(array.type):
        valid &= ~pc.fill_null(pc.is_nan(array), True).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes[valid], minlength=int(codes.max(initial=-1)) + 1)
    mask = np.zeros(len(codes), np.bool_)
    mask[valid] = counts[codes[valid]] > 1
    return mask
