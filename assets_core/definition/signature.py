"""What a user's function looks like from outside: where it stands, its parameters, its annotations.

Nothing here knows assets. Inspection happens when a project is validated, not when a decorator runs: by then
every name of the module exists, and defining assets stays cheap.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from io_managers.nearest import nearest_names

__all__ = [
    "EMPTY",
    "FunctionProblem",
    "Parameter",
    "Signature",
    "SourceLocation",
    "inspect_function",
    "local_names",
    "location_of",
    "plain_function",
    "strip_optional",
]

#: Stands for an annotation that is absent.
EMPTY: Any = inspect.Parameter.empty

R = TypeVar("R")

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


class SourceLocation(NamedTuple):
    """A line of the user's code; as text `path/file.py:41`, relative to the working folder when below."""

    file: str
    line: int

    def __str__(self) -> str:
        try:
            below = os.getcwd() + os.sep  # noqa: PTH109 - pathlib costs milliseconds at import
        except FileNotFoundError:  # the working folder is gone
            return f"{self.file}:{self.line}"
        return f"{self.file.removeprefix(below)}:{self.line}"


class Parameter(NamedTuple):
    """One parameter; `annotation` is resolved, `EMPTY` when there is none or it cannot be resolved."""

    name: str
    annotation: Any
    has_default: bool
    is_positional_only: bool


class FunctionProblem(NamedTuple):
    """Why a function cannot be used: the parts of a `DefinitionError`, `what` continuing a sentence on it."""

    code: str
    what: str
    why: str
    do: str


class Signature(NamedTuple):
    """A function as seen by a project; `returns` is `EMPTY` when absent or not resolvable."""

    parameters: tuple[Parameter, ...]
    returns: Any
    problems: tuple[FunctionProblem, ...]

    def call(self, function: Callable[..., R], arguments: Mapping[str, object]) -> R:
        """Call the function with values by parameter name, handing over positional-only ones by position."""
        positional = [
            item.name for item in self.parameters if item.is_positional_only and item.name in arguments
        ]
        if not positional:
            return function(**arguments)
        rest = {name: value for name, value in arguments.items() if name not in positional}
        return function(*[arguments[name] for name in positional], **rest)


def plain_function(function: Callable[..., Any]) -> types.FunctionType | None:
    """The function under `functools.partial` and `functools.wraps`; None for methods and builtins."""
    while isinstance(function, functools.partial):
        function = function.func
    unwrapped = inspect.unwrap(function)
    while isinstance(unwrapped, functools.partial):
        unwrapped = inspect.unwrap(unwrapped.func)
    return unwrapped if isinstance(unwrapped, types.FunctionType) else None


def location_of(function: Callable[..., Any] | None, frame: types.FrameType | None) -> SourceLocation:
    """Where a function begins (its first decorator), or the line that a frame is at when there is no code."""
    plain = plain_function(function) if function is not None else None
    if plain is not None:
        return SourceLocation(plain.__code__.co_filename, plain.__code__.co_firstlineno)
    if frame is not None:
        return SourceLocation(frame.f_code.co_filename, frame.f_lineno)
    return SourceLocation("<unknown>", 0)


def local_names(function: Callable[..., Any], frame: types.FrameType | None) -> Mapping[str, Any]:
    """Names of the enclosing function that the annotations of a nested function use; {} for other functions.

    They are taken when the decorator runs, because no one can find them later.
    """
    plain = plain_function(function)
    if plain is None or frame is None or "<locals>" not in plain.__qualname__:
        return {}
    texts = [
        str(annotation) for annotation in plain.__annotations__.values() if not isinstance(annotation, type)
    ]
    used = {name for text in texts for name in _IDENTIFIER.findall(text)}
    return {name: frame.f_locals[name] for name in used if name in frame.f_locals} if used else {}


