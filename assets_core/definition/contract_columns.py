"""The columns that a pydantic row model promises: Arrow types and rules, read from its fields.

Types:
    bool, int (int64), float (double), str (string), bytes (binary), date (date32[day]), time (time64[us]),
    timedelta (duration[us]), datetime and NaiveDatetime (timestamp[us]), AwareDatetime (timestamp[us, tz=UTC]),
    Decimal (decimal128 of max_digits and decimal_places, by default 38 and 18), UUID (string with the pattern of one),
    Literal and Enum (the type of their values), list, set, frozenset, tuple[T, ...] and Sequence (list),
    dict[str, T] (map), nested models (struct). `T | None` is nullable.

`json_schema_extra={"unique": True}` forbids equal values; `{"arrow_type": "int32"}`, or a pyarrow type among the
metadata (`Annotated[int, pa.int32()]`), asks for another Arrow type of the same kind.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

__all__ = ["ColumnRule", "UnknownTypeError", "read_columns"]

_SCALARS: Mapping[Any, str] = {
    bool: "bool",
    int: "int64",
    float: "double",
    str: "string",
    bytes: "binary",
    dt.date: "date32[day]",
    dt.time: "time64[us]",
    dt.timedelta: "duration[us]",
    dt.datetime: "timestamp[us]",
    uuid.UUID: "string",
}
_PYDANTIC_SCALARS = {"AwareDatetime": "timestamp[us, tz=UTC]", "NaiveDatetime": "timestamp[us]"}
_LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
_TYPE_PARTS = ("max_digits", "decimal_places", "allow_inf_nan")
#: Metadata of pydantic that says how one value is parsed or shown, nothing about the values of a column.
_HARMLESS = (
    "Strict",
    "WithJsonSchema",
    "PlainSerializer",
    "WrapSerializer",
    "FieldInfo",
    "SkipValidation",
    "UuidVersion",
)
_EQUIVALENT_TYPES = {
    "int64": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "double": ("halffloat", "float", "double", "float16", "float32", "float64"),
    "string": ("string", "large_string", "string_view"),
    "binary": ("binary", "large_binary"),
}


class UnknownTypeError(Exception):
    """An annotation has no Arrow type; `path` names the field."""

    def __init__(self, path: str, annotation: object, why: str = "") -> None:
        super().__init__(path, annotation)
        self.path = path
        self.annotation = annotation
        self.why = why


@dataclass(frozen=True)
class ColumnRule:
    """One column of a contract, or one part of a nested one.

    Attributes:
        name: Name of the column in the table: the field's alias when it has one.
        type: Text of the Arrow type, as `str()` of it would give.
        field: Name of the model's field when it is not the column's.
        required: The column must be there; else it is added with `default`.
        pattern: Regular expression that a text must contain a match of.
        min_length: In characters, bytes or list items.
        enum: The values allowed, () for any.
        is_finite: Infinite numbers are not allowed.
        children: The fields of a struct; the single item of a list; key and value of a map.
    """

    name: str
    type: str
    nullable: bool
    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None
    multiple_of: Any = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    enum: tuple[Any, ...] = ()
    unique: bool = False
    is_finite: bool = False
    description: str = ""
    field: str = ""
    required: bool = True
    default: Any = None
    children: tuple[ColumnRule, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What is set, as plain values; stable."""
        found: dict[str, Any] = {"name": self.name, "type": self.type, "nullable": self.nullable}
        for name in (*_LIMITS, "unique", "is_finite", "field"):
            value = getattr(self, name)
            if value is not None and value is not False and value != "":
                found[name] = _plain(value)
        if self.enum:
            found["enum"] = [_plain(value) for value in self.enum]
        if not self.required:
            found["default"] = _plain(self.default)
        if self.description:
            found["description"] = self.description
        if self.children:
            found["children"] = [child.to_dict() for child in self.children]
        return found


@dataclass
class _Draft:
    """What is known of a column while its annotation is taken apart."""

    path: str
    nullable: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    arrow_type: str = ""
    has_validators: bool = False


