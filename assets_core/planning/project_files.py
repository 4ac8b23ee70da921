"""Which files are the project's own code, and where a module that is not yet imported has its file."""

from __future__ import annotations

import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

__all__ = ["find_module_file", "is_project_file"]

_OURS = ("assets_core", "io_managers", "lineage", "ui")
_INSTALLED = ("site-packages", "dist-packages")


@lru_cache(maxsize=1)
def _foreign_folders() -> tuple[str, ...]:
    """Folders of the standard library, of installed packages and of assetline itself, each with a slash."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    house = Path(__file__).resolve().parents[2]
    found.update(str(house / name) for name in _OURS)
    return tuple(f"{Path(path)}/" for path in found)


@lru_cache(maxsize=8192)
def is_project_file(path: str, module: str = "", root_package: str = "") -> bool:
    """Whether a file is code of the project.

    That is every file outside the standard library, the installed packages and assetline; and the package of the
    asset's own function wherever it is installed, so that a project has the same code versions before and after
    it is installed.
    """
    if not path or path.startswith("<frozen"):
        return False
    if path.startswith("<"):
        return True  # a shell or a notebook
    full = str(Path(path).absolute())
    if root_package and module.partition(".")[0] == root_package and root_package not in _OURS:
        return True
    return not full.startswith(_foreign_folders()) and not any(f"/{part}/" in full for part in _INSTALLED)


def find_module_file(module: str) -> str | None:
    """The source file of a module by its dotted name, without importing anything; None when there is none."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is not None:
        return str(loaded) if str(loaded).endswith(".py") else None
    return _search(module, tuple(sys.path))


@lru_cache(maxsize=1024)
def _search(module: str, search_paths: tuple[str, ...]) -> str | None:
    relative = module.replace(".", "/")
    for folder in search_paths:
        for tail in (f"{relative}/__init__.py", f"{relative}.py"):
            candidate = Path(folder or ".") / tail
            if candidate.is_file():
                return str(candidate.absolute())
    return None
