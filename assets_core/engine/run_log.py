"""The log lines of a run: numbered, create-only segments in the store, never in the database.

ROOT/runs/logs/{run_id}/{n:06d}.jsonl
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from assets_core.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectMissingError, Storage

if TYPE_CHECKING:
    from assets_core.engine.executor import StepError, StepLog
    from assets_core.planning.plan import PlannedStep

_SEGMENT_LINES = 500
_SEGMENT_EVERY_S = 2.0


class RunLog:
    """Collects lines and writes them as segments; nothing is written for a silent run.

    A store that takes no segment keeps no run from ending: the lines wait for the next try, and those that are
    left at the end are lost.
    """

    def __init__(self, storage: Storage, run_id: str) -> None:
        self._storage = storage
        self._folder = f"runs/logs/{run_id}"
        self._lines: list[str] = []
        self._segment = 0
        self._written_at = time.monotonic()

    def add(self, step: PlannedStep, line: StepLog) -> None:
        """One line that a step logged."""
        self._add(step, line.attempt, line.at, line.level, line.message)

    def add_error(self, step: PlannedStep, attempt: int, error: StepError) -> None:
        """The whole text of an error, with the user's traceback."""
        text = f"{error.message}\n{error.traceback}".rstrip()
        self._add(step, attempt, time.time(), "error", text)

    def _add(self, step: PlannedStep, attempt: int, at: float, level: str, message: str) -> None:
        self._lines.append(
            json.dumps(
                {
                    "at": at,
                    "asset": step.asset,
                    "partition": step.partition,
                    "attempt": attempt,
                    "level": level.lower(),
                    "message": message,
                },
                ensure_ascii=True,
            )
        )

    def flush(self) -> None:
        """Write a segment when enough has gathered."""
        if len(self._lines) >= _SEGMENT_LINES or (
            self._lines and time.monotonic() - self._written_at > _SEGMENT_EVERY_S
        ):
            self.close()

    def close(self) -> None:
        """Write what is left."""
        with suppress(StorageError, ObjectMissingError):
            while self._lines:
                self._write()
        self._written_at = time.monotonic()

    def _write(self) -> None:
        path = f"{self._folder}/{self._segment + 1:06d}.jsonl"
        try:
            self._storage.put_new(path, ("\n".join(self._lines) + "\n").encode())
            written = len(self._lines)
        except ObjectExistsError:  # ours, of a try whose answer was lost: what came since is the next segment
            written = self._storage.get(path).count(b"\n")
        self._segment += 1
        del self._lines[:written]


def read_run_log(storage: Storage, run_id: str) -> Iterator[dict[str, object]]:
    """Every line of a run's log in order; nothing when it logged none."""
    folder = f"runs/logs/{run_id}"
    for name in storage.list_names(folder):
        try:
            text = storage.get(f"{folder}/{name}").decode("utf-8", "replace")
        except ObjectMissingError:
            continue
        for line in text.splitlines():
            yield json.loads(line)
