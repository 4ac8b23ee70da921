"""What a function's code reaches, followed name by name; nothing is imported or called to find out."""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from assets_core.planning.code_objects import (
    closure_of,
    format_place,
    innermost_function,
    module_name,
    wrapped_function,
)
from assets_core.planning.constant_source import absolute_module, find_definition, is_place, starts_empty
from assets_core.planning.constant_text import constant_text
from assets_core.planning.parsed_file import ParsedFile, parsed_file
from assets_core.planning.project_files import find_module_file, is_project_file
from assets_core.planning.source_outline import ImportTarget, Outline, Reference, Segment, import_target

__all__ = ["Covered", "Reach", "ReachedSource", "short_digest"]

ROOT = "<root>"
_MODULE_NAMES = frozenset(
    {"__file__", "__name__", "__doc__", "__package__", "__spec__", "__path__", "__loader__"}
)


@dataclass(frozen=True, slots=True)
class Covered:
    """One thing that a code version covers.

    Attributes:
        kind: `function`, `class`, `constant`, `module` (read as a whole), `bytecode` (a function without source),
            `distribution` or `declared` (what the caller added).
        name: Qualified: `package.module:Class.method`.
        where: `path/file.py:12`, relative to the working folder when below it; "" when there is no file.
    """

    kind: str
    name: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class ReachedSource:
    """The syntax nodes of one piece, or the code object of a function without source."""

    name: str
    nodes: tuple[ast.AST, ...]
    code: types.CodeType | None = None


def short_digest(text: str) -> str:
    """16 hex digits of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class _Names(Protocol):
    """Where a piece's outside names are looked up."""

    @property
    def package(self) -> str: ...

    def resolve(self, reach: Reach, reference: Reference) -> str: ...


@dataclass(slots=True)
class _LoadedNames:
    """The names of a loaded module, and a function's closure before them."""

    values: Mapping[str, Any]
    closure: Mapping[str, Any]
    file: ParsedFile | None

    @property
    def module(self) -> str:
        return str(self.values.get("__name__", ""))

    @property
    def package(self) -> str:
        return str(self.values.get("__package__") or self.module.rpartition(".")[0])

    def resolve(self, reach: Reach, reference: Reference) -> str:
        name = reference.root
        if name in self.closure:
            return reach.value(self.closure[name], self, "") + _tail(reference.attributes)
        if name not in self.values or name in _MODULE_NAMES:
            return ".".join((name, *reference.attributes))
        return reach.loaded(self.values[name], self, reference)


@dataclass(slots=True)
class _TextNames:
    """The names of a module that is known by its text alone."""

    module: str
    package: str
    file: ParsedFile | None

    def resolve(self, reach: Reach, reference: Reference) -> str:
        if self.file is None or reference.root not in self.file.top:
            return ".".join((reference.root, *reference.attributes))
        target = self.file.import_of(reference.root)
        if target is not None:
            return reach.imported(target, reference.attributes, self.package)
        if not reference.follow:
            return f"{reference.root}{_tail(reference.attributes)}"
        return reach.text_symbol(self.module, reference.root) + _tail(reference.attributes)


def _tail(attributes: Sequence[str]) -> str:
    return "".join(f".{name}" for name in attributes)


