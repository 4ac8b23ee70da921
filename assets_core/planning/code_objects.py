"""What loaded functions and modules tell about themselves."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["closure_of", "format_place", "innermost_function", "module_name", "wrapped_function"]


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """The values of a nested function's outer names, those not yet assigned left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not yet assigned
            continue
    return found


def module_name(values: Mapping[str, Any]) -> str:
    """A module's name; the one it would be imported by for the program that was started."""
    name = str(values.get("__name__", ""))
    if name != "__main__":
        return name
    spec = values.get("__spec__")
    if spec is not None and getattr(spec, "name", None):
        return str(spec.name)
    return Path(str(values.get("__file__") or name)).stem


def format_place(path: str, line: int) -> str:
    """`path/file.py:12`, relative to the working folder when below it; "" without a path."""
    if not path:
        return ""
    relative = os.path.relpath(path) if not path.startswith("<") else path
    return f"{path if relative.startswith('..') else relative}:{line}"


def wrapped_function(value: Any) -> Any:
    """The function inside a wrapping object: `functools.wraps` and the like, an asset or a check that is called."""
    inner = vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None
    if inner is None and type(value).__module__.startswith("assets_core."):
        inner = getattr(value, "function", None)
    return inner if callable(inner) else None


def innermost_function(function: Any) -> Any:
    """The function that wrappers were put around; a callable object is its own."""
    seen: set[int] = set()
    while id(function) not in seen:
        seen.add(id(function))
        if isinstance(function, functools.partial):
            function = function.func
        else:
            function = getattr(function, "__func__", None) or wrapped_function(function) or function
    return function
