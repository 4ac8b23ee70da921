"""The Python faces of `assetline materialize` and `assetline load`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assets_core.project.environment import Environment
from assets_core.session import Session

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.project.project import Project
    from assets_core.running import RunObserver, RunResult


def materialize(
    project: Project,
    select: str | Sequence[str] = (),
    partitions: str | None = None,
    *,
    env: str | Environment | None = None,
    branch: str = "main",
    force: bool = False,
    executor: str | None = None,
    workers: int | None = None,
    keep_going: bool = False,
    config: Mapping[str, Mapping[str, object]] | None = None,
    observer: RunObserver | None = None,
) -> RunResult:
    """Bring assets up to date: plan what is missing or stale and run it.

    Args:
        project: The definitions.
        select: One or more selection expressions; none for every asset.
        partitions: Partition expression; None for everything missing or stale.
        env: Name of a configured environment, or one made in code; None for the configured default, and without any
            configuration the folder `.assetline/` of the working directory.
        branch: Branch to publish on.
        force: Also what is fresh.
        executor: Kind of executor, over the environment's.
        workers: How many workers, over the environment's.
        keep_going: After a failure go on with what does not depend on it.
        config: Run configuration by asset key, over the configured.
        observer: Is told how the run goes on.

    Returns:
        How the run ended; failures do not raise.
    """
    environment, configured = _environment(env)
    with Session.open(project, environment, branch=branch, config=configured) as session:
        return session.materialize(
            _expressions(select),
            partitions,
            force=force,
            executor=executor,
            workers=workers,
            keep_going=keep_going,
            config=config,
            observer=observer,
        )


def load(
    asset: str | Asset[..., Any],
    partition: str | None = None,
    *,
    project: Project | None = None,
    as_type: Any = None,
    columns: Sequence[str] | None = None,
    as_of: dt.datetime | None = None,
    env: str | Environment | None = None,
    branch: str = "main",
) -> Any:
    """Published data of an asset.

    Args:
        asset: Its key, or the asset.
        partition: Partition expression; None for all that is published.
        project: The definitions; None for the configured project.
        as_type: Wanted type, as an input's annotation; None for the asset's own.
        columns: Columns of a table, None for all.
        as_of: What was current at an aware instant.
        env: As in `materialize`.
        branch: Branch to read.

    Raises:
        NotFoundError: There is no such asset, or nothing is published of it.
    """
    environment, configured = _environment(env)
    key = asset if isinstance(asset, str) else asset.key
    with Session.open(
        project or _configured_project(), environment, branch=branch, config=configured, read_only=True
    ) as session:
        return session.load(key, partition, as_type=as_type, columns=columns, as_of=as_of)


def _expressions(select: str | Sequence[str]) -> Sequence[str]:
    return (select,) if isinstance(select, str) else select


def _environment(
    env: str | Environment | None,
) -> tuple[Environment, Mapping[str, Mapping[str, object]]]:
    if isinstance(env, Environment):
        return env, {}
    from assets_core.project.config import load_settings

    settings = load_settings()
    return Environment.from_settings(settings, env), settings.config


def _configured_project() -> Project:
    from assets_core.errors import ConfigError
    from assets_core.project.config import load_settings
    from assets_core.project.project import load_project

    settings = load_settings()
    if settings.project is None:
        raise ConfigError(
            "project-not-configured",
            "no project is configured here.",
            why="neither pyproject.toml nor assetline.toml from this folder upward names one.",
            do="pass project=..., or write project = 'package.module' under [tool.assetline].",
        )
    return load_project(settings.project, settings.search_paths)
