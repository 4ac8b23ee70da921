"""Assets: what should exist, and the plain function that computes it.

    @asset                                  -> Asset       (still callable as the plain function)
    Asset.inputs, .output, .contract, ...   -> read from the function's signature at the first use

A decorator never raises for what a project can report with everything else: that is kept in `problems`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from assets_core.definition.arguments import Arguments
from assets_core.definition.checks import AssetCheck, Keyed
from assets_core.definition.inputs import In, Input
from assets_core.definition.partitions.base import UNPARTITIONED, PartitionsDefinition
from assets_core.definition.policies import NO_RETRY, Duration, Freshness, Retry
from assets_core.definition.roles import Roles, assign_roles
from assets_core.definition.signature import (
    Signature,
    SourceLocation,
    inspect_function,
    local_names,
    location_of,
)
from assets_core.errors import DefinitionError

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    from assets_core.definition.contract import Contract
    from assets_core.definition.resource import Resource
    from io_managers.formats.protocol import IOManager

    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Any)
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Asset", "AssetKind", "In", "Input", "SourceLocation", "asset", "external_asset"]

AssetKind = Literal["python", "external"]

#: IO managers of external files by suffix.
_MANAGER_OF_SUFFIX = {".parquet": "parquet", ".pq": "parquet", ".json": "json", ".txt": "text", ".md": "text"}


@dataclass(frozen=True, eq=False, repr=False)
class Asset(Generic[P, R]):
    """A named piece of data; calling it calls the plain function.

    Two assets are equal when they come from the same declaration, whatever project has validated them.

    Attributes:
        function: What computes it; None for data that others write.
        deps: Assets that come before it without being read; keys once a project has validated the asset.
        io_manager: Name or instance that stores it; None for the one of the return annotation.
        partitions: None for an asset without partitions; `partition_space` is never None.
        timeout_s: Seconds that the function may take, None for no bound.
        code_version: Overrides what would be computed from the code.
        distributions: Installed distributions whose versions enter the code version.
        path: Where others write an external asset; `{partition}` stands for the partition key.
        ins: What `ins=` said, by parameter.
        names: Names that only the annotations of a nested function know.
        found: Problems that the decorator saw; `problems` has all.
    """

    key: str
    function: Callable[P, R] | None
    source: SourceLocation
    kind: AssetKind = "python"
    deps: tuple[str, ...] = ()
    io_manager: str | IOManager | None = None
    partitions: PartitionsDefinition | None = None
    group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None
    retries: Retry = NO_RETRY
    timeout_s: float | None = None
    freshness: Freshness | None = None
    checks: tuple[AssetCheck, ...] = ()
    code_version: str | None = None
    distributions: tuple[str, ...] = ()
    path: str | None = None
    text: str | None = None
    ins: Mapping[str, In] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)
    found: tuple[DefinitionError, ...] = ()
    _identity: object = field(default_factory=object)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function."""
        if self.function is None:
            raise DefinitionError(
                "external-not-callable",
                f"asset {self.key!r} ({self.source}) cannot be called.",
                why="it is external: others write it.",
                do=f"read it with `load({self.key!r})`.",
            )
        return self.function(*args, **kwargs)

    @cached_property
    def signature(self) -> Signature:
        """The function from outside; inspected at the first use. Without parameters for an external asset."""
        if self.function is None:
            return Signature((), None, ())
        return inspect_function(self.function, self.names)

    @cached_property
    def _roles(self) -> Roles:
        return assign_roles(self.signature, self.ins, self.source)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """What the function reads, by parameter; with keys once a project has validated the asset."""
        return self._roles.inputs

    @property
    def constants(self) -> tuple[str, ...]:
        """Parameters that keep their default: no dependencies."""
        return self._roles.constants

    @property
    def output(self) -> Any:
        """The return annotation; of `Table[Model]` the type of frame that it stands for."""
        return self._roles.output

    @property
    def contract(self) -> Contract | None:
        """What `Table[Model]` promises about the rows."""
        return self._roles.contract

    @property
    def config_model(self) -> type | None:
        """The pydantic model that annotates the parameter `config`."""
        return self._roles.config_model

    @property
    def context_parameter(self) -> str:
        """The parameter annotated `Context`, "" when there is none."""
        return self._roles.context_parameter

    @property
    def has_context(self) -> bool:
        """Whether the function wants a `Context`."""
        return bool(self._roles.context_parameter)

    @property
    def resources(self) -> Mapping[str, type[Resource]]:
        """Resource classes by parameter."""
        return self._roles.resources

    @property
    def partition_space(self) -> PartitionsDefinition:
        """The partitions; one without a key for an asset without partitions."""
        return UNPARTITIONED if self.partitions is None else self.partitions

    @cached_property
    def description(self) -> str:
        """The text given, else the function's docstring."""
        if self.text is not None:
            return self.text
        return inspect.cleandoc(getattr(self.function, "__doc__", None) or "")

    @cached_property
    def problems(self) -> tuple[DefinitionError, ...]:
        """What is wrong with the asset by itself, whatever project it is in."""
        parts = (*self.signature.problems, *self._roles.problems)
        return (
            *self.found,
            *[self.problem(item.code, item.what, why=item.why, do=item.do) for item in parts],
        )

    def problem(self, code: str, what: str, *, why: str, do: str) -> DefinitionError:
        """A definition error of this asset; `what` continues the sentence 'asset KEY (file:line) ...'."""
        return DefinitionError(code, f"asset {self.key!r} ({self.source}) {what}.", why=why, do=do)

    def invoke(self, arguments: Mapping[str, object]) -> R:
        """Call the function with values by parameter, positional-only ones included."""
        if self.function is None:
            return self()  # type: ignore[call-arg]
        return self.signature.call(self.function, arguments)

    def resolved(
        self, inputs: Iterable[Input], deps: Iterable[str], checks: Iterable[AssetCheck]
    ) -> Asset[P, R]:
        """The same asset as validated by a project: with keys instead of names, and all of its checks."""
        copy: Asset[P, R] = object.__new__(Asset)
        copy.__dict__.update(self.__dict__, inputs=tuple(inputs), deps=tuple(deps), checks=tuple(checks))
        return copy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asset) and self._identity is other._identity

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<Asset {self.key}>"


