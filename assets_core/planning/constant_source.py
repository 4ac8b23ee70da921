"""Where and how a module-level constant is written."""

from __future__ import annotations

import ast

from assets_core.planning.parsed_file import ParsedFile, parsed_file
from assets_core.planning.project_files import find_module_file, is_project_file
from assets_core.planning.source_outline import ImportTarget

__all__ = ["absolute_module", "find_definition", "is_place", "starts_empty"]

_EMPTY_MAKERS = frozenset(
    {"dict", "list", "set", "defaultdict", "OrderedDict", "Counter", "deque", "WeakValueDictionary"}
)


def absolute_module(target: ImportTarget, package: str) -> str:
    """The full name of the module that an import names, in a module of that package."""
    if not target.level:
        return target.module
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - target.level + 1])
    return f"{base}.{target.module}" if target.module else base


def find_definition(
    file: ParsedFile | None, module: str, package: str, name: str
) -> tuple[ParsedFile, str, str] | None:
    """File, module and name where a module-level name gets its value, behind imports."""
    for _ in range(10):
        if file is None or name not in file.top:
            return None
        target = file.import_of(name)
        if target is None:
            return file, module, name
        module, name = absolute_module(target, package), target.symbol
        path = find_module_file(module)
        if path is None or not name:
            return None
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        file = parsed_file(path) if is_project_file(path) else None
    return None


def _assigned(file: ParsedFile, symbol: str) -> list[ast.expr]:
    return [
        node.value
        for node in file.top[symbol]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
    ]


def starts_empty(file: ParsedFile, symbol: str) -> bool:
    """Whether a container is written as an empty one."""
    for value in _assigned(file, symbol):
        match value:
            case ast.Dict(keys=[]) | ast.List(elts=[]):
                return True
            case ast.Call(func=ast.Name(id=maker) | ast.Attribute(attr=maker), args=args) if (
                maker in _EMPTY_MAKERS
            ):
                if all(isinstance(item, ast.Name | ast.Attribute | ast.Lambda) for item in args):
                    return maker == "defaultdict" or not args
            case _:
                continue
    return False


def is_place(file: ParsedFile, symbol: str) -> bool:
    """Whether a text depends on where the project lies: it is computed from `__file__`."""
    return any(
        isinstance(node, ast.Name) and node.id == "__file__"
        for value in _assigned(file, symbol)
        for node in ast.walk(value)
    )
