"""Small projects for tests of sessions: built from a table of dependencies, or importable by worker processes.

`RECORD` names the file in which the assets of this module note each call, so that also calls in other processes
are seen; `calls` reads it.
"""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets_core import Environment, In, Project, Session, asset
from assets_core.definition.asset import Asset
from assets_core.definition.partitions.base import PartitionsDefinition
from assets_core.project.config import EnvironmentSettings


def memory_environment(**settings: Any) -> Environment:
    """An environment whose data is in this process's memory; nothing of it touches the disk.

    Its state database is in memory, too, as long as sessions are opened by `open_session`.
    """
    name = uuid.uuid4().hex
    missing = Path(tempfile.gettempdir()) / f"assetline-no-such-folder-{name}"
    return Environment(
        EnvironmentSettings(
            name="test",
            root=missing,
            storage_url=f"memory://{name}",
            state_url=f"sqlite:///{missing}/state.db",
            **settings,
        )
    )


@contextmanager
def open_session(
    project: Project, environment: Environment | None = None, **options: Any
) -> Iterator[Session]:
    """A session without the costs of a trusted folder and of a database on disk."""
    with Session.open(project, environment or memory_environment(), read_only=True, **options) as session:
        yield session


@dataclass
class World:
    """What the functions of a project built here see and note.

    Attributes:
        values: What each asset returns; the name of an asset that is not in it is returned with its inputs' values.
        broken: Asset partitions (key, partition) that raise.
        calls: Every call, as (key, partition), in order.
        loaded: What the last call of each asset partition was given, by parameter.
        returned: What it returned.
    """

    values: dict[str, Any] = field(default_factory=dict)
    broken: set[tuple[str, str | None]] = field(default_factory=set)
    calls: list[tuple[str, str | None]] = field(default_factory=list)
    loaded: dict[tuple[str, str | None], dict[str, Any]] = field(default_factory=dict)
    returned: dict[tuple[str, str | None], dict[str, Any]] = field(default_factory=dict)

    def ran(self) -> Counter[str]:
        """How often each asset was called since this was last asked for."""
        counts = Counter(key for key, _ in self.calls)
        self.calls.clear()
        return counts


@dataclass(frozen=True)
class Node:
    """One asset of a project built here.

    Attributes:
        reads: What it reads, by parameter: a key, or an `In`.
        version: Stands for its code.
        options: Further arguments of `@asset`.
    """

    reads: Mapping[str, str | In] = field(default_factory=dict)
    partitions: PartitionsDefinition | None = None
    version: str = "1"
    options: Mapping[str, Any] = field(default_factory=dict)


def build_project(world: World, nodes: Mapping[str, Node], extra: Sequence[Asset] = ()) -> Project:
    """A project of JSON assets; a parameter that reads several partitions gets them as a dict by partition."""
    sliced = {key for key, node in nodes.items() if node.partitions is not None}
    sliced |= {item.key for item in extra if item.partitions is not None}
    built = [build_asset(world, key, node, sliced) for key, node in nodes.items()]
    return Project(assets=[*built, *extra], name="built")


def build_asset(world: World, key: str, node: Node, sliced: Collection[str] = ()) -> Asset:
    """One asset whose function notes its calls in the world; inputs in `sliced` come by partition."""
    above = {name: item.asset if isinstance(item, In) else item for name, item in node.reads.items()}
    kinds = {name: "dict" if key in sliced else "Any" for name, key in above.items()}
    parameters = "".join(f"{name}: dict[str, {kind}], " for name, kind in kinds.items())
    arguments = ", ".join(f"{name!r}: {name}" for name in node.reads)
    source = f"def compute({parameters}context: Context) -> dict:\n    return run(context, {{{arguments}}})\n"

    def run(context: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        place = (context.asset, context.partition)
        world.calls.append(place)
        world.loaded[place] = inputs
        if place in world.broken or (key, None) in world.broken:
            raise RuntimeError(f"{key} is broken")
        value = {"asset": key, "partition": context.partition, "inputs": inputs}
        world.returned[place] = {"value": world.values[key]} if key in world.values else value
        return world.returned[place]

    from assets_core import Context

    names: dict[str, Any] = {"run": run, "Context": Context, "Any": Any}
    exec(compile(source, f"<{key}>", "exec"), names)
    return asset(
        key=key,
        partitions=node.partitions,
        ins=dict(node.reads),
        code_version=node.version,
        **node.options,
    )(names["compute"])
