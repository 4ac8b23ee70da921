"""What single parts cost, each over the least that the same work can cost without it."""

from __future__ import annotations

import ast
import importlib
import io
import json
import random
import sqlite3
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.benchmarks.registry import Result, benchmark, cost_of, fresh_folder, within

NEW_YORK = "America/New_York"


def least_cpu_s(action: Callable[[], object], runs: int = 7) -> float:
    """The smallest CPU time of several calls."""
    return min(cost_of(action).cpu_s for _ in range(runs))


def over(
    name: str, ours_s: float, bare_s: float, bare_name: str, limit: float, **details: float | int
) -> Result:
    """One figure: our CPU as a multiple of the bare one."""
    return within(
        name, ours_s / bare_s, f"x {bare_name}", limit, ms=ours_s * 1e3, bare_ms=bare_s * 1e3, **details
    )


@benchmark
def partition_sets() -> list[Result]:
    """Spans of a million partitions, and their translation by a mapping, over those of a month: only runs cost."""
    from assets_core.definition.partitions.mapping import overlap
    from assets_core.definition.partitions.time import DailyPartitions, HourlyPartitions

    def costs(end: str) -> tuple[float, float, int]:
        hours, days = (kind("1950-01-01", end, NEW_YORK) for kind in (HourlyPartitions, DailyPartitions))
        everything, first, spans = hours.all(), days.subset(["1950-01-01"]), overlap().spans(hours, days)
        spanned = least_cpu_s(lambda: [everything.spans() for _ in range(100)]) / 100
        mapped = least_cpu_s(
            lambda: [(spans.upstream(everything), spans.downstream(first)) for _ in range(100)]
        )
        return spanned, mapped / 100, len(hours)

    long, short = costs("2063-01-01"), costs("1950-02-01")
    return [
        over("partition_spans", long[0], short[0], "a month", 5.0, partitions=long[2]),
        over("partition_mapping", long[1], short[1], "a month", 5.0, partitions=long[2]),
    ]


@benchmark
def partition_windows() -> list[Result]:
    """The boundaries and keys of 10,000 hours, over one datetime and one text for each of them."""
    from assets_core.definition.partitions.time import HourlyPartitions

    bounds = ("2013-01-01", "2014-02-21T16:00", NEW_YORK)
    instants = HourlyPartitions(*bounds).boundaries().tolist()
    zone = ZoneInfo(NEW_YORK)
    moments = [datetime.fromtimestamp(instant, zone) for instant in instants]
    return [
        over(
            "partition_boundaries",
            least_cpu_s(lambda: HourlyPartitions(*bounds).boundaries()),
            least_cpu_s(lambda: [datetime.fromtimestamp(instant, zone) for instant in instants]),
            "datetimes",
            0.1,
            partitions=len(instants) - 1,
        ),
        over(
            "partition_keys",
            least_cpu_s(lambda: list(HourlyPartitions(*bounds).keys())),
            least_cpu_s(lambda: [moment.strftime("%Y-%m-%dT%H%z") for moment in moments]),
            "strftime",
            0.5,
            partitions=len(instants) - 1,
        ),
    ]


@benchmark
def configuration() -> list[Result]:
    """Loading a typical configuration with everything checked, over reading its TOML."""
    from assets_core.project.config import load_settings

    text = (
        'project = "shop"\n[env.dev]\nstorage = "file://.assetline/storage"\ndurability = "os"\n'
        'executor = { kind = "processes", workers = 2 }\n'
        '[env.prod]\nstorage = { url = "s3://warehouse/prod", endpoint_url = "${env:S3_ENDPOINT}" }\n'
        '[env.prod.resources.api]\ntoken = "${file:secrets/token}"\n[env.prod.checks]\nsample_rows = 3\n'
        '[config."mart/daily"]\nthreshold = 5\n'
    )
    folder = fresh_folder()
    (folder / "assetline.toml").write_text(text)
    load_settings(folder, {})
    ours = least_cpu_s(lambda: [load_settings(folder, {}) for _ in range(20)]) / 20
    bare = least_cpu_s(lambda: [tomllib.loads(text) for _ in range(20)]) / 20
    return [over("configuration", ours, bare, "tomllib", 5.0)]


