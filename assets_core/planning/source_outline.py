"""Source code reduced to what it does: outlines of functions, classes and statements.

An outline is a syntax tree as text, without comments, docstrings, formatting and most annotations, in which every
name that the code takes from outside is kept apart as a `Reference`. Outlines depend on the text of the file
alone and are cached with it; what a reference stands for is decided anew by `code_version`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["ImportTarget", "Outline", "Reference", "Segment", "bindings", "build_outline", "import_target"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SKIPPED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """What an import statement binds: a module, or with `symbol` something in it; `level` counts leading dots."""

    module: str
    symbol: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """A name from outside and the attributes read from it: `helpers.clean` is (`helpers`, (`clean`,)).

    Attributes:
        follow: Whether what it stands for is part of the code; not so in the row model of a `Table[...]`.
        imported: Set when an import inside the function binds the name.
    """

    root: str
    attributes: tuple[str, ...] = ()
    follow: bool = True
    imported: ImportTarget | None = None


Segment = str | Reference


@dataclass(frozen=True, slots=True)
class Outline:
    """The text of a definition in pieces; decorators apart, as those of assetline itself are no code."""

    body: tuple[Segment, ...]
    decorators: tuple[tuple[Segment, ...], ...] = ()


@dataclass(slots=True)
class Scope:
    """Names that a scope binds; those bound by imports apart. `used` imports are read somewhere."""

    names: set[str]
    imports: dict[str, ImportTarget]
    is_class: bool = False
    used: set[str] = field(default_factory=set)


def import_target(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> tuple[str, ImportTarget]:
    """The name that one part of an import statement binds, and to what."""
    if isinstance(statement, ast.ImportFrom):
        return alias.asname or alias.name, ImportTarget(statement.module or "", alias.name, statement.level)
    if alias.asname:
        return alias.asname, ImportTarget(alias.name)
    top = alias.name.partition(".")[0]
    return top, ImportTarget(top)


def bindings(nodes: Iterable[ast.AST]) -> Scope:
    """Names that statements bind in their own scope, those of nested scopes left out."""
    names: set[str] = set()
    imports: dict[str, ImportTarget] = {}
    outer: set[str] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.Import() | ast.ImportFrom():
                imports.update(import_target(node, alias) for alias in node.names)
            case ast.Global():
                outer.update(node.names)
            case ast.Name(ctx=ast.Store() | ast.Del()):
                names.add(node.id)
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                names.add(name)
            case ast.MatchMapping(rest=str(rest)):
                names.add(rest)
            case ast.comprehension():
                stack += [node.iter, *node.ifs]
                continue
            case _:
                pass
        stack.extend(ast.iter_child_nodes(node))
    return Scope(names - outer - imports.keys(), imports)


class _Outliner:
    """Writes one definition or statement into segments."""

    def __init__(self, *, is_root: bool) -> None:
        self._segments: list[Segment] = []
        self._buffer: list[str] = []
        self._scopes: list[Scope] = []
        self._follow = True
        self._is_root = is_root

    def finish(self) -> tuple[Segment, ...]:
        if self._buffer:
            self._segments.append(" ".join(self._buffer))
            self._buffer = []
        found, self._segments = tuple(self._segments), []
        return found

    def definition(self, node: ast.AST) -> None:
        """A function, class, lambda or statement; the name of a definition and its decorators are left out."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, node.args, node.body, keep_annotations=self._is_root)
                if self._is_root and node.returns is not None:
                    self._annotation(node.returns)
            case ast.Lambda():
                self._function(node, node.args, [node.body], keep_annotations=False)
            case ast.ClassDef():
                self._class(node)
            case _:
                self._node(node)

    def expression(self, node: ast.expr) -> None:
        """A decorator."""
        self._node(node)

    def _node(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Name:
            self._name(node, ())  # type: ignore[arg-type]
        elif kind is ast.Constant:
            value = node.value  # type: ignore[attr-defined]
            self._buffer.append(f"{type(value).__name__}:{value!r}")
        elif kind is ast.Attribute:
            self._attribute(node)  # type: ignore[arg-type]
        elif kind in (ast.Import, ast.ImportFrom):
            pass  # the names that it binds are resolved where they are used
        elif isinstance(node, _DEFINITIONS):
            self._nested(node)
        elif kind is ast.Lambda:
            self._function(node, node.args, [node.body], keep_annotations=False)  # type: ignore[attr-defined]
        elif isinstance(node, _COMPREHENSIONS):
            self._comprehension(node)
        elif kind is ast.AnnAssign:
            self._annotated(node)  # type: ignore[arg-type]
        else:
            self._generic(node)

    def _generic(self, node: ast.AST, skipped: Sequence[str] = ()) -> None:
        buffer = self._buffer
        buffer.append("(" + type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _SKIPPED_FIELDS or name in skipped:
                continue
            buffer.append(name + "=")
            if isinstance(value, ast.AST):
                self._node(value)
            elif isinstance(value, list):
                self._list(value)
            else:
                buffer.append(repr(value))
        buffer.append(")")

    def _list(self, values: Sequence[object]) -> None:
        self._buffer.append("[")
        for value in values:
            if isinstance(value, ast.Expr) and isinstance(value.value, ast.Constant):
                continue  # a docstring, or a string that stands alone: no effect
            if isinstance(value, ast.Pass):
                continue
            if isinstance(value, ast.AST):
                self._node(value)
            else:
                self._buffer.append(repr(value))
        self._buffer.append("]")

    def _find(self, name: str) -> Scope | None:
        for scope in reversed(self._scopes):
            if name in scope.names or name in scope.imports:
                return scope
        return None

    def _name(self, node: ast.Name, attributes: tuple[str, ...]) -> None:
        scope = self._find(node.id)
        is_read = isinstance(node.ctx, ast.Load)
        imported = scope.imports.get(node.id) if scope is not None else None
        if scope is not None and imported is not None:
            scope.used.add(node.id)
        if is_read and (scope is None or imported is not None):
            self._reference(Reference(node.id, attributes, self._follow, imported))
        else:
            self._buffer.append(".".join((node.id, *attributes)))

    def _reference(self, reference: Reference) -> None:
        if self._buffer:
            self._segments.append(" ".join(self._buffer))
            self._buffer.clear()
        self._segments.append(reference)

    def _attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._name(inner, tuple(reversed(attributes)))
        else:
            self._generic(node)

    def _nested(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._buffer.append(f"({type(node).__name__} {node.name}")
        for decorator in node.decorator_list:
            self._buffer.append("@")
            self._node(decorator)
        if isinstance(node, ast.ClassDef):
            self._class(node)
        else:
            self._function(node, node.args, node.body, keep_annotations=False)
        self._buffer.append(")")

    def _function(
        self, node: ast.AST, args: ast.arguments, body: Sequence[ast.AST], *, keep_annotations: bool
    ) -> None:
        self._buffer.append("(async" if isinstance(node, ast.AsyncFunctionDef) else "(function")
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        every += [item for item in (args.vararg, args.kwarg) if item is not None]
        for title, items in (("/", args.posonlyargs), ("", args.args), ("*", args.kwonlyargs)):
            self._buffer += [title + item.arg for item in items]
        self._buffer += ["*" + args.vararg.arg] if args.vararg else []
        self._buffer += ["**" + args.kwarg.arg] if args.kwarg else []
        for default in (*args.defaults, *args.kw_defaults):
            self._buffer.append("=")
            if default is not None:
                self._node(default)
        if keep_annotations:
            for item in every:
                if item.annotation is not None:
                    self._annotation(item.annotation)
        scope = bindings(body)
        scope.names.update(item.arg for item in every)
        kept = self._scopes
        self._scopes = [outer for outer in kept if not outer.is_class] + [scope]
        self._list(body)
        self._unused_imports(scope)
        self._scopes = kept
        self._buffer.append(")")

    def _unused_imports(self, scope: Scope) -> None:
        """An import whose name is never read was written for its effect."""
        for name, target in sorted(scope.imports.items()):
            if name not in scope.used:
                self._reference(Reference(name, (), True, target))

    def _class(self, node: ast.ClassDef) -> None:
        self._buffer.append("(class")
        for base in node.bases:
            self._node(base)
        for keyword in node.keywords:
            self._generic(keyword)
        scope = bindings(node.body)
        scope.is_class = True
        self._scopes.append(scope)
        self._list(node.body)
        self._scopes.pop()
        self._buffer.append(")")

    def _comprehension(self, node: ast.AST) -> None:
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        names = {
            inner.id
            for generator in generators
            for inner in ast.walk(generator.target)
            if isinstance(inner, ast.Name)
        }
        # A class's names are not seen from its comprehensions, but for the first iterable: too fine to matter.
        self._scopes.append(Scope(names, {}))
        self._generic(node)
        self._scopes.pop()

    def _annotated(self, node: ast.AnnAssign) -> None:
        """`x: T = v`: in a class the annotation is code (fields), elsewhere it is not."""
        if self._scopes and self._scopes[-1].is_class:
            self._buffer.append("(field")
            self._node(node.target)
            self._annotation(node.annotation)
            if node.value is not None:
                self._node(node.value)
            self._buffer.append(")")
        elif node.value is not None:
            self._buffer.append("(Assign targets= [")
            self._node(node.target)
            self._buffer.append("] value=")
            self._node(node.value)
            self._buffer.append(")")

    def _annotation(self, node: ast.expr) -> None:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str):
            try:
                node = ast.parse(text, mode="eval").body
            except SyntaxError:
                self._buffer.append(repr(text))
                return
        self._buffer.append(":")
        followed = self._follow
        self._follow = followed and not any(
            isinstance(inner, ast.Subscript) and _last_name(inner.value) == "Table"
            for inner in ast.walk(node)
        )
        self._node(node)
        self._follow = followed


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def build_outline(node: ast.AST, *, is_root: bool) -> Outline:
    """The outline of a definition or a statement; `is_root` keeps the annotations of a function's own signature."""
    outliner = _Outliner(is_root=is_root)
    outliner.definition(node)
    body = outliner.finish()
    decorators = []
    for decorator in getattr(node, "decorator_list", ()):
        outliner.expression(decorator)
        decorators.append(outliner.finish())
    return Outline(body, tuple(decorators))
