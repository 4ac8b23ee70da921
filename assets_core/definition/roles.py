"""What each parameter of an asset's function is for, and what its return annotation means."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from assets_core.definition.context import Context
from assets_core.definition.inputs import In, Input, Missing
from assets_core.definition.resource import Resource
from assets_core.definition.signature import (
    EMPTY,
    FunctionProblem,
    Parameter,
    Signature,
    SourceLocation,
    strip_optional,
)
from assets_core.errors import DefinitionError
from io_managers.nearest import nearest_names

if TYPE_CHECKING:
    from assets_core.definition.contract import Contract

__all__ = ["Roles", "assign_roles", "without_table"]

#: The parameter that gets the run configuration.
_CONFIG = "config"

_TABLE = ("assets_core.definition.contract", "Table")

#: What `Table[Model]` stands for, named without importing pandas: formats know a frame by module and name.
_DATA_FRAME = type("DataFrame", (), {"__module__": "pandas"})


class Roles(NamedTuple):
    """The parameters of an asset's function by what they get; `context_parameter` may be ""."""

    inputs: tuple[Input, ...]
    constants: tuple[str, ...]
    context_parameter: str
    config_model: type | None
    resources: Mapping[str, type[Resource]]
    output: Any
    contract: Contract | None
    problems: tuple[FunctionProblem, ...]


def assign_roles(signature: Signature, ins: Mapping[str, In], source: SourceLocation) -> Roles:
    """Sort the parameters of a function: what `ins` names is an input, then the annotations decide."""
    inputs: list[Input] = []
    constants: list[str] = []
    contexts: list[str] = []
    resources: dict[str, type[Resource]] = {}
    config_model: type | None = None
    problems = _unknown_parameters(signature, ins)
    for item in signature.parameters:
        wanted = strip_optional(item.annotation)
        if item.name in ins:
            inputs.append(_input(item, ins[item.name]))
            problems += _bad_in(item.name, ins[item.name])
        elif wanted is Context:
            contexts.append(item.name)
        elif isinstance(wanted, type) and issubclass(wanted, Resource):
            resources[item.name] = wanted
        elif item.name == _CONFIG:
            if _is_model(wanted):
                config_model = wanted
            else:
                problems.append(_bad_config(item))
        elif item.has_default:
            constants.append(item.name)
        else:
            inputs.append(_input(item, In()))
    if len(contexts) > 1:
        problems.append(
            FunctionProblem(
                "parameter-unsupported",
                f"takes {len(contexts)} contexts: {', '.join(contexts)}",
                "a step has one.",
                "keep one of them.",
            )
        )
    contract, output = _contract(signature.returns, source, problems)
    return Roles(
        tuple(inputs),
        tuple(constants),
        contexts[0] if contexts else "",
        config_model,
        resources,
        output,
        contract,
        tuple(problems),
    )


def _input(item: Parameter, given: In) -> Input:
    columns = None if given.columns is None else tuple(given.columns)
    return Input(
        item.name,
        given.asset or item.name,
        given.partitions,
        given.missing,
        columns,
        without_table(item.annotation),
    )


def _unknown_parameters(signature: Signature, ins: Mapping[str, In]) -> list[FunctionProblem]:
    names = [item.name for item in signature.parameters]
    problems = []
    for name in ins:
        if name not in names:
            close = nearest_names(name, names, n=1)
            nearest = f"; nearest: {close[0]!r}" if close else ""
            problems.append(
                FunctionProblem(
                    "ins-unknown-parameter",
                    f"has ins= for {name!r}, which is no parameter",
                    f"the function's parameters are {', '.join(names) or 'none'}{nearest}.",
                    f"write ins={{{close[0] if close else 'PARAMETER'!r}: ...}}, or add the parameter.",
                )
            )
    return problems


def _bad_in(parameter: str, given: In) -> list[FunctionProblem]:
    if given.missing in get_args(Missing):
        return []
    return [
        FunctionProblem(
            "argument-bad",
            f"has In(missing={given.missing!r}) for {parameter!r}",
            "there are 'error' and 'skip'.",
            "choose one of them.",
        )
    ]


def _is_model(annotation: Any) -> bool:
    """Whether it is a pydantic model or a dataclass, found out without importing pydantic."""
    return isinstance(annotation, type) and (
        hasattr(annotation, "__dataclass_fields__")
        or any(
            base.__module__ == "pydantic.main" and base.__name__ == "BaseModel"
            for base in annotation.__mro__[1:]
        )
    )


def _bad_config(item: Parameter) -> FunctionProblem:
    annotation = "without an annotation" if item.annotation is EMPTY else f"annotated {item.annotation!r}"
    return FunctionProblem(
        "config-model-bad",
        f"takes 'config' {annotation}",
        "the parameter of that name gets the run configuration, which a pydantic model or a dataclass describes.",
        "annotate it with a subclass of pydantic.BaseModel; for an asset of that name, write ins={'config': 'config'}.",
    )


def _contract(
    annotation: Any, source: SourceLocation, problems: list[FunctionProblem]
) -> tuple[Contract | None, Any]:
    table = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if not _is_table(table):
        return None, annotation
    from assets_core.definition.contract import Contract  # already loaded, if there is a Table

    try:
        contract = Contract.from_annotation(table, source)
    except DefinitionError as error:
        what = f"has a bad contract: {error.what.rstrip('.')}"
        problems.append(
            FunctionProblem(error.code, what, error.why or "it says nothing about columns.", error.do)
        )
        return None, annotation
    return contract, _DATA_FRAME


def _is_table(annotation: Any) -> bool:
    """Whether it is `Table` or `Table[Model]`, found out without importing what contracts need."""
    origin = get_origin(annotation) or annotation
    return (getattr(origin, "__module__", ""), getattr(origin, "__qualname__", "")) == _TABLE


def without_table(annotation: Any) -> Any:
    """What a parameter asks for, with a frame for each `Table[Model]`, also inside of `dict[str, Table[Model]]`."""
    if _is_table(annotation):
        return _DATA_FRAME
    parts = get_args(annotation)
    replaced = tuple(map(without_table, parts))
    if replaced == parts:
        return annotation
    origin = get_origin(annotation)
    return Union[replaced] if origin is UnionType else origin[replaced]  # noqa: UP007 - built from a tuple