@benchmark
def contract() -> list[Result]:
    """Judging a million rows by a contract, over the bare Arrow kernels of the same rules."""
    from typing import Annotated

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pydantic import Field, create_model

    from assets_core.definition.contract import Contract
    from assets_core.quality.contract_checks import check_contract

    rules = Contract.from_model(
        create_model(
            "Row",
            carrier=Annotated[str, Field(pattern="^[A-Z0-9]{2}$")],
            delay=Annotated[float | None, Field(ge=-120, le=2000)],
            n=Annotated[int, Field(ge=0)],
        )
    )
    n = 1_000_000
    table = pa.table({"carrier": ["AA", "UA"] * (n // 2), "delay": np.arange(n) % 99.0, "n": np.arange(n)})

    def judge() -> None:
        if failed := [item for item in check_contract(rules, table) if item.status != "passed"]:
            raise RuntimeError(str(failed))

    def bare() -> None:
        table.validate(full=True)
        pc.all(pc.match_substring_regex(table["carrier"], "^[A-Z0-9]{2}$"))
        pc.all(pc.greater_equal(table["delay"], -120.0))
        pc.all(pc.less_equal(table["delay"], 2000.0))
        pc.all(pc.greater_equal(table["n"], 0))

    return [over("contract", least_cpu_s(judge, 3), least_cpu_s(bare, 3), "Arrow kernels", 1.5, rows=n)]


@benchmark
def definitions() -> list[Result]:
    """Defining 100 assets, over as many signatures; ordering 2,000 of them, over the standard library's sorter."""
    import inspect

    from assets_core.definition.asset import asset
    from assets_core.definition.inputs import Input
    from assets_core.project.graph import AssetGraph

    def function(orders: Unknown) -> Unknown:  # type: ignore[name-defined]  # noqa: F821
        """Text."""
        return orders

    above = {f"a{n:04}": [f"a{up:04}" for up in range(max(0, n - 4), n)] for n in range(2000)}
    assets = [
        asset(key=key)(lambda: 1).resolved([Input("p", name) for name in names[:1]], names[1:], ())
        for key, names in above.items()
    ]
    return [
        over(
            "define_assets",
            least_cpu_s(lambda: [asset(key=f"a{n}", group="g")(function) for n in range(100)]),
            least_cpu_s(lambda: [inspect.signature(function) for _ in range(100)]),
            "signatures",
            5.0,
            assets=100,
        ),
        over(
            "order_assets",
            least_cpu_s(lambda: AssetGraph(assets)),
            least_cpu_s(lambda: list(TopologicalSorter(above).static_order())),
            "graphlib",
            2.0,
            assets=len(assets),
        ),
    ]


@benchmark
def code_versions() -> list[Result]:
    """The code versions of 100 assets that share functions, over parsing the same sources."""
    from assets_core.planning.code_version import code_version

    text = "import math\nimport bench_tools as tools\nN = 3\n"
    for n in range(100):
        body = "\n".join(
            f"    v{k} = [tools.f{(n + k) % 30}(r, N) for r in rows if r > {k}]" for k in range(8)
        )
        text += f"def asset_{n}(rows, limit={n}):\n    '''Docs.'''\n{body}\n    return math.fsum(v1)\n\n"
    tools = "def _low(x):\n    return x + 1\n\n" + "".join(
        f"def f{n}(r, n):\n    x = r + {n}\n    return _low(x) * n\n\n" for n in range(30)
    )

    def once() -> float:
        """The cost in modules that nobody has looked at yet."""
        folder = fresh_folder()
        (folder / "bench_assets.py").write_text(text)
        (folder / "bench_tools.py").write_text(tools)
        sys.path.insert(0, str(folder))
        try:
            importlib.invalidate_caches()
            module = importlib.import_module("bench_assets")
            functions = [getattr(module, f"asset_{n}") for n in range(100)]
            return cost_of(lambda: [code_version(function).hash for function in functions]).cpu_s
        finally:
            sys.path.remove(str(folder))
            for name in ("bench_assets", "bench_tools"):
                del sys.modules[name]

    bare = least_cpu_s(lambda: [ast.parse(source) for source in (text, tools)])
    return [over("code_versions", min(once() for _ in range(3)), bare, "ast.parse", 10.0, assets=100)]


@benchmark
def scheduler() -> list[Result]:
    """Deciding on 200,000 steps, 200 at a time, with graphlib's sorter on the same graph beside it."""
    from assets_core.definition.policies import NO_RETRY
    from assets_core.engine.machine import RunMachine, StartStep, StepEnded, StepGraph

    n = 200_000
    upstream: list[list[int]] = [[] if step < 1000 else [step - 1000, step - 999] for step in range(n)]

    def decide() -> None:
        machine = RunMachine(
            StepGraph.from_upstream(upstream), capacity=200, policies=(NO_RETRY,), rng=random.Random(0)
        )
        running = [command.step for command in machine.start(0.0) if isinstance(command, StartStep)]
        while running:
            commands = machine.on(StepEnded(running.pop(), 1, "succeeded"), 0.0)
            running += [command.step for command in commands if isinstance(command, StartStep)]
        if machine.counts() != {"succeeded": n}:
            raise RuntimeError(str(machine.counts()))

    def bare() -> None:
        sorter = TopologicalSorter(dict(enumerate(upstream)))
        sorter.prepare()
        ready = list(sorter.get_ready())
        while ready:
            sorter.done(ready.pop())
            ready += sorter.get_ready()

    ours_s, bare_s = least_cpu_s(decide, 3), least_cpu_s(bare, 3)
    per_thousand = 1e3 / (n / 1000)
    return [
        within("scheduler", ours_s * per_thousand, "ms per 1,000 steps", 20.0, steps=n),
        over("scheduler_ratio", ours_s, bare_s, "graphlib", 3.0, steps=n),
    ]


@benchmark
def state_store() -> list[Result]:
    """Recording 10,000 steps and publications and reading the heads, over SQLite alone with the same rows."""
    from tests.assets_core.state_values import open_store, publication, published, run_start, step_changed

    run_id, keys, each, batch = "0123456789abcdef" * 2, [f"mart/a{n:03d}" for n in range(100)], 100, 200
    pairs = []
    for number, key in enumerate(keys):
        for at in range(each):
            partition, position = f"2013-{at // 28 + 1:02d}-{at % 28 + 1:02d}", 1357000000 + at * 86400
            record = publication(key, partition, run_id=run_id)
            step = step_changed(
                number * each + at, "succeeded", asset=key, partition=partition, position=position, run_id=run_id
            )  # fmt: skip
            pairs.append((step, published(position, record, run_id)))
    folder = fresh_folder()
    batches = [
        [change for pair in pairs[start : start + batch] for change in pair]
        for start in range(0, len(pairs), batch)
    ]
    with open_store(folder) as store:
        store.start_run(run_start(run_id))
        record_s = cost_of(lambda: [store.record(changes) for changes in batches]).cpu_s
        read_s = least_cpu_s(lambda: store.heads("main", keys))
    tables = ("heads", "publications", "steps", "events")
    with closing(sqlite3.connect(folder / "state.db")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = {
            name: database.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables if name in names
        }
        fetch_s = least_cpu_s(lambda: database.execute("SELECT * FROM heads").fetchall())
        schema = [
            row[0]
            for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC")
        ]  # fmt: skip
    insert_s = _bare_inserts(fresh_folder() / "bare.db", schema, kept, len(batches))
    n = len(pairs)
    return [
        over("state_record", record_s, insert_s, "bare inserts", 5.0, us_a_step=record_s / n * 1e6, steps=n),
        over("state_heads", read_s, fetch_s, "bare fetch", 4.0, heads=n),
    ]


def _bare_inserts(
    file: Path, schema: Sequence[str], tables: dict[str, list[tuple[object, ...]]], n_batches: int
) -> float:
    """The CPU seconds of inserting the same rows into the same tables, in as many transactions."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        for statement in schema:
            if "sqlite_" not in statement:
                database.execute(statement)

        def insert() -> None:
            for batch in range(n_batches):
                database.execute("BEGIN IMMEDIATE")
                for name, rows in tables.items():
                    some = rows[batch * len(rows) // n_batches : (batch + 1) * len(rows) // n_batches]
                    if some:
                        marks = ", ".join("?" * len(some[0]))
                        database.executemany(f'INSERT INTO "{name}" VALUES ({marks})', some)
                database.execute("COMMIT")

        return cost_of(insert).cpu_s


@benchmark
def tables() -> list[Result]:
    """Hashing 100,000 rows, over writing them as Parquet; storing a frame, over pandas' own writing."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from io_managers.formats.content_hash import table_hashes
    from io_managers.formats.parquet import ParquetManager
    from tests.support.format_files import FolderFiles

    rng, n, folder = np.random.default_rng(0), 100_000, fresh_folder()
    fresh = [  # nothing of a table is in the processor's caches when it is hashed
        pa.table(
            {f"f{i}": rng.normal(size=n) for i in range(5)}
            | {f"s{i}": [f"user-{k}" for k in rng.integers(0, 5000, n)] for i in range(3)}
            | {f"i{i}": rng.integers(0, 1000, n) for i in range(2)}
        )
        for _ in range(5)
    ]
    frame = pd.DataFrame(
        {f"f{i}": rng.normal(size=n) for i in range(4)}
        | {f"i{i}": rng.integers(0, 1000, n) for i in range(3)}
        | {f"s{i}": rng.choice(["AA", "UA", "DL"], n) for i in range(3)}
    )
    manager, files = ParquetManager(), FolderFiles(folder)
    return [
        over(
            "content_hash",
            min(cost_of(lambda table=table: table_hashes(table)).cpu_s for table in fresh),
            min(cost_of(lambda table=table: pq.write_table(table, io.BytesIO())).cpu_s for table in fresh),
            "Parquet write",
            0.10,
            rows=n,
        ),
        over(
            "parquet_write",
            least_cpu_s(lambda: manager.write(frame, files), 9),
            least_cpu_s(lambda: frame.to_parquet(folder / "bare.parquet"), 9),
            "pandas",
            1.10,
            rows=n,
        ),
    ]


@benchmark
def storage_probe() -> list[Result]:
    """The first look at a local store, and each later one over reading a file of its size."""
    from io_managers.storage.local import LocalStorage
    from io_managers.storage.probe import MARK_PATH, require_trusted

    roots = [fresh_folder() for _ in range(5)]
    first = min(cost_of(lambda root=root: require_trusted(LocalStorage(root))).cpu_s for root in roots)
    storage, mark = LocalStorage(roots[0]), roots[0] / MARK_PATH
    again = least_cpu_s(lambda: [require_trusted(storage) for _ in range(100)]) / 100
    bare = least_cpu_s(lambda: [json.loads(mark.read_bytes()) for _ in range(100)]) / 100
    return [
        within("storage_probe", first * 1e3, "ms CPU", 50.0),
        over("storage_probe_again", again, bare, "reading the mark", 2.0),
    ]


@benchmark
def executor_poll() -> list[Result]:
    """Waiting for steps that are not there: it takes the time asked for, and no CPU."""
    from assets_core.engine.executor import Executor, WorkerJob
    from assets_core.executors.inline import InlineExecutor
    from assets_core.executors.processes import ProcessesExecutor
    from assets_core.executors.threads import ThreadsExecutor
    from tests.assets_core.executor_steps import Steps

    job = WorkerJob("run-1", "tests.assets_core.executor_steps", (), {})
    results = []
    executors: dict[str, Executor] = {
        "inline": InlineExecutor(Steps()),
        "threads": ThreadsExecutor(Steps(), 2),
        "processes": ProcessesExecutor(job, 2, opener="tests.assets_core.executor_steps:open_steps"),
    }
    asked_s = 0.1
    for kind, executor in executors.items():
        executor.poll(asked_s)
        cost = min(
            (cost_of(lambda one=executor: one.poll(asked_s)) for _ in range(5)), key=lambda one: one.wall_s
        )
        executor.close(kill=True)
        name = f"poll_{kind}"
        results.append(
            within(name, cost.wall_s / asked_s, "x asked", 1.2, cpu_ms=cost.cpu_s * 1e3)
        )  # fmt: skip
    return results