class Reach:
    """Everything that one function reaches.

    Attributes:
        pieces: The text of each reached function, class and defining statement by its identity.
        covers: What to tell people about them, by the same identities; the function itself first.
        sources: Their syntax nodes, by the same identities.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.pieces: dict[str, str] = {}
        self.covers: dict[str, Covered] = {}
        self.sources: dict[str, ReachedSource] = {}
        self._root = innermost_function(function)
        module = getattr(self._root, "__module__", None) or type(self._root).__module__
        self._root_package = str(module).partition(".")[0]
        self._known: dict[int, tuple[object, str]] = {}
        self._open: set[str] = set()

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Reach:
        """Follow a function, partial, method or callable object."""
        reach = cls(function)
        name = f"{getattr(reach._root, '__module__', '')}:{getattr(reach._root, '__qualname__', '')}"
        reach.covers[ROOT] = Covered("bytecode", name)
        reach.sources[ROOT] = ReachedSource(name, ())
        reach.pieces[f"{ROOT} as called"] = reach.value(function, _LoadedNames({}, {}, None), "")
        return reach

    @property
    def root_source(self) -> ReachedSource:
        """The function itself."""
        return self.sources[ROOT]

    # what a reference stands for

    def loaded(self, value: Any, names: _LoadedNames, reference: Reference) -> str:
        """A name of a loaded module, with the attributes read from it as far as they lead through modules."""
        attributes = list(reference.attributes)
        name = reference.root
        while isinstance(value, types.ModuleType) and attributes and self._is_project_module(value):
            if attributes[0] not in vars(value):
                break
            name = attributes.pop(0)
            file = parsed_file(value.__file__ or "")
            names = _LoadedNames(vars(value), {}, file)
            value = names.values[name]
        if isinstance(value, types.ModuleType):
            if not self._is_project_module(value):
                return ".".join((value.__name__, *attributes))
            return self.text_symbol(value.__name__, "") + _tail(attributes)
        if not reference.follow:
            return f"{getattr(value, '__qualname__', name)}{_tail(attributes)}"
        return self.value(value, names, name) + _tail(attributes)

    def imported(self, target: ImportTarget, attributes: Sequence[str], package: str) -> str:
        """What an import that is known by its text binds, with the attributes read from it."""
        module = absolute_module(target, package)
        path = [*([target.symbol] if target.symbol else []), *attributes]
        while path and self._project_file(f"{module}.{path[0]}") is not None:
            module = f"{module}.{path.pop(0)}"
        if self._project_file(module) is None:
            return ".".join((module, *path))
        return self.text_symbol(module, path[0] if path else "") + _tail(path[1:])

    def value(self, value: Any, names: _LoadedNames, name: str) -> str:
        """Text that stands for an object; what it is made of goes to `pieces`."""
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        followed = self._follow(value, names, name)
        if followed is not None:
            return followed
        return self._constant(value, names, name)

    def _follow(self, value: Any, names: _LoadedNames, name: str) -> str | None:
        """Functions, classes and what wraps them; None for constants."""
        if isinstance(value, types.FunctionType):
            return self._function(value, names, name)
        if isinstance(value, type):
            return self._class(value, names, name)
        if isinstance(value, types.MethodType):
            return f"method({self.value(value.__func__, names, '')}, {self.value(value.__self__, names, '')})"
        if isinstance(value, functools.partial):
            fixed = [self.value(item, names, "") for item in value.args]
            fixed += [f"{key}={self.value(item, names, '')}" for key, item in sorted(value.keywords.items())]
            return f"partial({self.value(value.func, names, '')}, {', '.join(fixed)})"
        if isinstance(value, staticmethod | classmethod):
            return self.value(value.__func__, names, name)
        if isinstance(value, property):
            return f"property({', '.join(self.value(item, names, '') for item in (value.fget, value.fset))})"
        inner = wrapped_function(value)
        if inner is not None:
            return f"{type(value).__name__}({self.value(inner, names, '')})"
        if isinstance(value, types.ModuleType):
            return self.loaded(value, names, Reference(value.__name__))
        if isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            return _foreign_name(value, names, name)
        return None

    # functions

    def _function(self, function: types.FunctionType, names: _LoadedNames, name: str) -> str:
        closure = closure_of(function)
        module = str(function.__globals__.get("__name__", ""))
        if function is not self._root and not self._is_project(function.__code__.co_filename, module):
            held = [function.__dict__.get("__wrapped__"), *(closure[key] for key in sorted(closure))]
            held = [item for item in held if isinstance(item, types.FunctionType) and item is not function]
            if held:
                return self._foreign_wrapper(function, held, names, name)
            return _foreign_name(function, names, name)
        is_root = function is self._root
        display = f"{module_name(function.__globals__)}:{function.__qualname__}"
        identity = ROOT if is_root else display
        self._known[id(function)] = (function, identity)
        file = parsed_file(function.__code__.co_filename)
        scope = _LoadedNames(function.__globals__, closure, file)
        cells = ", ".join(f"{key}={self.value(item, scope, '')}" for key, item in sorted(closure.items()))
        if closure and not is_root:
            identity += f"#{short_digest(cells)}"
            self._known[id(function)] = (function, identity)
        node = file.function(function.__code__) if file is not None else None
        code = function.__code__
        self._cover(
            identity,
            "bytecode" if node is None else "function",
            code.co_filename,
            code.co_firstlineno,
            display,
        )
        if node is None or file is None:
            self.sources[identity] = ReachedSource(display, (), code)
            text = self._bytecode(code, scope)
        else:
            self.sources[identity] = ReachedSource(display, (node,))
            text = self._render(file.outline(node, is_root=is_root), scope)
        defaults = [self.value(item, scope, "") for item in function.__defaults__ or ()]
        defaults += [
            f"{key}={self.value(item, scope, '')}"
            for key, item in sorted((function.__kwdefaults__ or {}).items())
        ]
        self.pieces[identity] = f"{text} defaults {', '.join(defaults)} closure {cells}"
        return identity

    def _foreign_wrapper(
        self, function: types.FunctionType, held: Sequence[Any], names: _LoadedNames, name: str
    ) -> str:
        """A function of an installed package that may hold functions of the project."""
        text = _foreign_name(function, names, name)
        self._known[id(function)] = (function, text)
        inner = [self.value(item, names, "") for item in held]
        found = [item for item in inner if item.partition("(")[0] in self.pieces]
        if found:
            text = f"{function.__code__.co_qualname}({', '.join(found)})"
            self._known[id(function)] = (function, text)
        return text

    def _bytecode(self, code: types.CodeType, names: _LoadedNames) -> str:
        """Code without source: its instructions, constants and names. Differs between versions of Python."""
        parts = [code.co_code.hex(), " ".join(code.co_varnames), str(code.co_flags)]
        for item in code.co_consts:
            parts.append(
                self._bytecode(item, names)
                if isinstance(item, types.CodeType)
                else self.value(item, names, "")
            )
        for name in code.co_names:
            parts.append(names.resolve(self, Reference(name)))
        return "bytecode " + " | ".join(parts)

    # classes

    def _class(self, kind: type, names: _LoadedNames, name: str) -> str:
        module = sys.modules.get(kind.__module__)
        path = getattr(module, "__file__", None) or ""
        if not self._is_project(path, kind.__module__):
            return _foreign_name(kind, names, name)
        values = vars(module) if module is not None else {}
        identity = f"{module_name(values)}:{kind.__qualname__}"
        self._known[id(kind)] = (kind, identity)
        file = parsed_file(path)
        nodes = file.classes(kind.__qualname__) if file is not None else []
        scope = _LoadedNames(values, {}, file)
        if file is not None and nodes:
            text = " ".join([self._render(file.outline(node), scope) for node in nodes])
            line = int(getattr(nodes[0], "lineno", 0))
        else:
            text = self._made_class(kind, scope)
            line = 0
        self._cover(identity, "class", path, line)
        self.sources[identity] = ReachedSource(identity, tuple(nodes))
        self.pieces[identity] = text
        return identity

    def _made_class(self, kind: type, names: _LoadedNames) -> str:
        """A class without a class statement, such as a named tuple: bases, functions and plain attributes."""
        parts = [self.value(base, names, base.__name__) for base in kind.__bases__]
        for key, item in sorted(vars(kind).items()):
            if key in ("__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__"):
                continue
            if (
                isinstance(item, types.FunctionType | staticmethod | classmethod | property)
                or key == "_fields"
            ):
                parts.append(f"{key}={self.value(item, names, '')}")
            elif key == "__annotations__":
                parts.append(f"{key}={sorted(item)}")
        return "made " + ", ".join(parts)

    # constants

    def _constant(self, value: Any, names: _LoadedNames, name: str) -> str:
        where = find_definition(names.file, names.module, names.package, name) if name else None
        if where is not None:
            file, module, symbol = where
            if isinstance(value, dict | list | set) and starts_empty(file, symbol):
                held = value.values() if isinstance(value, dict) else value
                registered = sorted(
                    self.value(item, names, "")
                    for item in held
                    if isinstance(item, types.FunctionType | type)
                )
                return f"filled({self._statements(file, module, symbol, mentions=True)}, {', '.join(registered)})"
            if isinstance(value, str) and is_place(file, symbol):
                return self._statements(file, module, symbol)
        if name:
            module_name = where[1] if where is not None else names.module
            line = where[0].top[where[2]][0].lineno if where is not None else 0
            self._cover(f"{module_name}:{name}", "constant", where[0].path if where is not None else "", line)

        def follow(item: object) -> str | None:
            known = self._known.get(id(item))
            return known[1] if known is not None else self._follow(item, names, "")

        written = constant_text(value, follow)
        text = written.text if len(written.text) < 200 else "#" + short_digest(written.text)
        if not written.is_whole and where is not None:
            text += self._statements(*where)
        return f"<{text}>"

    def _statements(self, file: ParsedFile, module: str, symbol: str, *, mentions: bool = False) -> str:
        """The statements that define a name, as a piece; with `mentions` all that the module does with it."""
        identity = f"{module}:{symbol}"
        key = f"statements {identity}"
        if key in self.pieces or key in self._open:
            return identity
        self._open.add(key)
        statements: list[ast.stmt] = [
            node for node in file.top[symbol] if not isinstance(node, ast.Import | ast.ImportFrom)
        ]
        if mentions:
            statements += [node for node in file.mentions(symbol) if node not in statements]
        loaded = sys.modules.get(module)
        names = _LoadedNames(vars(loaded), {}, file) if loaded is not None else _TextNames(module, "", file)
        self._cover(identity, "constant", file.path, statements[0].lineno)
        self.sources[key] = ReachedSource(identity, tuple(statements))
        self.pieces[key] = " ".join([self._render(file.outline(node), names) for node in statements])
        self._open.discard(key)
        return identity

    # text alone

    def text_symbol(self, module: str, symbol: str) -> str:
        """A name of a module that is read as text, or with "" the whole module."""
        path = self._project_file(module)
        file = parsed_file(path) if path is not None else None
        if path is None or file is None:
            return f"{module}:{symbol}"
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        if symbol:
            target = file.import_of(symbol)
            if target is not None:
                key = f"import {module}:{symbol}"
                if key in self._open:
                    return f"{module}:{symbol}"
                self._open.add(key)
                found = self.imported(target, (), package)
                self._open.discard(key)
                return found
            if symbol not in file.top:
                return f"{self.text_symbol(module, '')}.{symbol}"
        identity = f"{module}:{symbol}" if symbol else module
        key = f"text {identity}"
        if key in self.pieces or key in self._open:
            return identity
        self._open.add(key)
        statements = file.top[symbol] if symbol else file.tree.body
        names = _TextNames(module, package, file)
        kinds = {ast.FunctionDef: "function", ast.AsyncFunctionDef: "function", ast.ClassDef: "class"}
        kind = kinds.get(type(statements[0]), "constant") if symbol else "module"
        self._cover(identity, kind, path, statements[0].lineno if statements else 1)
        self.sources[key] = ReachedSource(identity, tuple(statements))
        parts = [self._render(file.outline(node), names) for node in statements]
        if not symbol:
            parts += self._module_imports(statements, package)
        self.pieces[key] = " ".join(parts)
        self._open.discard(key)
        return identity

    def _module_imports(self, statements: Iterable[ast.stmt], package: str) -> list[str]:
        """What a module that is read as a whole imports, for its effect or for others to take from it."""
        found = []
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    target = import_target(statement, alias)[1]
                    if alias.name == "*":
                        target = ImportTarget(target.module, "", target.level)
                    found.append(self.imported(target, (), package))
        return sorted(found)

    # common ground

    def _render(self, outline: Outline, names: _Names) -> str:
        parts = [self._join(outline.body, names)]
        for segments in outline.decorators:
            first = next((item for item in segments if isinstance(item, Reference)), None)
            # What a decorator of assetline says about an asset is no code, and must not be followed.
            if first is None or not self._is_ours(self._join([first], names)):
                parts.append("@" + self._join(segments, names))
        return " ".join(parts)

    @staticmethod
    def _is_ours(text: str) -> bool:
        return text.removeprefix("partial(").startswith("assets_core.")

    def _join(self, segments: Sequence[Segment], names: _Names) -> str:
        parts = []
        for segment in segments:
            if isinstance(segment, str):
                parts.append(segment)
            elif segment.imported is not None:
                parts.append(self.imported(segment.imported, segment.attributes, names.package))
            else:
                parts.append(names.resolve(self, segment))
        return " ".join(parts)

    def _cover(self, identity: str, kind: str, path: str, line: int, name: str = "") -> None:
        if identity not in self.covers or identity == ROOT:
            self.covers[identity] = Covered(kind, name or identity, format_place(path, line))

    def _is_project(self, path: str, module: str) -> bool:
        return is_project_file(path, module, self._root_package)

    def _is_project_module(self, module: types.ModuleType) -> bool:
        return self._is_project(getattr(module, "__file__", None) or "", module.__name__)

    def _project_file(self, module: str) -> str | None:
        path = find_module_file(module)
        return path if path is not None and self._is_project(path, module) else None


def _foreign_name(value: Any, names: _LoadedNames, name: str) -> str:
    """Installed code by name: as the import says, for packages move their definitions about."""
    target = names.file.import_of(name) if names.file is not None and name else None
    if target is not None and target.symbol:
        return f"{absolute_module(target, names.package)}.{target.symbol}"
    module = getattr(value, "__module__", None) or ""
    named = getattr(value, "__qualname__", None) or type(value).__qualname__
    return str(named) if module == builtins.__name__ else f"{module}.{named}"
