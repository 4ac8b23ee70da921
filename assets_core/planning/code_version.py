"""Code versions: one hash over the code that an asset's function reaches.

From the function on, every name taken from outside is followed: functions and classes of the project by their
outlines, constants by their values, everything installed by its name alone. Each reached thing is one piece; the
hash is over the set of pieces, so that order of definition, formatting, comments and unrelated code of the same
module do not enter.

What the value of a constant does not tell (see `constant_text`) is known by its type and by the text of the
statements that define it. The same goes for a dict, list or set that starts empty: it is filled while the
program runs, and a cache is no code. Modules imported inside a function are read as text, whether or not they
are loaded by now.
"""

from __future__ import annotations

import ast
import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from assets_core.errors import DefinitionError
from assets_core.planning.code_reach import Covered, Reach, ReachedSource, short_digest

__all__ = [
    "CodeVersion",
    "Covered",
    "code_version",
    "covered_sources",
    "explain_code_change",
    "normalised_source",
]


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """16 hex digits, and what they are over: the function first, then by name, what was declared last."""

    hash: str
    covers: tuple[Covered, ...]


def code_version(
    function: Callable[..., Any],
    *,
    extra: Mapping[str, str] | None = None,
    distributions: Sequence[str] = (),
    override: str | None = None,
) -> CodeVersion:
    """The version of a function's code and of all project code that it reaches.

    Args:
        function: A function, partial, method or callable object; its own decorators from assetline do not enter.
        extra: Further texts that are part of the code, such as the contract's and the mappings'.
        distributions: Installed distributions whose versions enter too.
        override: Stands for the code when given; `extra` and `distributions` enter all the same.

    Raises:
        DefinitionError: `distribution-not-found` when one of the distributions is not installed.
    """
    if override is None:
        reach = Reach.of(function)
        parts = [f"{identity}\n{text}" for identity, text in sorted(reach.pieces.items())]
        first, *rest = reach.covers.values()
        covers = [first, *sorted(rest, key=lambda item: (item.name, item.kind))]
    else:
        parts = [f"override\n{override}"]
        covers = [Covered("declared", f"code_version={override!r}")]
    for name, text in sorted((extra or {}).items()):
        parts.append(f"declared {name}\n{text}")
        covers.append(Covered("declared", name))
    for name in sorted(distributions):
        installed = f"{name} {_installed_version(name)}"
        parts.append(f"distribution {installed}")
        covers.append(Covered("distribution", installed))
    return CodeVersion(short_digest("\0".join(parts)), tuple(covers))


def normalised_source(function: Callable[..., Any]) -> str:
    """A function's code without comments, docstrings and formatting, for diffs.

    Bytecode instructions, one a line, when there is no source.
    """
    return _source_text(Reach.of(function).root_source)


def covered_sources(function: Callable[..., Any]) -> dict[str, str]:
    """The normalised source of every function, class and statement that `code_version` covers, by name, sorted."""
    found: dict[str, str] = {}
    for source in sorted(Reach.of(function).sources.values(), key=lambda item: item.name):
        text = _source_text(source)
        earlier = found.get(source.name)
        found[source.name] = text if earlier in (None, text) else f"{earlier}\n{text}"
    return found


def explain_code_change(old_sources: Mapping[str, str], new_sources: Mapping[str, str]) -> str:
    """A unified diff of two results of `covered_sources`; "" when they are equal."""
    lines: list[str] = []
    for name in sorted(old_sources.keys() | new_sources.keys()):
        old, new = old_sources.get(name, ""), new_sources.get(name, "")
        if old != new:
            lines += difflib.unified_diff(
                old.splitlines(), new.splitlines(), f"{name} (before)", f"{name} (now)", lineterm="", n=2
            )
    return "\n".join(lines)


@functools.lru_cache(maxsize=256)
def _installed_version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise DefinitionError(
            "distribution-not-found",
            f"the distribution {name!r}, whose version is part of a code version, is not installed.",
            do=f"install {name!r}, or take it out of distributions=.",
        ) from error


class _Plain(ast.NodeTransformer):
    """Takes out statements that have no effect."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                item
                for item in body
                if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
        return node


def _source_text(source: ReachedSource) -> str:
    if source.code is not None:
        import dis

        return "\n".join(
            f"{item.opname} {item.argrepr}".rstrip() for item in dis.get_instructions(source.code)
        )
    return "\n".join(ast.unparse(_Plain().visit(deepcopy(node))) for node in source.nodes)
