"""A project: all definitions of a user, validated together.

Project(assets=[...], checks=[...])     what is listed
Project.from_module(__name__)           what a module holds
load_project("pkg.definitions")         what the command line and the workers import
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType, ModuleType

from assets_core.definition.asset import Asset
from assets_core.definition.checks import AssetCheck
from assets_core.errors import DefinitionError, NotFoundError
from assets_core.project.graph import AssetGraph
from assets_core.project.importing import import_module
from assets_core.project.validation import resolve_definitions
from io_managers.nearest import nearest_names

__all__ = ["Project", "load_project"]

_ATTRIBUTE = "project"


class Project:
    """Validated definitions; does not change.

    Its assets are those that were passed in, with names resolved to keys; they are equal to them.
    """

    def __init__(
        self, assets: Iterable[Asset] = (), checks: Iterable[AssetCheck] = (), name: str | None = None
    ) -> None:
        """Validate and keep definitions.

        Args:
            assets: In any order; the same object may come several times.
            checks: Those that are not listed in an asset's `checks=`.
            name: For people; None for the name of the module that makes the project.

        Raises:
            DefinitionError: The one thing that is wrong.
            DefinitionErrors: All that is wrong, by file and line.
        """
        self._build(assets, checks, name, str(sys._getframe(1).f_globals.get("__name__", "")), "")

    def _build(
        self,
        assets: Iterable[Asset],
        checks: Iterable[AssetCheck],
        name: str | None,
        module: str,
        fallback: str,
    ) -> None:
        definitions = resolve_definitions(assets, checks)
        self._assets = MappingProxyType(dict(definitions.assets))
        self._graph = definitions.graph
        self._name = name or module
        self._module = module
        self._fallback = fallback

    @classmethod
    def from_module(cls, module: ModuleType | str, *, name: str | None = None) -> Project:
        """A project of the assets and checks that are values of a module, imported ones included.

        Args:
            module: A module or its name; inside of a module, `__name__`, after the last definition.
            name: For people; None for the module's name.
        """
        found = sys.modules.get(module) or import_module(module) if isinstance(module, str) else module
        return cls._from_modules([found], name, found.__name__, found.__name__)

    @classmethod
    def from_package(cls, package: ModuleType | str, *, name: str | None = None) -> Project:
        """A project of the assets and checks in a package and all modules below it, which are imported.

        Raises:
            DefinitionError: `project-import-failed`: a module cannot be imported. Also as the constructor.
        """
        found = sys.modules.get(package) or import_module(package) if isinstance(package, str) else package
        return cls._from_modules([found, *map(import_module, _names_below(found))], name, found.__name__, "")

    @classmethod
    def _from_modules(
        cls, modules: Sequence[ModuleType], name: str | None, module: str, fallback: str
    ) -> Project:
        values = [value for item in modules for value in list(vars(item).values())]
        project = cls.__new__(cls)
        project._build(
            [value for value in values if isinstance(value, Asset)],
            [value for value in values if isinstance(value, AssetCheck)],
            name,
            module,
            "" if module == "__main__" else fallback,
        )
        return project

    @property
    def name(self) -> str:
        """Shown to people."""
        return self._name

    @property
    def assets(self) -> Mapping[str, Asset]:
        """Assets by key, sorted."""
        return self._assets

    @property
    def graph(self) -> AssetGraph:
        """The order of the assets."""
        return self._graph

    @property
    def reference(self) -> str:
        """`module:attribute` or `module` by which a worker can import the project; "" when there is none."""
        if self._module == "__main__":
            return ""
        holder = vars(sys.modules[self._module]) if self._module in sys.modules else {}
        for attribute, value in list(holder.items()):
            if value is self:
                return f"{self._module}:{attribute}"
        return self._fallback

    def require(self, key: str) -> Asset:
        """The asset of a key.

        Raises:
            NotFoundError: `asset-not-found`, with the nearest keys.
        """
        found = self._assets.get(key)
        if found is None:
            near = nearest_names(key, self._assets, n=3)
            nearest = f"; nearest: {', '.join(near)}" if near else ""
            raise NotFoundError(
                "asset-not-found",
                f"there is no asset {key!r}.",
                why=f"{len(self._assets)} assets are defined in {self._name or 'the project'}{nearest}.",
                do="assetline list",
            )
        return found

    def checks_for(self, key: str) -> tuple[AssetCheck, ...]:
        """The checks of an asset, those that it lists first; () for an unknown key."""
        asset = self._assets.get(key)
        return () if asset is None else asset.checks

    def __repr__(self) -> str:
        return f"<Project {self._name}: {len(self._assets)} assets>"


def _names_below(package: ModuleType) -> list[str]:
    """Names of the modules below a package; nothing is imported to find them."""
    import pkgutil  # most projects are one module

    found: list[str] = []
    folders = [(f"{package.__name__}.", list(getattr(package, "__path__", ())))]
    while folders:
        prefix, paths = folders.pop(0)
        for info in sorted(pkgutil.iter_modules(paths, prefix), key=lambda info: info.name):
            leaf = info.name.rpartition(".")[2]
            if leaf == "__main__":
                continue
            found.append(info.name)
            if info.ispkg:
                folders.append((f"{info.name}.", [f"{path}/{leaf}" for path in paths]))
    return found


def load_project(reference: str, search_paths: Sequence[str] = ()) -> Project:
    """Import a project by name.

    A module's project is its attribute `project`, else the one `Project` it holds, else all of its assets.

    Args:
        reference: `package.module`, or `package.module:attribute`.
        search_paths: Folders put in front of `sys.path`, where they stay: functions may import later.

    Raises:
        DefinitionError: `project-import-failed`: the module raised, with its exception as the cause;
            `project-not-found`: there is no such module or no project in it. Otherwise as `Project`.
    """
    for path in reversed(search_paths):
        if path not in sys.path:
            sys.path.insert(0, path)
    module_name, colon, attribute = reference.partition(":")
    module = import_module(module_name, search_paths)
    if colon:
        return _attribute(module, attribute)
    own = getattr(module, _ATTRIBUTE, None)
    if isinstance(own, Project):
        return own
    held = {name: value for name, value in vars(module).items() if isinstance(value, Project)}
    if len({id(value) for value in held.values()}) == 1:
        return next(iter(held.values()))
    if held:
        raise DefinitionError(
            "project-not-found",
            f"module {module_name!r} ({module.__file__}) holds {len(held)} projects, none named 'project'.",
            why=f"they are {', '.join(sorted(held))}.",
            do=f"name one, for instance {module_name}:{sorted(held)[0]}.",
        )
    if not any(isinstance(value, Asset) for value in vars(module).values()):
        package = hasattr(module, "__path__")
        raise DefinitionError(
            "project-not-found",
            f"module {module_name!r} ({module.__file__}) holds no project and no assets.",
            why="a project is a Project object, or a module with assets.",
            do=f"write project = Project.from_{'package' if package else 'module'}(__name__) into it, "
            "or name another module.",
        )
    return Project.from_module(module)


def _attribute(module: ModuleType, attribute: str) -> Project:
    found = getattr(module, attribute, None)
    if isinstance(found, Project):
        return found
    held = sorted(name for name, value in vars(module).items() if isinstance(value, Project))
    near = nearest_names(attribute, held, n=1) or held
    kind = (
        f"it is of type {type(found).__name__}"
        if hasattr(module, attribute)
        else "there is no such attribute"
    )
    raise DefinitionError(
        "project-not-found",
        f"{module.__name__}:{attribute} is no project ({module.__file__}).",
        why=f"{kind}; projects in the module: {', '.join(held) or 'none'}.",
        do=f"write {module.__name__}:{near[0]}."
        if near
        else f"write {attribute} = Project.from_module(__name__).",
    )
