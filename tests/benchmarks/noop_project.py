"""One asset of many partitions that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from assets_core import Environment, Project, StaticPartitions, asset
from assets_core.session import Session
from tests.benchmarks.registry import fresh_folder

_PARTITIONS = 10_000


@asset(partitions=StaticPartitions([f"{index:05d}" for index in range(_PARTITIONS)]))
def nothing() -> str:
    return "hello world"


project = Project(assets=[nothing])


@contextmanager
def opened(durability: Literal["fsync", "os"]) -> Iterator[Session]:
    """A session on an empty folder."""
    with Session.open(project, Environment.in_folder(fresh_folder(), durability=durability)) as session:
        yield session


def run(session: Session, n: int, executor: str = "inline", workers: int | None = None) -> None:
    """Materialize the first `n` partitions, and make sure that every one was."""
    result = session.materialize(partitions=f"00000..{n - 1:05d}", executor=executor, workers=workers)
    if result.status != "succeeded" or result.steps["succeeded"] != n:
        raise RuntimeError(str(result))
