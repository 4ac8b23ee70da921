"""A Dask cluster on this machine: a scheduler and workers of one thread each, in processes of their own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from assets_core.errors import PluginError

_LOOPBACK = "127.0.0.1"
_START_WITHIN_S = 60.0
_END_WITHIN_S = 8.0
_LOOK_EVERY_S = 0.02


class LocalDaskCluster:
    """Scheduler and workers on 127.0.0.1, without a dashboard. They end with this process, whatever ends it.

    A worker that dies is replaced.

    Args:
        workers: Number of worker processes.
        resources: What Dask is to take each worker to have, by name.

    Raises:
        PluginError: `dask-cluster-not-started`.
    """

    def __init__(self, workers: int, resources: dict[str, float] | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="assetline-dask-"))
        self._file = self._folder / "scheduler.json"
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start("scheduler", "--port", "0")
            amounts = [f"{name}={amount:g}" for name, amount in (resources or {}).items()]
            self._start(
                *("worker", "--nworkers", str(workers), "--nthreads", "1"),
                *("--death-timeout", "30", "--local-directory", str(self._folder)),
                *(["--resources", " ".join(amounts)] if amounts else []),
            )
            self.address = self._await_address()
        except (OSError, PluginError) as cause:
            self.close(kill=True)
            if isinstance(cause, PluginError):
                raise
            raise _not_started(str(cause)) from cause

    @property
    def pids(self) -> tuple[int, ...]:
        """The scheduler's process, and the one that watches over the workers."""
        return tuple(process.pid for process in self._processes)

    def close(self, *, kill: bool = False) -> None:
        """End all processes; without `kill` they may clean up."""
        deadline = time.monotonic() + (0.0 if kill else _END_WITHIN_S)
        # one after the other: workers that lose their scheduler while they end take long about it
        for process in reversed(self._processes):
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # the workers, and what their steps have started
            process.wait()
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, role: str, *arguments: str) -> None:
        common = ["--host", _LOOPBACK, "--no-dashboard", "--dashboard-address", f"{_LOOPBACK}:0"]
        self._processes.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "assets_core.executors.dask_process", role),
                    *(*common, "--scheduler-file", str(self._file), *arguments),
                ],
                env={**os.environ, "DASK_LOGGING__DISTRIBUTED": "critical", "PYTHONPATH": _import_path()},
                stdin=subprocess.PIPE,
                stdout=2,  # the coordinator's stdout belongs to its own output
                process_group=0,  # Ctrl-C reaches the coordinator alone
            )
        )

    def _await_address(self) -> str:
        deadline = time.monotonic() + _START_WITHIN_S
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                return str(json.loads(self._file.read_text())["address"])
            for process in self._processes:
                if process.poll() is not None:
                    raise _not_started(f"process {process.pid} ended with code {process.returncode}.")
            time.sleep(_LOOK_EVERY_S)
        raise _not_started(f"the scheduler did not come up within {_START_WITHIN_S:g} s.")


def _import_path() -> str:
    """Where this process finds modules, for its workers to look there too."""
    return os.pathsep.join(dict.fromkeys(path or str(Path.cwd()) for path in sys.path))


def _not_started(why: str) -> PluginError:
    return PluginError(
        "dask-cluster-not-started",
        "a Dask cluster could not be started on this machine.",
        why=why,
        do="look at what it wrote on stderr; or give the address of a running scheduler, or use `--executor processes`.",
    )
