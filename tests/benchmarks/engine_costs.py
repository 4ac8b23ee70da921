"""What a step costs over the bare work."""

from __future__ import annotations

import os
from pathlib import Path

from tests.benchmarks.registry import (
    Cost,
    Result,
    benchmark,
    cost_of,
    cost_with_children,
    fresh_folder,
    within,
)


@benchmark
def etl() -> list[Result]:
    """3 assets x 30 partitions x 100,000 rows on local parquet, inline, against a bare loop of the same reads and writes."""
    from tests.benchmarks import etl_project

    bare: list[Cost] = []
    alike: list[Cost] = []
    ours: list[Cost] = []
    dictionaries = etl_project.our_dictionaries()
    for _ in range(3):
        bare.append(cost_of(lambda: etl_project.bare_loop(fresh_folder())))
        alike.append(cost_of(lambda: etl_project.bare_loop(fresh_folder(), dictionaries)))
        ours.append(cost_of(lambda: etl_project.with_assetline(fresh_folder())))
    best, least = min(ours, key=lambda cost: cost.cpu_s), min(bare, key=lambda cost: cost.cpu_s)
    return [
        within(
            "etl",
            best.cpu_s / least.cpu_s,
            "x bare CPU",
            1.10,
            bare_cpu_s=least.cpu_s,
            cpu_s=best.cpu_s,
            bare_wall_s=least.wall_s,
            wall_s=best.wall_s,
        ),
        within(
            "etl_same_encoding",
            best.cpu_s / min(cost.cpu_s for cost in alike),
            "x bare CPU",
            1.10,
            bare_cpu_s=min(cost.cpu_s for cost in alike),
            cpu_s=best.cpu_s,
        ),
    ]


def bare_files(root: Path, n: int) -> None:
    """The two files of a no-op step in two folders that exist, each fsynced; the folders are not: less than durable."""
    for kind in ("data", "log"):
        (root / kind).mkdir()
    for index in range(n):
        for kind, size in (("data", 11), ("log", 800)):
            descriptor = os.open(f"{root}/{kind}/{index:05d}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(descriptor, b"x" * size)
            os.fsync(descriptor)
            os.close(descriptor)


def bare_writes(root: Path, n: int) -> None:
    """The two files of a no-op step, written durably: each in its folder, fsynced, and the folders it is entered in."""
    for index in range(n):
        for kind, attempt, size in (("data", "/attempt", 11), ("log", "", 800)):
            partition = f"{root}/{kind}/asset/{index:05d}"
            os.makedirs(partition + attempt)
            descriptor = os.open(f"{partition}{attempt}/file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(descriptor, b"x" * size)
            os.fsync(descriptor)
            os.close(descriptor)
            above = partition + attempt
            while len(above) > len(f"{root}/{kind}"):
                descriptor = os.open(above, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
                above = os.path.dirname(above)


@benchmark
def noop_durable() -> list[Result]:
    """A durable no-op asset partition, inline, against the bare fsynced writes of the same two files."""
    from tests.benchmarks import noop_project

    n = 300
    files: list[Cost] = []
    bare: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(3):
        bare.append(cost_of(lambda: bare_writes(fresh_folder(), n)))
        files.append(cost_of(lambda: bare_files(fresh_folder(), n)))
        with noop_project.opened("fsync") as session:
            ours.append(cost_of(lambda session=session, n=n: noop_project.run(session, n)))
    cpu = min(cost.cpu_s for cost in ours), min(cost.cpu_s for cost in bare)
    wall = min(cost.wall_s for cost in ours), min(cost.wall_s for cost in bare)
    details = {"ms": cpu[0] / n * 1e3, "bare_ms": cpu[1] / n * 1e3, "steps": n}
    walls = {"ms": wall[0] / n * 1e3, "bare_ms": wall[1] / n * 1e3, "steps": n}
    return [
        within("noop_durable_cpu", cpu[0] / cpu[1], "x bare CPU", 2.0, **details),
        within("noop_durable_wall", wall[0] / wall[1], "x bare wall", 1.5, **walls),
        within(
            "noop_durable_cpu_files_only",
            cpu[0] / min(cost.cpu_s for cost in files),
            "x two fsynced files",
            2.0,
        ),
        within(
            "noop_durable_wall_files_only",
            wall[0] / min(cost.wall_s for cost in files),
            "x two fsynced files",
            1.5,
        ),
    ]


@benchmark
def noop_os() -> list[Result]:
    """A no-op asset partition that survives a killed process, inline: CPU, and flat in the number of partitions."""
    from tests.benchmarks import noop_project

    per_step = {}
    for n in (300, 10_000):
        best = float("inf")
        for _ in range(3 if n == 300 else 1):
            with noop_project.opened("os") as session:
                best = min(
                    best, cost_of(lambda session=session, n=n: noop_project.run(session, n)).cpu_s / n * 1e3
                )
        per_step[n] = best
    return [
        within(
            "noop_os",
            max(per_step.values()),
            "ms CPU a step",
            0.6,
            at_300=per_step[300],
            at_10000=per_step[10_000],
        ),
        within("noop_os_flat", per_step[10_000] / per_step[300], "x of 300 steps", 1.25),
    ]


@benchmark
def noop_processes() -> list[Result]:
    """A no-op step on warm worker processes: CPU over all processes, from the difference between two lengths of run."""
    from tests.benchmarks import noop_project

    costs = {}
    for n in (200, 4_200):
        best = float("inf")
        for _ in range(2):
            with noop_project.opened("os") as session:
                cost = cost_with_children(
                    lambda session=session, n=n: noop_project.run(session, n, "processes", 2)
                )
                best = min(best, cost.cpu_s)
        costs[n] = best
    value = (costs[4_200] - costs[200]) / 4_000 * 1e3
    return [within("noop_processes", value, "ms CPU a step", 2.0, start_up_cpu_s=costs[200])]
