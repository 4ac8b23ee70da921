"""What a benchmark is and where they are found."""

from __future__ import annotations

import atexit
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """One figure: `ok` says whether `value` is within `limit`; lower is better."""

    name: str
    value: float
    unit: str
    limit: float
    ok: bool
    details: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        mark = "ok  " if self.ok else "OVER"
        details = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return f"{mark} {self.name:<28} {self.value:>9.3f} {self.unit:<18} limit {self.limit:g}   ({details})"

    def json(self) -> str:
        return json.dumps(asdict(self))


Benchmark = Callable[[], list[Result]]
BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(function: Benchmark) -> Benchmark:
    """Register a benchmark under its function's name."""
    BENCHMARKS[function.__name__] = function
    return function


def within(name: str, value: float, unit: str, limit: float, **details: Any) -> Result:
    """A result, rounded for reading."""
    rounded = {key: round(item, 3) if isinstance(item, float) else item for key, item in details.items()}
    return Result(name, round(value, 3), unit, limit, value <= limit, rounded)


@dataclass(frozen=True)
class Cost:
    """CPU (user and system, all threads) and wall seconds."""

    cpu_s: float
    wall_s: float


def cost_of(action: Callable[[], object]) -> Cost:
    """What one call costs this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def cost_with_children(action: Callable[[], object]) -> Cost:
    """What one call costs this process and the children that ended in it."""
    wall, cpu = time.perf_counter(), _cpu_of_all()
    action()
    return Cost(_cpu_of_all() - cpu, time.perf_counter() - wall)


def _cpu_of_all() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def command_cpu_s(command: Sequence[str], *, cwd: Path | None = None, runs: int = 7) -> float:
    """The smallest CPU time of several runs of a command, after one to warm up."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
    best = float("inf")
    for index in range(runs + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
        if index:
            best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


@cache
def _scratch() -> Path:
    root = Path(tempfile.mkdtemp(prefix="assetline-bench-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


def fresh_folder() -> Path:
    """An empty folder, removed when the process ends: removing thousands of files slows down making the next ones."""
    return Path(tempfile.mkdtemp(dir=_scratch()))


def python(*arguments: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *arguments]