@overload
def asset(function: Callable[P, R], /) -> Asset[P, R]: ...


@overload
def asset(
    *,
    key: str | None = None,
    partitions: PartitionsDefinition | None = None,
    ins: Mapping[str, In | str | Keyed] | None = None,
    deps: Iterable[str | Keyed] = (),
    group: str | None = None,
    tags: Mapping[str, str] | None = None,
    owner: str | None = None,
    retries: Retry | None = None,
    timeout: Duration | None = None,
    freshness: Freshness | None = None,
    checks: Sequence[AssetCheck] = (),
    io_manager: str | IOManager | None = None,
    code_version: str | None = None,
    distributions: Sequence[str] = (),
    description: str | None = None,
) -> Callable[[Callable[P, R]], Asset[P, R]]: ...


def asset(
    function: Callable[..., Any] | None = None,
    /,
    *,
    key: str | None = None,
    partitions: PartitionsDefinition | None = None,
    ins: Mapping[str, In | str | Keyed] | None = None,
    deps: Iterable[str | Keyed] = (),
    group: str | None = None,
    tags: Mapping[str, str] | None = None,
    owner: str | None = None,
    retries: Retry | None = None,
    timeout: Duration | None = None,
    freshness: Freshness | None = None,
    checks: Sequence[AssetCheck] = (),
    io_manager: str | IOManager | None = None,
    code_version: str | None = None,
    distributions: Sequence[str] = (),
    description: str | None = None,
) -> Any:
    """Make a function the definition of an asset.

    A parameter's name is the dependency: the asset of that key, or the only one whose key ends in `/NAME`. A
    parameter annotated `Context` or with a `Resource` gets that; `config` gets the run configuration; one with
    a default keeps it, unless `ins` names it. The return annotation says how the value is stored: it may be left
    out only with `io_manager`. An asset cannot read itself, other partitions of itself included.

    Args:
        function: The function, when the decorator is used without parentheses.
        key: Path-like name; None for the function's name.
        partitions: The slices of the asset.
        ins: For a parameter, the key to read, or an `In` that says more.
        deps: Assets that only come before it.
        group: To select by.
        tags: To select by.
        owner: To select by.
        retries: When to try again; None for never.
        timeout: How long the function may take: seconds, or a text such as `5m`; None for no bound.
        freshness: How old the newest data may be.
        checks: Run on the value before it is published.
        io_manager: Stores the value, instead of the one that the return annotation picks.
        code_version: Takes the place of the one computed from the code.
        distributions: Installed distributions whose versions count as code.
        description: For people; None for the docstring.

    Raises:
        DefinitionError: `asset-misuse`: the decorator was put on something that is no function. All else is
            collected and raised by the `Project`.
    """
    frame = sys._getframe(1)

    def decorate(function: Callable[..., Any]) -> Asset[..., Any]:
        if not callable(function) or isinstance(function, type | Asset | AssetCheck):
            raise DefinitionError(
                "asset-misuse",
                f"@asset was put on {function!r} ({location_of(None, frame)}).",
                why="an asset is computed by a function, and its options are keyword arguments.",
                do="write @asset, or @asset(key='KEY', ...), above a function.",
            )
        name = key if key is not None else str(getattr(function, "__name__", ""))
        source = location_of(function, frame)
        notes = Arguments(f"asset {name!r} ({source})")
        return Asset(
            key=notes.key(name),
            function=function,
            source=source,
            deps=_keys(deps),
            io_manager=io_manager,
            **notes.labels(partitions, group, tags, owner),
            retries=notes.typed("retries", retries, Retry) or NO_RETRY,
            timeout_s=notes.seconds("timeout", timeout),
            freshness=notes.typed("freshness", freshness, Freshness),
            checks=tuple(item for item in checks if notes.typed("checks", item, AssetCheck)),
            code_version=notes.typed("code_version", code_version, str),
            distributions=tuple(distributions),
            text=description,
            ins={parameter: _as_in(value) for parameter, value in (ins or {}).items()},
            names=local_names(function, frame),
            found=tuple(notes.found),
        )

    return decorate if function is None else decorate(function)


