"""Source files parsed once, with their definitions found by line, by name and by mention."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType

from assets_core.planning.source_outline import ImportTarget, Outline, bindings, build_outline

__all__ = ["ParsedFile", "parsed_file"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)


class ParsedFile:
    """One source file, parsed once.

    Attributes:
        top: Statements of the module that bind a name, by name, in order.
    """

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self.top: dict[str, list[ast.stmt]] = {}
        self._imports: dict[str, ImportTarget | None] = {}
        self._by_line: dict[tuple[int, str], list[ast.AST]] = {}
        self._by_name: dict[str, list[ast.AST]] = {}
        self._lambdas: list[ast.Lambda] | None = None
        self._outlines: dict[tuple[int, bool], Outline] = {}
        self._mentions: dict[str, list[ast.stmt]] | None = None
        for statement in tree.body:
            scope = bindings([statement])
            self._imports.update(dict.fromkeys(scope.names) | scope.imports)
            for name in (*scope.names, *scope.imports):
                self.top.setdefault(name, []).append(statement)
        for node, name in _definitions(tree.body, ""):
            line = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            self._by_line.setdefault((line, node.name), []).append(node)
            self._by_name.setdefault(name, []).append(node)

    def function(self, code: CodeType) -> ast.AST | None:
        """The definition that was compiled to this code, None when the file does not (any longer) have it."""
        if code.co_name == "<lambda>":
            return self._lambda(code)
        found = self._by_line.get((code.co_firstlineno, code.co_name), [])
        return found[-1] if found and isinstance(found[-1], _FUNCTIONS) else None

    def classes(self, qualified_name: str) -> list[ast.AST]:
        """All class statements of that name; more than one when they stand in branches."""
        return [node for node in self._by_name.get(qualified_name, ()) if isinstance(node, ast.ClassDef)]

    def import_of(self, name: str) -> ImportTarget | None:
        """What the module's last import of a name binds; None when something else binds it last."""
        return self._imports.get(name)

    def mentions(self, name: str) -> list[ast.stmt]:
        """Statements of the module, definitions and imports apart, that read or write a name."""
        if self._mentions is None:
            self._mentions = {}
            for statement in self.tree.body:
                if isinstance(statement, (*_DEFINITIONS, ast.Import, ast.ImportFrom)):
                    continue
                for found in {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}:
                    self._mentions.setdefault(found, []).append(statement)
        return self._mentions.get(name, [])

    def outline(self, node: ast.AST, *, is_root: bool = False) -> Outline:
        """The outline of a node of this file; `is_root` keeps the annotations of a function's own signature."""
        found = self._outlines.get((id(node), is_root))
        if found is None:
            found = self._outlines[id(node), is_root] = build_outline(node, is_root=is_root)
        return found

    def _lambda(self, code: CodeType) -> ast.AST | None:
        if self._lambdas is None:
            self._lambdas = [node for node in ast.walk(self.tree) if isinstance(node, ast.Lambda)]
        # Several lambdas can begin on one line: the tightest body around all of the code's columns is the one.
        spans = [span for span in code.co_positions() if None not in span and span[3]]
        points = [(a, c) for a, _, c, _ in spans] + [(b, d) for _, b, _, d in spans]
        if not points:
            return None
        around = [
            node
            for node in self._lambdas
            if (node.body.lineno, node.body.col_offset) <= min(points)
            and max(points) <= (node.body.end_lineno, node.body.end_col_offset)
        ]
        return max(around, key=lambda node: (node.body.lineno, node.body.col_offset), default=None)


def _definitions(
    body: Iterable[ast.AST], prefix: str
) -> Iterator[tuple[ast.FunctionDef | ast.ClassDef, str]]:
    """Functions and classes with their qualified names, at any depth of statements."""
    for node in body:
        if isinstance(node, _DEFINITIONS):
            name = prefix + node.name
            yield node, name  # type: ignore[misc]
            inner = ".<locals>." if isinstance(node, _FUNCTIONS) else "."
            yield from _definitions(node.body, name + inner)
        else:
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                nested = getattr(node, part, None)
                if isinstance(nested, list):
                    yield from _definitions(nested, prefix)


def parsed_file(path: str) -> ParsedFile | None:
    """The file parsed, from the cache while it is unchanged; None when there is no source or it has errors."""
    try:
        status = Path(path).stat()
    except OSError:  # notebooks and shells register their cells there
        return _parse_text(path, "".join(linecache.getlines(path)))
    return _parse_saved(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=512)
def _parse_saved(path: str, modified_ns: int, size_bytes: int) -> ParsedFile | None:
    return _parse(path, Path(path).read_bytes()) if size_bytes else None


@lru_cache(maxsize=256)
def _parse_text(path: str, source: str) -> ParsedFile | None:
    return _parse(path, source) if source else None


def _parse(path: str, source: str | bytes) -> ParsedFile | None:
    try:
        return ParsedFile(path, ast.parse(source))
    except (SyntaxError, ValueError):
        return None
