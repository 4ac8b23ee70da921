"""Turning what the user declared into definitions that agree with each other, or all errors at once.

declared assets, checks -> unique keys -> names become keys -> partitions fit -> graph
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from assets_core.definition.asset import Asset
from assets_core.definition.checks import AssetCheck
from assets_core.definition.inputs import Input
from assets_core.definition.partitions.base import PartitionsDefinition
from assets_core.definition.roles import without_table
from assets_core.definition.signature import EMPTY, SourceLocation
from assets_core.errors import DefinitionError, DefinitionErrors
from assets_core.project.graph import AssetGraph, cycle_errors
from io_managers.errors import FormatError
from io_managers.formats.registry import io_manager_name_for
from io_managers.nearest import nearest_names

__all__ = ["Definitions", "resolve_definitions"]

#: Classes from these are what an asset's value is read as, never a resource.
_MODULES_OF_DATA = ("builtins", "pandas", "pyarrow", "polars", "duckdb", "numpy", "pathlib", "datetime")

_PASS_IT = "write the key of an asset, and pass that asset to the project."


class Definitions(NamedTuple):
    """Validated definitions.

    Attributes:
        assets: By key, sorted.
        graph: Their order.
    """

    assets: Mapping[str, Asset]
    graph: AssetGraph


def resolve_definitions(assets: Iterable[object], checks: Iterable[object]) -> Definitions:
    """Validate what a project was given.

    Args:
        assets: `Asset` objects; the same one may come several times.
        checks: `AssetCheck` objects, the same.

    Raises:
        DefinitionError: The one error there is.
        DefinitionErrors: All errors, by file and line.
    """
    return _Resolver().resolve(assets, checks)


class _Resolver:
    def __init__(self) -> None:
        self._errors: list[tuple[SourceLocation, DefinitionError]] = []
        self._assets: dict[str, Asset] = {}
        self._by_last_segment: dict[str, list[str]] = defaultdict(list)

    def resolve(self, assets: Iterable[object], checks: Iterable[object]) -> Definitions:
        self._collect(assets)
        checks_of = self._assign_checks(checks)
        resolved: dict[str, Asset] = {}
        for key in sorted(self._assets):
            asset = self._assets[key]
            for error in asset.problems:
                self._report(asset.source, error)
            self._require_io_manager(asset)
            inputs = self._resolve_inputs(asset)
            deps = [self._resolve(name, asset, f"has deps={name!r}", do=_PASS_IT) for name in asset.deps]
            resolved[key] = asset.resolved(
                inputs,
                dict.fromkeys(dep for dep in deps if dep is not None),
                self._resolve_checks(asset, checks_of.get(key, ())),
            )
        self._require_one_class_per_resource()
        self._errors += cycle_errors(resolved.values())
        if self._errors:
            errors = [error for _, error in sorted(self._errors, key=lambda pair: pair[0])]
            raise errors[0] if len(errors) == 1 else DefinitionErrors(errors)
        return Definitions(resolved, AssetGraph(resolved.values()))

    def _report(self, source: SourceLocation, error: DefinitionError) -> None:
        self._errors.append((source, error))

    def _collect(self, assets: Iterable[object]) -> None:
        """Assets by key; of two with one key the first by file and line stays."""
        unique: dict[Asset, None] = {}
        for item in assets:
            if isinstance(item, Asset):
                unique[item] = None
            else:
                self._report(*_wrong_type(item, "assets", "asset"))
        folded: dict[str, Asset] = {}
        for asset in sorted(unique, key=lambda asset: asset.source):
            other = folded.setdefault(asset.key.lower(), asset)
            if asset.key in self._assets:
                error = asset.problem(
                    "key-duplicate",
                    "has the key of another asset",
                    why=f"{self._assets[asset.key].source} defines {asset.key!r}, too.",
                    do="give one of them another key=, or pass only one to the project.",
                )
                self._report(asset.source, error)
                continue
            if other.key != asset.key:
                error = asset.problem(
                    "key-clash",
                    f"differs from {other.key!r} ({other.source}) only by upper and lower case",
                    why="some storages and shells do not tell them apart.",
                    do="give one of them another key=.",
                )
                self._report(asset.source, error)
            self._assets[asset.key] = asset
            self._by_last_segment[asset.key.rpartition("/")[2]].append(asset.key)

    def _resolve(
        self, name: str, owner: Asset | AssetCheck, how: str, *, do: str, unknown: str = "dependency-unknown"
    ) -> str | None:
        """The key that a name refers to, or None after reporting why there is none.

        Args:
            name: A key, or the last segment of one.
            owner: Who uses the name; an asset does not mean itself while there is another of that name.
            how: Continues the sentence 'asset KEY (file:line) ...'.
            do: What to do when there is no such asset.
            unknown: Code of the error for that case.
        """
        found = self._candidates(name, owner.key if isinstance(owner, Asset) else None)
        if len(found) == 1:
            return found[0]
        if found:
            error = owner.problem(
                "dependency-ambiguous",
                f"{how}, which several assets could be",
                why=f"{', '.join(sorted(found))} all end in {name!r}.",
                do=f"write the whole key; for a parameter ins={{{name!r}: {min(found)!r}}}.",
            )
        else:
            near = self._nearest(name)
            error = owner.problem(
                unknown,
                f"{how}, which is no asset",
                why=f"{len(self._assets)} assets are defined{f'; nearest: {near}' if near else ''}.",
                do=do,
            )
        self._report(owner.source, error)
        return None

    def _candidates(self, name: str, owner: str | None) -> Sequence[str]:
        """The asset of this key, else those whose key ends in the name; the owner only if there is no other."""
        if name in self._assets and name != owner:
            return (name,)
        others = [key for key in self._by_last_segment.get(name, ()) if key != owner]
        return others or ((name,) if name in self._assets else ())

    def _nearest(self, name: str) -> str:
        close = nearest_names(name, self._assets, n=3)
        names = nearest_names(name, self._by_last_segment, n=3)
        keys = [key for last in names for key in self._by_last_segment[last]]
        return ", ".join(list(dict.fromkeys([*close, *keys]))[:3])

    def _require_io_manager(self, asset: Asset) -> None:
        if asset.kind == "external" or asset.io_manager is not None:
            return
        if any(error.code == "function-unsupported" for error in asset.problems):
            return
        if asset.output is EMPTY:
            if not any("return value" in error.what for error in asset.problems):
                error = asset.problem(
                    "annotation-bad",
                    "does not say what it returns",
                    why="the return annotation picks the IO manager that stores the value.",
                    do="annotate it, for instance `-> pd.DataFrame`, or give io_manager=.",
                )
                self._report(asset.source, error)
            return
        try:
            io_manager_name_for(asset.output)
        except FormatError as cause:
            error = asset.problem(
                "annotation-bad",
                f"returns {_shown(asset.output)}, which no IO manager stores",
                why=cause.why or cause.what,
                do="return a type that can be stored, or give io_manager=.",
            )
            error.__cause__ = cause
            self._report(asset.source, error)

    def _resolve_inputs(self, asset: Asset) -> list[Input]:
        for name in asset.constants:
            found = self._candidates(name, asset.key)
            if found and found != (asset.key,):
                error = asset.problem(
                    "dependency-ambiguous",
                    f"has a parameter {name!r} with a default, and an asset has that name",
                    why=f"a parameter with a default is no dependency, and {found[0]} would not be read.",
                    do=f"take the default away, say ins={{{name!r}: {found[0]!r}}}, or rename the parameter.",
                )
                self._report(asset.source, error)
        resolved = []
        for item in asset.inputs:
            key = self._resolve(item.asset, asset, _how(item), do=_hint(item.parameter, item.annotation))
            if key is not None:
                resolved.append(_with_key(item, key))
                self._require_mapping(asset, asset.partition_space, resolved[-1])
        return resolved

    def _require_mapping(self, owner: Asset | AssetCheck, space: PartitionsDefinition, item: Input) -> None:
        upstream = self._assets[item.asset].partition_space
        if item.mapping is None and space == upstream:
            return  # the default is the same key
        from assets_core.definition.partitions.mapping import (
            default_mapping,
        )  # already loaded, with any partitions

        mapping = item.mapping or default_mapping(space, upstream)
        sentence = mapping.problem(space, upstream)
        if sentence:
            error = owner.problem(
                "partition-mismatch",
                f"cannot map its partitions to those of {item.asset!r} (parameter {item.parameter!r})",
                why=f"{sentence.rstrip('.')}.",
                do=f"say which it reads, for instance ins={{{item.parameter!r}: In(partitions=all_partitions())}}.",
            )
            self._report(owner.source, error)

    def _assign_checks(self, checks: Iterable[object]) -> dict[str, list[AssetCheck]]:
        """Checks by the key of their asset: those that an asset lists, then those that name it."""
        found: dict[str, dict[AssetCheck, None]] = defaultdict(dict)
        listed: set[AssetCheck] = set()
        for key in sorted(self._assets):
            for check in self._assets[key].checks:
                listed.add(check)
                found[key][check] = None
        for item in checks:
            if not isinstance(item, AssetCheck):
                self._report(*_wrong_type(item, "checks", "asset_check"))
            elif item.asset:
                checked = self._resolve(
                    item.asset, item, f"is for {item.asset!r}", do=_PASS_IT, unknown="check-unknown-asset"
                )
                if checked is not None:
                    found[checked][item] = None
            elif item not in listed:
                error = item.problem(
                    "check-unknown-asset",
                    "names no asset, and no asset lists it in checks=",
                    why="a check belongs to an asset.",
                    do="write @asset_check(asset='KEY').",
                )
                self._report(item.source, error)
        return {key: list(group) for key, group in found.items()}

    def _resolve_checks(self, asset: Asset, checks: Sequence[AssetCheck]) -> list[AssetCheck]:
        taken: dict[str, AssetCheck] = {}
        for check in checks:
            for error in check.problems:
                self._report(check.source, error)
            if check.name in taken:
                error = check.problem(
                    "check-duplicate",
                    f"has the name of another check of {asset.key!r}",
                    why=f"{taken[check.name].source} defines it, too.",
                    do="give one of them another name=.",
                )
                self._report(check.source, error)
            taken.setdefault(check.name, check)
            resolved = self._resolve_check(asset, check)
            if resolved is not None:
                taken[check.name] = resolved
        return list(taken.values())

    def _resolve_check(self, asset: Asset, check: AssetCheck) -> AssetCheck | None:
        parameters = [item for item in check.signature.parameters if not item.has_default]
        names = [item.name for item in parameters]
        last = asset.key.rpartition("/")[2]
        value = next((item for item in parameters if item.name in (asset.key, last)), None)
        if value is None and not check.asset and parameters:
            value = parameters[0]
        if value is None:
            if not check.signature.problems:
                error = check.problem(
                    "check-bad-signature",
                    f"has no parameter {last!r} for the value of {asset.key!r}",
                    why=f"its parameters are {', '.join(names) or 'none'}.",
                    do=f"write def {check.name}({last}, ...).",
                )
                self._report(check.source, error)
            return None
        inputs = []
        for item in parameters:
            if item is value:
                continue
            key = self._resolve(item.name, check, f"takes parameter {item.name!r}", do=_PASS_IT)
            if key is not None:
                inputs.append(Input(item.name, key, annotation=without_table(item.annotation)))
                self._require_mapping(check, asset.partition_space, inputs[-1])
        value = value._replace(annotation=without_table(value.annotation))
        return check.resolved(asset.key, value, inputs)

    def _require_one_class_per_resource(self) -> None:
        """One name is one section of the configuration, so it is one class."""
        first: dict[str, tuple[type, Asset]] = {}
        for asset in sorted(self._assets.values(), key=lambda asset: asset.source):
            for name, kind in asset.resources.items():
                known, other = first.setdefault(name, (kind, asset))
                if known is not kind:
                    error = asset.problem(
                        "resource-clash",
                        f"takes {name!r} as {kind.__qualname__}, {other.key!r} as {known.__qualname__}",
                        why=f"{name!r} is one section of the configuration ({other.source}).",
                        do="rename one of the parameters.",
                    )
                    self._report(asset.source, error)


def _how(item: Input) -> str:
    if item.asset == item.parameter:
        return f"takes parameter {item.parameter!r}"
    return f"reads {item.asset!r} as parameter {item.parameter!r}"


def _hint(parameter: str, annotation: Any) -> str:
    """What to do about a parameter that is no asset; its annotation may look like a resource was meant."""
    module = getattr(annotation, "__module__", "").partition(".")[0]
    if isinstance(annotation, type) and annotation is not EMPTY and module not in _MODULES_OF_DATA:
        return (
            f"write the key of an asset; for {parameter!r} to be a resource, "
            f"let {annotation.__qualname__} be a subclass of assets_core.Resource."
        )
    return f"write the key of an asset, or give {parameter!r} a default if it is no dependency."


def _with_key(item: Input, key: str) -> Input:
    return (
        item
        if item.asset == key
        else Input(item.parameter, key, item.mapping, item.missing, item.columns, item.annotation)
    )


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else repr(annotation)


def _wrong_type(item: object, argument: str, decorator: str) -> tuple[SourceLocation, DefinitionError]:
    source = SourceLocation("", 0)
    if inspect.isfunction(item):
        source = SourceLocation(item.__code__.co_filename, item.__code__.co_firstlineno)
        what, do = f"{item.__name__} ({source}) is a plain function", f"write @{decorator} above it."
    else:
        what, do = f"{item!r:.80} is a {type(item).__name__}", f"pass what @{decorator} returns."
    return source, DefinitionError(
        f"{decorator.replace('_', '-')}-wrong-type", f"{what}, and was passed in {argument}=.", do=do
    )
