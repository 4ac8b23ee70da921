"""Opens what a command works on: the configuration, the project, the session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import StoredKeys
    from assets_core.project.config import ProjectSettings
    from assets_core.project.project import Project
    from assets_core.session import Session
    from ui.cli.options import GlobalOptions


class OpenedProject(NamedTuple):
    """A project and the configuration it was found by."""

    project: Project
    settings: ProjectSettings


def open_project(options: GlobalOptions) -> OpenedProject:
    """Load the configuration and the project it names; neither storage nor state is touched.

    Raises:
        ConfigError: The configuration is wrong, or names no project and `--project` was not given.
        DefinitionError: The project's code cannot be imported, or its definitions are wrong.
    """
    from assets_core.errors import ConfigError
    from assets_core.project.config import load_settings
    from assets_core.project.project import load_project

    settings = load_settings()
    reference = options.project or settings.project
    if not reference:
        raise ConfigError(
            "project-not-configured",
            "no project is configured.",
            why=f"no assetline.toml or [tool.assetline] in pyproject.toml names one, from {settings.root} upward.",
            do='assetline init DIR writes a new one; `project = "MODULE"` or --project MODULE names an existing one.',
        )
    return OpenedProject(load_project(reference, settings.search_paths), settings)


def open_stored_keys(
    project: Project, settings: ProjectSettings, options: GlobalOptions
) -> StoredKeys | None:
    """What gives the keys of dynamic partitions; None, and the storage stays closed, where no asset has any."""
    if not any(asset.partition_space.dynamic_names() for asset in project.assets.values()):
        return None
    from assets_core.project.dynamic_keys import DynamicKeys
    from assets_core.project.environment import Environment
    from io_managers.versions.partition_keys import PartitionKeys

    environment = Environment.from_settings(settings, options.env)
    return DynamicKeys(project, PartitionKeys(environment.storage)).reader()


@contextmanager
def open_session(
    options: GlobalOptions,
    *,
    config: Mapping[str, Mapping[str, object]] | None = None,
    read_only: bool = True,
) -> Iterator[Session]:
    """Open the project in the environment and branch that the options name.

    Args:
        options: The global options.
        config: Run configuration by asset key, over the configured values.
        read_only: Write nothing, not even an empty state database.
    """
    from assets_core.project.environment import Environment
    from assets_core.session import Session

    project, settings = open_project(options)
    environment = Environment.from_settings(settings, options.env)
    merged = {key: dict(values) for key, values in settings.config.items()}
    for key, values in (config or {}).items():
        merged[key] = {**merged.get(key, {}), **values}
    with Session.open(
        project, environment, branch=options.branch, config=merged, read_only=read_only
    ) as session:
        yield session