def strip_optional(annotation: Any) -> Any:
    """`T` for `T | None`; anything else unchanged."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [item for item in typing.get_args(annotation) if item is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def inspect_function(function: Callable[..., Any], names: Mapping[str, Any]) -> Signature:
    """Look at a function without calling it.

    Args:
        function: A function, possibly wrapped or partial; what a partial fixes by keyword is left out.
        names: Further names for annotations, as `local_names` found them.
    """
    plain = plain_function(function)
    if plain is None:
        kind = "a method" if inspect.ismethod(function) else f"a {type(function).__name__}"
        return Signature(
            (), EMPTY, (_unsupported(f"is {kind}, not a function", "its code cannot be followed"),)
        )
    problems: list[FunctionProblem] = []
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        problems.append(
            _unsupported("is an async function", "steps run in workers of their own, without a loop")
        )
    annotations = _resolve_annotations(plain, names, problems)
    fixed = _fixed_by_partial(function)
    parameters: list[Parameter] = []
    for position, item in enumerate(inspect.signature(function).parameters.values()):
        if item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
            stars = "*" if item.kind is item.VAR_POSITIONAL else "**"
            problems.append(
                FunctionProblem(
                    "parameter-unsupported",
                    f"takes {stars}{item.name}",
                    "dependencies are named by parameters, and these have no name.",
                    "name each parameter; several inputs can be given with ins=.",
                )
            )
        elif position == 0 and item.name in ("self", "cls") and _is_in_class(plain):
            problems.append(_unsupported("is a method", f"its first parameter is {item.name!r}"))
        elif item.name not in fixed:
            parameters.append(
                Parameter(
                    item.name,
                    annotations.get(item.name, EMPTY),
                    item.default is not item.empty,
                    item.kind is item.POSITIONAL_ONLY,
                )
            )
    return Signature(tuple(parameters), annotations.get("return", EMPTY), tuple(problems))


def _unsupported(what: str, why: str) -> FunctionProblem:
    return FunctionProblem(
        "function-unsupported", what, f"{why}.", "write a plain function at the top level of a module."
    )


def _is_in_class(function: types.FunctionType) -> bool:
    owner = function.__qualname__.rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


def _fixed_by_partial(function: Callable[..., Any]) -> frozenset[str]:
    fixed: set[str] = set()
    while isinstance(function, functools.partial):
        fixed |= function.keywords.keys()
        function = function.func
    return frozenset(fixed)


def _resolve_annotations(
    function: types.FunctionType, names: Mapping[str, Any], problems: list[FunctionProblem]
) -> dict[str, Any]:
    """Annotations as objects; what cannot be resolved is left out and told in `problems`."""
    raw = function.__annotations__
    if all(isinstance(annotation, type) for annotation in raw.values()):
        return dict(raw)
    scope = function.__globals__
    resolved: dict[str, Any] = {}
    for name, annotation in raw.items():
        if annotation is None or isinstance(annotation, type):
            resolved[name] = annotation
            continue
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            resolved[name] = typing.get_type_hints(holder, scope, dict(names), include_extras=True)[name]
        except Exception as error:  # noqa: BLE001 - an annotation is the user's code; it is reported, not lost
            problems.append(_bad_annotation(name, annotation, error, scope))
    return resolved


def _bad_annotation(
    name: str, annotation: object, error: Exception, scope: Mapping[str, Any]
) -> FunctionProblem:
    text = annotation if isinstance(annotation, str) else repr(annotation)
    place = "its return value" if name == "return" else f"parameter {name!r}"
    do = "correct the annotation."
    if isinstance(error, NameError):
        missing = getattr(error, "name", None) or text
        close = nearest_names(
            missing, [known for known in scope if not known.startswith("__")], n=1, cutoff=0.75
        )
        do = (
            f"write {close[0]!r}, or import {missing!r}"
            if close
            else f"import {missing!r} at the top of the module"
        ) + "; an import below `if TYPE_CHECKING:` does not count."
    return FunctionProblem(
        "annotation-bad",
        f"annotates {place} as {text!r}, which cannot be resolved",
        f"{type(error).__name__}: {error}.",
        do,
    )
