"""What it costs to find out what is stale among a million asset partitions."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import scale_project
from tests.benchmarks.registry import ROOT, Result, benchmark, fresh_folder, python, within

_RUNS = 3


def _in_child(action: str, folder: Path) -> Any:
    """What an action of `scale_project` finds, in a process of its own: its memory is measured too."""
    done = subprocess.run(
        python("-m", "tests.benchmarks.scale_project", action, str(folder)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{action} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _best(action: str, folder: Path) -> dict[str, Any]:
    """The run with the least CPU."""
    found: list[dict[str, Any]] = [_in_child(action, folder) for _ in range(_RUNS)]
    return min(found, key=lambda item: item["cpu_s"])


def _project(n_assets: int, n_partitions: int | None) -> Path:
    """A folder with a project of which everything is published."""
    folder = fresh_folder()
    scale_project.write_project(folder, n_assets, n_partitions)
    _require(_in_child("fill", folder), n_assets * (n_partitions or 1))
    return folder


def _require(found: object, expected: object) -> None:
    if found != expected:
        raise RuntimeError(f"{expected} were expected, not {found}")


@benchmark
def plan_million() -> list[Result]:
    """A plan over 100 assets x 10,000 partitions, against the bare read of their heads through ADBC; and of a tenth."""
    small, large = _project(100, 1_000), _project(100, 10_000)
    few = _best("plan", small)
    _require(few["fresh"], 100_000)
    bare, fresh = _best("bare", large), _best("plan", large)
    _require((bare["rows"], fresh["fresh"], fresh["steps"]), (1_000_000, 1_000_000, 0))
    changed = _in_child("change", large)
    stale = _best("plan", large)
    _require(stale["fresh"] + stale["steps"], 1_000_000)
    _require(changed < stale["steps"] < 20 * changed, expected=True)
    bare_s = bare["cpu_s"]
    return [
        within(
            "plan_unchanged",
            fresh["cpu_s"] / bare_s,
            "x bare read",
            2.0,
            cpu_s=fresh["cpu_s"],
            bare_cpu_s=bare_s,
        ),
        within(
            "plan_one_percent",
            stale["cpu_s"] / bare_s,
            "x bare read",
            3.0,
            cpu_s=stale["cpu_s"],
            bare_cpu_s=bare_s,
            changed=changed,
            steps=stale["steps"],
        ),
        within(
            "plan_memory",
            max(fresh["rss_mib"], stale["rss_mib"]),
            "MiB",
            700,
            bare_mib=bare["rss_mib"],
        ),
        within("plan_linear", fresh["cpu_s"] / few["cpu_s"], "x of a tenth", 11.0, tenth_cpu_s=few["cpu_s"]),
    ]


@benchmark
def plan_selections() -> list[Result]:
    """50 assets x 10,000 partitions: half of them asked for in one run, and every second one; the plans as pickles."""
    found = _in_child("selections", _project(50, 10_000))
    one, many = found["contiguous"], found["scattered"]
    _require((one["steps"], many["steps"]), (250_000, 250_000))
    return [
        within(
            "plan_scattered",
            many["cpu_s"] / one["cpu_s"],
            "x contiguous",
            1.5,
            ms=many["cpu_s"] * 1e3,
            contiguous_ms=one["cpu_s"] * 1e3,
        ),
        within(
            "plan_size", max(one["pickle_kb"], many["pickle_kb"]), "KB", 100, contiguous_kb=one["pickle_kb"]
        ),
    ]


@benchmark
def plan_unpartitioned() -> list[Result]:
    """1,000 assets without partitions: reading their state and deciding."""
    found = _in_child("staleness", _project(1_000, None))
    _require(found["fresh"], 1_000)
    return [
        within(
            "plan_unpartitioned",
            found["cpu_s"] * 1e3,
            "ms CPU",
            50,
            with_code_versions_ms=found["whole_plan_cpu_s"] * 1e3,
        )
    ]


@benchmark
def state_size() -> list[Result]:
    """The state database after publications with six columns and two inputs, each recorded once."""
    from assets_core.state.store import StateStore
    from tests.assets_core.state_values import publication, published, run_start

    n, folder = 20_000, fresh_folder()
    store: Callable[[], StateStore] = lambda: StateStore.open(f"sqlite:///{folder / 'state.db'}")  # noqa: E731
    with store():
        pass
    path = folder / "state.db"
    empty = path.stat().st_size
    with store() as opened:
        opened.start_run(run_start())
        for start in range(0, n, 1_000):
            opened.record(
                [
                    published(at, publication("orders", f"2024-01-01T{at:05d}+0000", 1, salt=at))
                    for at in range(start, start + 1_000)
                ]
            )
    size = (path.stat().st_size - empty) / n
    return [within("state_size", size, "bytes a publication", 300, publications=n)]