def read_columns(
    model: Any, path: str = "", *, open_models: tuple[Any, ...] = ()
) -> tuple[tuple[ColumnRule, ...], bool]:
    """The columns of a model in the order of its fields, and whether it has validators that only it can run.

    Args:
        model: A pydantic model class.
        path: Put in front of field names in errors; by default the model's name.
        open_models: Models that contain this one, to notice one that contains itself.

    Raises:
        UnknownTypeError: A field's annotation has no Arrow type.
    """
    path = path or model.__name__
    if model in open_models:
        raise UnknownTypeError(path, model, "a model cannot contain itself")
    rules = []
    decorators = model.__pydantic_decorators__
    has_validators = bool(decorators.field_validators or decorators.model_validators or decorators.validators)
    for name, info in model.model_fields.items():
        draft = _Draft(f"{path}.{name}")
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, Mapping) else {}
        draft.arrow_type = str(extra.get("arrow_type", ""))
        _take_metadata(draft, info.metadata)
        rule = _build(draft, info.annotation, _column_name(info, name, draft.path), (*open_models, model))
        if extra.get("unique") and rule.children:
            raise UnknownTypeError(draft.path, info.annotation, "only plain columns can be unique")
        default = info.default if not info.is_required() and info.default_factory is None else None
        rules.append(
            _replaced(
                rule,
                field=name if rule.name != name else "",
                unique=bool(extra.get("unique", False)),
                description=info.description or "",
                required=info.is_required() or info.default_factory is not None,
                default=default.value if isinstance(default, enum.Enum) else default,
            )
        )
        has_validators |= draft.has_validators
    return tuple(rules), has_validators


def _replaced(rule: ColumnRule, **changes: Any) -> ColumnRule:
    return dataclasses.replace(rule, **changes)


def _column_name(info: Any, name: str, path: str) -> str:
    alias = info.validation_alias if info.validation_alias is not None else info.alias
    if alias is None:
        return name
    if not isinstance(alias, str):
        raise UnknownTypeError(path, alias, "a column has one name: give alias= a text")
    return alias


def _take_metadata(draft: _Draft, metadata: Iterable[Any]) -> None:
    for item in metadata:
        if type(item).__module__.startswith("pyarrow"):
            draft.arrow_type = str(item)
            continue
        if type(item).__name__ == "FieldInfo":
            _take_metadata(draft, item.metadata)
            continue
        taken = False
        for name in (*_LIMITS, *_TYPE_PARTS):
            value = getattr(item, name, None)
            if value is not None:
                taken = True
                draft.limits[name] = _stricter(name, draft.limits.get(name), value)
        kind = type(item)
        known = kind.__module__.startswith(("pydantic", "annotated_types"))
        if known and getattr(item, "func", None) is not None:
            taken = False  # a validator or a predicate
        changes_text = any(getattr(item, name, None) for name in ("strip_whitespace", "to_lower", "to_upper"))
        is_empty = (
            known
            and not taken
            and kind.__name__ in ("Interval", "Len", "_PydanticGeneralMetadata", "StringConstraints")
        )
        if known and not taken and not is_empty and not changes_text and kind.__name__ not in _HARMLESS:
            draft.has_validators = True


def _stricter(name: str, known: Any, value: Any) -> Any:
    """The limit that implies the other."""
    if isinstance(value, typing.Pattern):
        value = value.pattern
    if known is None:
        return value
    if name in ("ge", "gt", "min_length"):
        return max(known, value)
    return min(known, value) if name in ("le", "lt", "max_length") else value


