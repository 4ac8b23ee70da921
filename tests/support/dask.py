"""A Dask scheduler and workers in processes of their own, as their own commands start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_START_WITHIN_S = 60.0


@dataclass
class DaskServer:
    """A running cluster.

    Attributes:
        scheduler: Its process.
        watcher: The process of `dask worker`, which watches over the workers and replaces those that die.
    """

    address: str
    scheduler: subprocess.Popen[bytes]
    watcher: subprocess.Popen[bytes]


@contextmanager
def serve_dask(folder: Path, workers: int = 2, *options: str) -> Iterator[DaskServer]:
    """Start a cluster on loopback, and end it, workers and all.

    Args:
        folder: For its files.
        workers: Number of workers.
        options: Further options of `dask worker`; one thread each is the default.
    """
    file = folder / "scheduler.json"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.append(_start("scheduler", "--port", "0", "--scheduler-file", str(file)))
        arguments = [
            "--scheduler-file",
            str(file),
            "--local-directory",
            str(folder),
            "--nworkers",
            str(workers),
        ]
        processes.append(_start("worker", *arguments, *(options or ("--nthreads", "1"))))
        yield DaskServer(_await_address(file, processes), *processes)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(role: str, *arguments: str) -> subprocess.Popen[bytes]:
    loopback = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{role}", *loopback, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DASK_LOGGING__DISTRIBUTED": "critical"},
        stdin=subprocess.DEVNULL,
        process_group=0,
    )


def _await_address(file: Path, processes: list[subprocess.Popen[bytes]]) -> str:
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            return str(json.loads(file.read_text())["address"])
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    raise AssertionError("the scheduler did not come up")
