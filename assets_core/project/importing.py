"""Importing the user's modules, with their faults told as faults of the user's code."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from types import ModuleType

from assets_core.definition.signature import SourceLocation
from assets_core.errors import AssetlineError, DefinitionError
from io_managers.nearest import nearest_names

__all__ = ["import_module"]

#: Frames in these folders are ours: the user's fault lies before them.
_OWN_FOLDERS = tuple(
    os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), name, "")  # noqa: PTH118, PTH120
    for name in ("assets_core", "io_managers")
)

_STANDARD_LIBRARY = os.path.join(os.path.dirname(os.__file__), "")  # noqa: PTH118, PTH120


def import_module(name: str, search_paths: Sequence[str] = ()) -> ModuleType:
    """Import a module of the user by its dotted name.

    Args:
        name: The module.
        search_paths: Where it was expected, for the message.

    Raises:
        DefinitionError: `project-not-found`: there is no such module; `project-import-failed`: it raised,
            with the exception as the cause. Definition errors of the module come as they are.
    """
    try:
        return importlib.import_module(name)
    except DefinitionError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise _not_found(name, error.name, search_paths) from error
        raise _failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _not_found(name: str, part: str, search_paths: Sequence[str]) -> DefinitionError:
    import pkgutil  # only a fault needs it, and it costs every start

    parent, _, leaf = part.rpartition(".")
    paths: list[str] | None = list(search_paths) or None
    if parent:
        paths = list(getattr(importlib.import_module(parent), "__path__", []))
    known = [info.name for info in pkgutil.iter_modules(paths)]
    close = nearest_names(leaf, known, n=1)
    nearest = f"; nearest: {f'{parent}.' if parent else ''}{close[0]}" if close else ""
    where = f"package {parent!r}" if parent else (", ".join(search_paths) or "the import path")
    what = f"there is no module {part!r}" + ("." if part == name else f", so {name!r} cannot be imported.")
    return DefinitionError(
        "project-not-found",
        what,
        why=f"searched {where}{nearest}.",
        do="correct `project = ...` in the configuration, or run the command in the project's folder.",
    )


def _failed(name: str, error: BaseException) -> DefinitionError:
    place = _place(error)
    at = f" ({place})" if place is not None else ""
    if isinstance(error, AssetlineError):
        return DefinitionError(
            "project-import-failed",
            f"module {name!r} cannot be imported{at}: {error.what}",
            why=error.why,
            do=error.do,
        )
    message = str(error) or "no message"
    if isinstance(error, SystemExit):
        why = f"it called sys.exit({error.code!r}) while it was imported."
    else:
        why = f"{type(error).__name__}: {message}"
    do = "correct the module; importing it must not fail."
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        do = f"install what brings {package!r} into this environment, or correct the import."
    return DefinitionError(
        "project-import-failed", f"module {name!r} cannot be imported{at}.", why=why, do=do
    )


def _place(error: BaseException) -> SourceLocation | None:
    """The user's line that failed: of a syntax error its own, else the last one outside of libraries."""
    import traceback  # only a fault needs it, and it costs every start

    if isinstance(error, SyntaxError) and error.filename is not None:
        return SourceLocation(error.filename, error.lineno or 0)
    frames = [
        SourceLocation(frame.filename, frame.lineno or 0)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen", *_OWN_FOLDERS, _STANDARD_LIBRARY))
    ]
    own = [
        frame for frame in frames if "site-packages" not in frame.file and "dist-packages" not in frame.file
    ]
    return own[-1] if own else (frames[-1] if frames else None)