def _build(draft: _Draft, annotation: Any, name: str, models: tuple[Any, ...]) -> ColumnRule:
    annotation = _unwrap(draft, annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    children: tuple[ColumnRule, ...] = ()
    values: tuple[Any, ...] = ()
    if origin is typing.Literal:
        values = tuple(
            item.value if isinstance(item, enum.Enum) else item for item in arguments if item is not None
        )
        draft.nullable |= None in arguments
        text = _type_of_values(draft, annotation, values)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        values = tuple(item.value for item in annotation)
        text = _type_of_values(draft, annotation, values)
    elif annotation is decimal.Decimal:
        text = _decimal_type(draft)
    elif origin in _LISTS or (origin is tuple and len(arguments) == 2 and arguments[1] is ...):
        children = (_child(draft, arguments[0], "item", models),)
        text = f"list<item: {children[0].type}>"
    elif origin in (dict, collections.abc.Mapping) and arguments[0] is str:
        children = (ColumnRule("key", "string", nullable=False), _child(draft, arguments[1], "value", models))
        text = f"map<string, {children[1].type}>"
    elif hasattr(annotation, "model_fields") and isinstance(annotation, type):
        children, has_validators = read_columns(annotation, draft.path, open_models=models)
        draft.has_validators |= has_validators
        text = f"struct<{', '.join(f'{child.name}: {child.type}' for child in children)}>"
    else:
        text = _scalar_type(draft, annotation)
    if annotation is uuid.UUID:
        draft.limits.setdefault("pattern", _UUID)
    return ColumnRule(
        name,
        _chosen_type(draft, annotation, text),
        draft.nullable,
        enum=values,
        is_finite=draft.limits.get("allow_inf_nan") is False,
        children=children,
        **{key: draft.limits[key] for key in _LIMITS if key in draft.limits},
    )


def _child(draft: _Draft, annotation: Any, name: str, models: tuple[Any, ...]) -> ColumnRule:
    inner = _Draft(f"{draft.path}[]")
    rule = _build(inner, annotation, name, models)
    draft.has_validators |= inner.has_validators
    return rule


def _unwrap(draft: _Draft, annotation: Any) -> Any:
    """What is left without `Annotated`, `T | None`, type aliases and new types; their metadata go to the draft."""
    while True:
        origin = get_origin(annotation)
        if origin is typing.Annotated:
            _take_metadata(draft, annotation.__metadata__)
            annotation = annotation.__origin__
        elif origin in (typing.Union, types.UnionType):
            rest = [item for item in get_args(annotation) if item is not type(None)]
            if len(rest) != 1:
                raise UnknownTypeError(draft.path, annotation, "a column has one type")
            draft.nullable = True
            annotation = rest[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation


def _scalar_type(draft: _Draft, annotation: Any) -> str:
    try:
        found = _SCALARS.get(annotation)
    except TypeError:  # not hashable
        found = None
    module = getattr(annotation, "__module__", "")
    if found is None and isinstance(module, str) and module.startswith("pydantic."):
        found = _PYDANTIC_SCALARS.get(getattr(annotation, "__name__", ""))
    if found is None:
        raise UnknownTypeError(draft.path, annotation)
    return found


def _type_of_values(draft: _Draft, annotation: Any, values: tuple[Any, ...]) -> str:
    kinds = {type(value) for value in values}
    kinds = {
        next((base for base in (bool, int, float, str, bytes) if issubclass(kind, base)), kind)
        for kind in kinds
    }
    if len(kinds) != 1:
        raise UnknownTypeError(draft.path, annotation, "its values are not of one type")
    return _scalar_type(draft, kinds.pop())


def _decimal_type(draft: _Draft) -> str:
    scale = draft.limits.get("decimal_places")
    digits = draft.limits.get("max_digits") or 38
    scale = min(18, digits) if scale is None else scale
    if digits > 76 or scale > digits:
        raise UnknownTypeError(
            draft.path, decimal.Decimal, f"Arrow has no decimal of {digits} digits, {scale} of them decimals"
        )
    return f"decimal{128 if digits <= 38 else 256}({digits}, {scale})"


def _chosen_type(draft: _Draft, annotation: Any, text: str) -> str:
    if not draft.arrow_type or draft.arrow_type == text:
        return text
    allowed = _EQUIVALENT_TYPES.get(text, ())
    is_time = text.startswith("timestamp[us") and draft.arrow_type.startswith("timestamp[")
    if is_time and ("tz=" in text) == ("tz=" in draft.arrow_type):
        return draft.arrow_type
    if draft.arrow_type not in allowed:
        raise UnknownTypeError(
            draft.path,
            annotation,
            f"arrow_type is {draft.arrow_type!r}; allowed here: {', '.join(allowed) or text}",
        )
    return {"float16": "halffloat", "float32": "float", "float64": "double"}.get(
        draft.arrow_type, draft.arrow_type
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