def external_asset(
    key: str,
    *,
    path: str,
    partitions: PartitionsDefinition | None = None,
    io_manager: str | IOManager | None = None,
    group: str | None = None,
    tags: Mapping[str, str] | None = None,
    owner: str | None = None,
    description: str | None = None,
) -> Asset[[], Any]:
    """Declare files that others write, so that assets can read them and follow their changes.

    Args:
        key: Path-like name.
        path: File or URL; with partitions it contains `{partition}`, for the partition key.
        partitions: The slices, one file each.
        io_manager: Reads the file; when left out the suffix decides: `.parquet`, `.json`, `.txt`, `.md`.
        group: To select by.
        tags: To select by.
        owner: To select by.
        description: For people.
    """
    source = location_of(None, sys._getframe(1))
    notes = Arguments(f"asset {key!r} ({source})")
    if io_manager is None:
        dot, suffix = path.rpartition(".")[1:]
        io_manager = _MANAGER_OF_SUFFIX.get(dot + suffix.lower())
        if io_manager is None:
            notes.add(
                "external-format-unknown",
                f"has a path of unknown format: {path!r}",
                why=f"known suffixes are {', '.join(_MANAGER_OF_SUFFIX)}.",
                do="give io_manager=, for instance io_manager='bytes'.",
            )
    if ("{partition}" in path) != (partitions is not None):
        has = "no {partition} in its path" if partitions is not None else "{partition} in its path"
        notes.add(
            "external-path-bad",
            f"has {has}: {path!r}",
            why="each partition is a file of its own." if partitions is not None else "it has no partitions.",
            do="write {partition} where the key belongs, for an asset with partitions=, and only then.",
        )
    return Asset(
        key=notes.key(key),
        function=None,
        source=source,
        kind="external",
        path=path,
        io_manager=io_manager,
        **notes.labels(partitions, group, tags, owner),
        text=description,
        found=tuple(notes.found),
    )


def _as_in(value: In | str | Keyed) -> In:
    if isinstance(value, In):
        return value
    return In(value if isinstance(value, str) else value.key)


def _keys(items: Iterable[str | Keyed]) -> tuple[str, ...]:
    items = (items,) if isinstance(items, str) else items
    return tuple(item if isinstance(item, str) else item.key for item in items)
