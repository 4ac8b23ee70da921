"""Checks that users write: functions over an asset's value that say whether it may be published."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, get_args, overload

from assets_core.definition.inputs import Input
from assets_core.definition.signature import (
    EMPTY,
    Parameter,
    Signature,
    SourceLocation,
    inspect_function,
    local_names,
    location_of,
)
from assets_core.errors import DefinitionError

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Any)
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["AssetCheck", "CheckResult", "Keyed", "Severity", "asset_check"]

Severity = Literal["error", "warn"]


class Keyed(typing.Protocol):
    """Anything that has an asset's key, an `Asset` above all."""

    @property
    def key(self) -> str:
        """The asset's key."""
        ...


@dataclass(frozen=True)
class CheckResult:
    """What a check found; a function may also just return a bool.

    Attributes:
        observed: What the data showed, for people: `3 of 18204 rows`.
        expected: What would have passed: `0 rows`.
        sample: Failing rows as plain values; the first ten are kept.
        metadata: Further plain values to record.
    """

    passed: bool
    observed: str = ""
    expected: str = ""
    sample: Sequence[Mapping[str, object]] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample", tuple(self.sample))

    def __bool__(self) -> bool:
        return self.passed


@dataclass(frozen=True, eq=False, repr=False)
class AssetCheck(Generic[P, R]):
    """A check on an asset; calling it calls the plain function.

    Attributes:
        asset: Key of the checked asset; before validation as written, "" when only `checks=` lists it.
        blocking: Data that fails is not published, unless `severity` is `warn`.
        names: Names that only the annotations of a nested function know.
    """

    name: str
    asset: str
    function: Callable[P, R]
    source: SourceLocation
    blocking: bool = True
    severity: Severity = "error"
    names: Mapping[str, Any] = field(default_factory=dict)
    _identity: object = field(default_factory=object)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function."""
        return self.function(*args, **kwargs)

    @cached_property
    def signature(self) -> Signature:
        """The function from outside; inspected at the first use."""
        return inspect_function(self.function, self.names)

    @cached_property
    def value(self) -> Parameter | None:
        """The parameter that gets the checked value; None until a project has validated the check."""
        return None

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """Further assets that the function reads; () until a project has validated the check."""
        return ()

    @property
    def is_blocking(self) -> bool:
        """Whether a failure keeps the data from being published."""
        return self.blocking and self.severity == "error"

    @cached_property
    def problems(self) -> tuple[DefinitionError, ...]:
        """What is wrong with the check by itself, whatever project it is in."""
        found = [
            self.problem("check-bad-signature", item.what, why=item.why, do=item.do)
            for item in self.signature.problems
        ]
        if not self.name.replace("-", "_").isidentifier():
            found.append(
                self.problem(
                    "check-name-invalid",
                    "cannot have this name",
                    why="a name is made of letters, digits, '_' and '-'.",
                    do="give name='...'.",
                )
            )
        if self.severity not in get_args(Severity):
            found.append(
                self.problem(
                    "argument-bad",
                    f"has severity {self.severity!r}",
                    why="there are 'error' and 'warn'.",
                    do="choose one of them.",
                )
            )
        if not _is_verdict(self.signature.returns):
            found.append(
                self.problem(
                    "check-bad-signature",
                    f"returns {self.signature.returns!r}",
                    why="a check returns bool or CheckResult.",
                    do="annotate the function with `-> bool` or `-> CheckResult`.",
                )
            )
        return tuple(found)

    def problem(self, code: str, what: str, *, why: str, do: str) -> DefinitionError:
        """A definition error of this check; `what` continues the sentence 'check NAME (file:line) ...'."""
        return DefinitionError(code, f"check {self.name!r} ({self.source}) {what}.", why=why, do=do)

    def invoke(self, arguments: Mapping[str, object]) -> R:
        """Call the function with values by parameter, positional-only ones included."""
        return self.signature.call(self.function, arguments)

    def resolved(self, asset: str, value: Parameter, inputs: Sequence[Input]) -> AssetCheck[P, R]:
        """The same check as validated by a project: with keys instead of names."""
        copy: AssetCheck[P, R] = object.__new__(AssetCheck)
        copy.__dict__.update(self.__dict__, asset=asset, value=value, inputs=tuple(inputs))
        return copy

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, AssetCheck) and self._identity is other._identity and self.asset == other.asset
        )

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<AssetCheck {self.asset}:{self.name}>" if self.asset else f"<AssetCheck {self.name}>"


def _is_verdict(annotation: Any) -> bool:
    """Whether an annotation can be a check's answer; what is not known is left to the run."""
    if annotation in (EMPTY, Any, bool, CheckResult):
        return True
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return all(_is_verdict(item) for item in typing.get_args(annotation))
    return getattr(annotation, "__name__", "") in ("bool_", "bool")  # numpy's


@overload
def asset_check(function: Callable[P, R], /) -> AssetCheck[P, R]: ...


@overload
def asset_check(
    *,
    asset: str | Keyed = "",
    name: str | None = None,
    blocking: bool = True,
    severity: Severity = "error",
) -> Callable[[Callable[P, R]], AssetCheck[P, R]]: ...


def asset_check(
    function: Callable[..., Any] | None = None,
    /,
    *,
    asset: str | Keyed = "",
    name: str | None = None,
    blocking: bool = True,
    severity: Severity = "error",
) -> Any:
    """Make a function a check of an asset.

    The function's parameter with the asset's name gets the staged value, before anyone can read it; further
    parameters name other assets, whose current versions are loaded. It returns a bool or a `CheckResult`.
    Without `asset`, the check belongs to the assets that list it in `checks=`, and its first parameter gets
    the value.

    Args:
        function: The function, when the decorator is used without parentheses.
        asset: Key of the asset, or the asset.
        name: Name of the check, unique among the asset's checks; None for the function's name.
        blocking: Whether a failure keeps the data from being published.
        severity: `warn` reports a failure and publishes all the same.

    Raises:
        DefinitionError: `check-misuse`: the decorator was put on something that cannot be called.
    """
    frame = sys._getframe(1)
    key = asset if isinstance(asset, str) else asset.key

    def decorate(function: Callable[P, R]) -> AssetCheck[P, R]:
        if not callable(function) or isinstance(function, AssetCheck | type):
            raise DefinitionError(
                "check-misuse",
                f"@asset_check was put on {function!r} ({location_of(None, frame)}).",
                why="a check is a function.",
                do="write @asset_check(asset='KEY') above a function.",
            )
        return AssetCheck(
            name=name if name is not None else str(getattr(function, "__name__", "")),
            asset=key,
            function=function,
            source=location_of(function, frame),
            blocking=blocking,
            severity=severity,
            names=local_names(function, frame),
        )

    return decorate if function is None else decorate(function)
