"""JSON values, TypedDicts and pydantic models as one JSON file.

What is stored comes back equal: keys are text, NaN and infinity are refused (JSON has neither; use None). Tuples
are stored as lists. Keys keep their order in the file; the data version does not depend on it.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin, is_typeddict

from xxhash import xxh3_128_hexdigest

from io_managers.errors import FormatError
from io_managers.formats.frames import type_title
from io_managers.formats.protocol import FileSink, FileSource, Written, created

__all__ = ["JsonManager", "is_model", "matches"]

_FILE = "value.json"
_LEAVES = frozenset({str, int, float, bool, type(None)})


class JsonManager:
    """Stores a JSON value in `value.json`, UTF-8."""

    name = "json"

    def write(self, value: Any, sink: FileSink) -> Written:
        """Write one value.

        Raises:
            FormatError: The value is None, or holds something that JSON cannot give back equal.
        """
        if value is None:
            raise FormatError(
                "value-is-none",
                "the function returned None where a JSON value was expected.",
                do="return the value; return {} or [] where there is nothing to say.",
            )
        if type(value) not in _LEAVES:
            _require_text_keys(value)
        try:
            data = _encode(value).encode()
            same = data if type(value) in _LEAVES else _encode_sorted(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise _not_json(value, error) from error
        with created(sink, _FILE) as file:
            file.write(data)
        return Written(data_version=xxh3_128_hexdigest(same))

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> Any:
        """Read the value; a pydantic model is validated, other types are compared with the value's own.

        Raises:
            FormatError: `columns` are asked for, or the value is not of that type.
        """
        require_no_columns(columns, "json")
        with source.open(_FILE) as file:
            data = file.read()
        if _mentions_model(as_type):
            return _validate(data, as_type)
        value = json.loads(data)
        if not matches(value, as_type):
            raise FormatError(
                "stored-value-differs",
                f"the stored JSON value is of type {type_title(type(value))}, not {type_title(as_type)}.",
                why=f"it begins with {data[:60].decode(errors='replace')}",
                do="change the parameter's annotation to the type that the upstream asset returns.",
            )
        return value


def require_no_columns(columns: Sequence[str] | None, name: str) -> None:
    """Refuse column selection for values that are not tables.

    Raises:
        FormatError: `columns-of-a-value`.
    """
    if columns is not None:
        raise FormatError(
            "columns-of-a-value",
            f"columns were asked for ({', '.join(columns)}), but the value is stored as {name}, which has none.",
            do="leave columns out.",
        )


def is_model(cls: Any) -> bool:
    """Whether a class is a pydantic model, told by name."""
    return isinstance(cls, type) and any(
        base.__module__ == "pydantic.main" and base.__name__ == "BaseModel" for base in cls.__mro__
    )


def matches(value: Any, as_type: Any) -> bool:
    """Whether a JSON value is of a type, as far as its outermost layer tells. Unknown types match."""
    origin = get_origin(as_type) or as_type
    if is_typeddict(origin) or origin is Mapping:
        return isinstance(value, dict)
    if origin in (Sequence, Iterable):
        return isinstance(value, list)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin) if origin in (dict, list, str, bool) else True


def _plain(value: Any) -> Any:
    if is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    raise TypeError(f"{type_title(type(value))} is not a JSON value")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode
_encode_sorted = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain, sort_keys=True
).encode


def _require_text_keys(value: Any) -> None:
    """Refuse keys that the encoder would silently turn into text."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        if isinstance(item, dict):
            seen.add(id(item))
            for key in item:
                if not isinstance(key, str):
                    raise FormatError(
                        "json-key-not-text",
                        f"a dict in the value has the key {key!r}, which is not text but {type_title(type(key))}.",
                        why="JSON keys are text, and the key would come back different.",
                        do="use text keys, for example: {str(k): v for k, v in value.items()}.",
                    )
            waiting += [child for child in item.values() if type(child) not in _LEAVES]
        elif isinstance(item, list | tuple):
            seen.add(id(item))
            waiting += [child for child in item if type(child) not in _LEAVES]


def _not_json(value: Any, error: Exception) -> FormatError:
    reason = f"{error}."
    if isinstance(error, RecursionError) or "Circular" in reason:
        reason = "it contains itself, or is nested too deeply."
    elif "Out of range float" in reason:
        reason = f"{_place_of_non_number(value)}; JSON has no such number."
    return FormatError(
        "value-not-json",
        f"the function's value, a {type_title(type(value))}, cannot be stored as JSON.",
        why=reason,
        do="return dicts with text keys, lists, text, numbers, booleans and None; None instead of NaN; "
        "dataclasses.asdict(value) for a dataclass, .item() for a numpy number, .isoformat() for a time.",
    )


def _place_of_non_number(value: Any) -> str:
    """Where the first NaN or infinity stands, as Python would reach it."""
    waiting = [("value", value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return f"{place} is {item}"
        if is_model(type(item)):
            item = _plain(item)
        if isinstance(item, dict):
            waiting += [(f"{place}[{key!r}]", child) for key, child in reversed(item.items())]
        elif isinstance(item, list | tuple):
            waiting += [(f"{place}[{index}]", child) for index, child in reversed(list(enumerate(item)))]
    return "it holds NaN or infinity"


def _mentions_model(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return is_model(annotation)
    return any(_mentions_model(argument) for argument in get_args(annotation))


def _validate(data: bytes, as_type: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(as_type).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the value itself"
        raise FormatError(
            "stored-value-differs",
            f"the stored JSON value does not fit {type_title(as_type)}.",
            why=f"{error.error_count()} problems, the first at {place}: {first['msg']}.",
            do="materialize the upstream asset again, or widen the model.",
        ) from error
