"""Stored versions as the value that a parameter's annotation asks for."""

from collections.abc import Iterator, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from io_managers.errors import FormatError
from io_managers.formats.annotations import (
    is_unannotated,
    item_type,
    partition_type,
    require_resolved,
    unwrapped,
)
from io_managers.formats.concatenation import VersionsDifferError
from io_managers.formats.frames import type_title
from io_managers.formats.json_values import matches
from io_managers.formats.protocol import FileSource, IOManager, SupportsConcat

__all__ = ["load_value"]

Versions = Sequence[tuple[str | None, FileSource]]


def load_value(
    manager: IOManager,
    versions: Versions,
    annotation: Any,
    columns: Sequence[str] | None = None,
    *,
    by_partition: bool = False,
) -> Any:
    """Load versions as one value.

    - T: the one version; several are joined in the order given, where the manager can.
    - `dict[str, T]`: by partition key, in the order given. For a JSON asset it is the stored object itself when
      the asset has no partitions, and when there is one version that holds an object and T is not an object,
      unless `by_partition` says that several could have been asked for.
    - `Iterator[T]` (`Iterable`, `Generator`): one version at a time, each read when it is asked for.
    - nothing or `Any`: the manager's natural type.

    Args:
        manager: The manager that wrote the versions.
        versions: Partition key (None for an asset without partitions) and files, in partition order.
        annotation: A type, not text.
        columns: Names of the columns to load; None is all.
        by_partition: The reader asks for any number of partitions, of which there happens to be one.

    Raises:
        FormatError: The versions cannot be given as that type.
    """
    require_resolved(annotation)
    annotation = unwrapped(annotation)
    if is_unannotated(annotation):
        return _load_one(manager, versions, None, columns)
    if get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
        raise FormatError(
            "annotation-optional",
            f"a parameter annotated {type_title(annotation)} cannot be loaded: a stored value is never None.",
            do="take None out of the annotation; In(missing='skip') loads what is there.",
        )
    item = item_type(annotation)
    if item is not Parameter.empty:
        return _each(manager, versions, _asked(item), columns)
    part = partition_type(annotation)
    if part is not Parameter.empty:
        return _load_mapping(manager, versions, annotation, _asked(part), columns, by_partition=by_partition)
    return _load_one(manager, versions, annotation, columns)


def _asked(annotation: Any) -> Any:
    """The type to hand to a manager, None for its natural one."""
    require_resolved(annotation)
    annotation = unwrapped(annotation)
    return None if is_unannotated(annotation) else annotation


def _each(
    manager: IOManager,
    versions: Versions,
    as_type: Any,
    columns: Sequence[str] | None,
) -> Iterator[Any]:
    for _, source in versions:
        yield manager.read(source, as_type, columns)


def _load_mapping(
    manager: IOManager,
    versions: Versions,
    annotation: Any,
    part: Any,
    columns: Sequence[str] | None,
    *,
    by_partition: bool,
) -> Any:
    if len(versions) == 1 and manager.name == "json" and not (by_partition and versions[0][0] is not None):
        partition, source = versions[0]
        stored = manager.read(source, None, columns)
        if partition is None or (isinstance(stored, dict) and (part is None or not matches(stored, part))):
            return manager.read(source, annotation, columns)
    values: dict[str, Any] = {}
    for partition, source in versions:
        if partition is None:
            raise FormatError(
                "partitions-expected",
                f"{type_title(annotation)} asks for values by partition, but the asset has no partitions.",
                do=f"annotate the parameter with {type_title(part)}.",
            )
        values[partition] = manager.read(source, part, columns)
    return values


def _load_one(
    manager: IOManager,
    versions: Versions,
    as_type: Any,
    columns: Sequence[str] | None,
) -> Any:
    if len(versions) == 1:
        return manager.read(versions[0][1], as_type, columns)
    if isinstance(manager, SupportsConcat):
        try:
            return manager.read_many([source for _, source in versions], as_type, columns)
        except VersionsDifferError as error:
            pair = " and ".join(
                f"partition {versions[position][0]!r}" for position in (error.first, error.other)
            )
            raise FormatError(
                error.code,
                f"the versions of {pair} cannot be joined into one table.",
                why=error.why,
                do=error.do,
            ) from error
    title = type_title(as_type) if as_type is not None else "T"
    if not versions:
        raise FormatError(
            "nothing-to-load",
            f"there is no version to load as {title}.",
            why=f"values stored as {manager.name} have no empty form.",
            do=f"annotate the parameter with dict[str, {title}], which is empty when nothing is there.",
        )
    raise FormatError(
        "cannot-concatenate",
        f"{len(versions)} partitions cannot be loaded as one {title}.",
        why=f"values stored as {manager.name} are not joined; the partitions are "
        f"{', '.join(repr(key) for key, _ in versions[:3])}{' ...' if len(versions) > 3 else ''}.",
        do=f"annotate the parameter with dict[str, {title}] (by partition) or Iterator[{title}] (one at a time).",
    )
