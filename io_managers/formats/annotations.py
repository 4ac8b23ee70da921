"""What an annotation says about storing and loading, read without importing the libraries it names."""

from collections.abc import Generator, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from inspect import Parameter
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, is_typeddict

from io_managers.errors import FormatError
from io_managers.formats.frames import FRAME_TYPES, frame_kind, type_title
from io_managers.formats.json_values import is_model

__all__ = ["format_of", "is_unannotated", "item_type", "partition_type", "require_resolved", "unwrapped"]

Format = Literal["parquet", "json", "text", "bytes", "file"]

_MAPPINGS = (dict, Mapping, MutableMapping)
_SEQUENCES = (list, Sequence, MutableSequence)
_ITERATORS = (Iterator, Iterable, Generator)


def is_unannotated(annotation: Any) -> bool:
    """Whether nothing was said: no annotation, `None` as one, or `Any`."""
    return annotation is None or annotation is Any or annotation is Parameter.empty


def unwrapped(annotation: Any) -> Any:
    """The type below `Annotated`, `NewType` and `type` aliases."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__") and not isinstance(annotation, type):
            annotation = annotation.__value__
        else:
            return annotation


def require_resolved(annotation: Any) -> None:
    """Refuse an annotation that is still text.

    Raises:
        FormatError: `annotation-unresolved`.
    """
    if isinstance(annotation, str):
        raise FormatError(
            "annotation-unresolved",
            f"the annotation {annotation!r} is text, and the type it names could not be found.",
            do="import the type in the module that uses it, outside 'if TYPE_CHECKING:'.",
        )


def item_type(annotation: Any) -> Any:
    """T of `Iterator[T]`, `Iterable[T]` and `Generator[T, ...]`; `Parameter.empty` when it is none of these."""
    origin = get_origin(annotation) or annotation
    if origin not in _ITERATORS:
        return Parameter.empty
    arguments = get_args(annotation)
    return arguments[0] if arguments else None


def partition_type(annotation: Any) -> Any:
    """T of `dict[str, T]` and `Mapping[str, T]`; `Parameter.empty` when it is none of these."""
    arguments = get_args(annotation)
    if get_origin(annotation) in _MAPPINGS and len(arguments) == 2 and arguments[0] is str:
        return arguments[1]
    return Parameter.empty


def format_of(annotation: Any) -> Format:
    """The name of the IO manager that stores values of this type.

    Raises:
        FormatError: No manager stores them; the message says which types are stored.
    """
    require_resolved(annotation)
    annotation = unwrapped(annotation)
    if is_unannotated(annotation) or annotation is NoneType:
        raise FormatError(
            "annotation-missing",
            "the function's return type is not known, so there is no telling how to store its value.",
            do="annotate what it returns, for example '-> pd.DataFrame', or name an IO manager with io_manager=.",
        )
    name = _format_of_class(annotation) if isinstance(annotation, type) else None
    name = name or _format_of_generic(annotation)
    if name is None:
        raise _unknown(annotation)
    return name


def _format_of_class(cls: type) -> Format | None:
    if frame_kind(cls) is not None:
        return "parquet"
    if get_origin(cls) is not None:
        return None
    if issubclass(cls, PurePath):
        return "file" if issubclass(cls, Path) else None
    if cls in (bytes, bytearray, memoryview):
        return "bytes"
    if cls is str:
        return "text"
    is_json = cls in (int, float, bool, *_MAPPINGS, *_SEQUENCES) or is_typeddict(cls) or is_model(cls)
    return "json" if is_json else None


def _format_of_generic(annotation: Any) -> Format | None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _format_of_union(annotation, arguments)
    if origin is Literal:
        return _format_of_union(annotation, tuple(dict.fromkeys(type(value) for value in arguments)))
    if origin in _ITERATORS:
        return "parquet" if arguments and _is_frame(arguments[0]) else None
    if origin in _SEQUENCES:
        return "json" if all(_is_json_part(argument) for argument in arguments) else None
    if origin in _MAPPINGS:
        return _format_of_mapping(annotation, *arguments)
    return _format_of_class(origin) if isinstance(origin, type) else None


def _format_of_mapping(annotation: Any, key: Any, value: Any) -> Format | None:
    """The parts' format for one value a partition, else JSON when it is a JSON object."""
    if unwrapped(key) is not str and key is not Any and get_origin(key) is not Literal:
        raise FormatError(
            "json-key-not-text",
            f"{type_title(annotation)} cannot be stored: its keys are {type_title(key)}, and stored keys are text.",
            do="use dict[str, ...] with str(key).",
        )
    if _is_json_part(value):
        return "json"
    return format_of(value)


def _format_of_union(annotation: Any, members: tuple[Any, ...]) -> Format | None:
    if NoneType in members:
        raise FormatError(
            "annotation-optional",
            f"{type_title(annotation)} allows None, and None cannot be stored.",
            why="an asset partition that exists has a value; one that has none is simply not materialized.",
            do="return an empty value, or raise, where there is nothing; and take None out of the annotation.",
        )
    names = {format_of(member) for member in members}
    if names == {"json", "text"}:
        return "json"
    return names.pop() if len(names) == 1 else None


def _is_frame(annotation: Any) -> bool:
    annotation = unwrapped(annotation)
    return isinstance(annotation, type) and frame_kind(annotation) is not None


def _is_json_part(annotation: Any) -> bool:
    """Whether values of the type may stand inside a JSON value, where None and text are values too."""
    annotation = unwrapped(annotation)
    if annotation is Any or annotation in (None, NoneType, object):
        return True
    if isinstance(annotation, str):
        return False
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return all(_is_json_part(member) for member in arguments)
    if origin is Literal:
        return all(type(value) in (str, int, bool, NoneType) for value in arguments)
    if origin in (*_SEQUENCES, tuple):
        return all(_is_json_part(argument) for argument in arguments if argument is not Ellipsis)
    if origin in _MAPPINGS:
        return unwrapped(arguments[0]) is str and _is_json_part(arguments[1])
    if isinstance(annotation, type):
        return annotation is tuple or _format_of_class(annotation) in ("json", "text")
    return isinstance(origin, type) and _format_of_class(origin) == "json"


def _unknown(annotation: Any) -> FormatError:
    title = type_title(annotation)
    return FormatError(
        "annotation-unknown",
        f"there is no telling how to store a value of type {title}.",
        why=f"stored are: {FRAME_TYPES}; iterators of these; str; bytes; pathlib.Path; int, float, bool, list, "
        "dict[str, ...], TypedDict and pydantic models as JSON.",
        do="use one of these, or name an IO manager of your own with io_manager=.",
    )
