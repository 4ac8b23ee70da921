"""From an annotation to the IO manager's name, and from a name to the manager.

Built-in managers are loaded when named; others come from the entry-point group `assetline.io_managers`, each
loaded only when it is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from io_managers.errors import AssetlineError, NotFoundError
from io_managers.formats.annotations import format_of
from io_managers.formats.protocol import FileSink, FileSource, IOManager, Written
from io_managers.nearest import nearest_names

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINT_GROUP", "io_manager_name_for", "load_io_manager"]

ENTRY_POINT_GROUP = "assetline.io_managers"

_BUILTIN = {
    "parquet": ("io_managers.formats.parquet", "ParquetManager"),
    "json": ("io_managers.formats.json_values", "JsonManager"),
    "text": ("io_managers.formats.text_and_bytes", "TextManager"),
    "bytes": ("io_managers.formats.text_and_bytes", "BytesManager"),
    "file": ("io_managers.formats.files", "FileManager"),
}


def io_manager_name_for(annotation: Any) -> str:
    """The name of the manager for values of this type, as a return annotation.

    `dict[str, T]` is one value of T for each partition where T is not a JSON value, and a JSON object where it
    is; `Iterator[T]` of a table type is one table written in pieces. Nothing heavy is imported.

    Raises:
        FormatError: No manager is known for the type.
    """
    return format_of(annotation)


def load_io_manager(name: str | IOManager) -> IOManager:
    """The manager of this name, or the given one once it is seen to have the methods of a manager.

    Raises:
        NotFoundError: `io-manager-not-found`, with the nearest names.
        AssetlineError: `plugin-broken` or `plugin-wrong-shape`, with the distribution that brought it.
    """
    if isinstance(name, str):
        return _load_named(name)
    return _shaped(name, type(name).__name__, f"the IO manager {type(name).__qualname__}")


@lru_cache(maxsize=256)
def _load_named(name: str) -> IOManager:
    if name in _BUILTIN:
        module, attribute = _BUILTIN[name]
        manager: IOManager = getattr(import_module(module), attribute)()
        return manager
    return _load_plugin(name)


def _load_plugin(name: str) -> IOManager:
    from importlib.metadata import entry_points

    found = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not found:
        known = sorted({*_BUILTIN, *entry_points(group=ENTRY_POINT_GROUP).names})
        near = nearest_names(name, known, n=3)
        raise NotFoundError(
            "io-manager-not-found",
            f"no IO manager is named {name!r}.",
            why=f"known are: {', '.join(known)}.",
            do=f"use {' or '.join(map(repr, near))}."
            if near
            else "use one of these, or install the one you mean.",
        )
    if len({(point.value, _distribution(point)) for point in found}) > 1:
        raise AssetlineError(
            "plugin-ambiguous",
            f"more than one distribution brings an IO manager named {name!r}.",
            why="; ".join(f"{_distribution(point)} has {point.value}" for point in found) + ".",
            do="uninstall one of them, or give io_manager= an instance.",
        )
    return _from_entry_point(found[0])


def _from_entry_point(point: "EntryPoint") -> IOManager:
    title = f"the IO manager {point.name!r} of {_distribution(point)}"
    try:
        loaded = point.load()
        manager = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        raise AssetlineError(
            "plugin-broken",
            f"{title} cannot be loaded.",
            why=f"{point.value} raised {type(error).__name__}: {error}",
            do="upgrade or reinstall the distribution, or use another IO manager.",
        ) from error
    return _shaped(manager, point.name, title)


def _distribution(point: "EntryPoint") -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"


def _shaped(manager: Any, name: str, title: str) -> IOManager:
    """The manager, under a name if it has none of its own."""
    missing = [method for method in ("write", "read") if not callable(getattr(manager, method, None))]
    if missing or isinstance(manager, type):
        offered = [part for part in dir(manager) if not part.startswith("_")]
        lacks = f"has no method {' and no method '.join(map(repr, missing))}" if missing else "is a class"
        raise AssetlineError(
            "plugin-wrong-shape",
            f"{title} {lacks}.",
            why=f"it offers: {', '.join(offered) or 'nothing'}; an IO manager has write(value, sink) and "
            "read(source, as_type, columns).",
            do="give an instance with these methods; io_managers.formats.protocol describes them.",
        )
    if isinstance(getattr(manager, "name", None), str):
        shaped: IOManager = manager
        return shaped
    read_many = getattr(manager, "read_many", None)
    return _NamedConcat(name, manager, read_many) if callable(read_many) else _Named(name, manager)


@dataclass(frozen=True, slots=True)
class _Named:
    """A manager that did not say its name."""

    name: str
    manager: Any

    def write(self, value: Any, sink: FileSink) -> Written | None:
        written: Written | None = self.manager.write(value, sink)
        return written

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> Any:
        return self.manager.read(source, as_type, columns)


@dataclass(frozen=True, slots=True)
class _NamedConcat(_Named):
    """As `_Named`, for one that joins versions."""

    joined: Callable[..., Any]

    def read_many(
        self,
        sources: Sequence[FileSource],
        as_type: Any,
        columns: Sequence[str] | None,
    ) -> Any:
        return self.joined(sources, as_type, columns)
