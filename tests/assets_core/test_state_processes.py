"""Several processes use one state database at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.assets_core.state_values import open_store, publication, published, run_start
from tests.support.profiles import scale

ROOT = Path(__file__).parents[2]

#: Writes once into a folder of its own, so that everything is imported and closed again; then, for each folder, forks
#: into writers that all wait for the same pipe to close.
WRITERS = """
import os, sys, tempfile, traceback
from pathlib import Path
from tests.assets_core.state_values import open_store, publication, published, run_start, step_changed

n_processes, batches, size = map(int, sys.argv[1:4])

def write(folder, number):
    with open_store(folder) as store:
        run_id = f"run-{number}"
        store.start_run(run_start(run_id))
        for batch in range(batches):
            changes = []
            for at in range(size):
                position = batch * size + at
                changes.append(published(position, publication(f"asset_{number}", str(position)), run_id))
                changes.append(published(position, publication("shared", str(position), seq=number + 1), run_id))
                changes.append(step_changed(position, "succeeded", run_id=run_id, position=position))
            store.record(changes)
        store.finish_run(run_id, "succeeded", 2000.0, {"succeeded": batches * size})

def write_forked(folder, number, gate):
    os.close(gate[1])
    try:
        os.read(gate[0], 1)
        write(folder, number)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)

with tempfile.TemporaryDirectory() as folder:
    write(Path(folder), 0)
for folder in sys.argv[4:]:
    gate = os.pipe()
    children = []
    for number in range(n_processes):
        child = os.fork()
        if child == 0:
            write_forked(Path(folder), number, gate)
        children.append(child)
    os.close(gate[1])
    for child in children:
        os.waitpid(child, 0)
    os.close(gate[0])
"""


def write_at_once(folders: Sequence[Path], n_processes: int, batches: int, size: int) -> None:
    """Let that many processes write into each folder at once, one folder after the other."""
    numbers = map(str, (n_processes, batches, size))
    command = [sys.executable, "-c", WRITERS, *numbers, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for folder in folders:
        assert_all_written(folder, n_processes, batches * size)


def assert_all_written(folder: Path, n_processes: int, n: int) -> None:
    with open_store(folder) as store:
        keys = [f"asset_{number}" for number in range(n_processes)]
        heads = store.heads("main", [*keys, "shared"])
        assert [heads[key].positions.tolist() for key in keys] == [list(range(n))] * n_processes
        assert heads["shared"].seq.tolist() == [n_processes] * n  # the highest number won, whoever came last
        assert len(store.publications("main", "shared")) == n_processes * n
        assert {run.run_id: run.status for run in store.runs(None)} == {
            f"run-{number}": "succeeded" for number in range(n_processes)
        }


@pytest.mark.slow
def test_eight_processes_that_create_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    write_at_once([tmp_path], n_processes=8, batches=scale(20), size=3)


@pytest.mark.slow
def test_many_processes_may_open_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    write_at_once([tmp_path / str(attempt) for attempt in range(scale(5))], n_processes=6, batches=1, size=1)


@pytest.mark.slow
def test_a_publication_takes_no_more_than_300_bytes(tmp_path: Path) -> None:
    import sqlite3

    run_id = "0123456789abcdef0123456789abcdef"
    with open_store(tmp_path) as store:
        store.start_run(run_start(run_id))
        for key in (f"mart/asset_{number:03d}" for number in range(10)):
            store.record(
                [
                    published(
                        1357000000 + at * 86400,
                        publication(key, f"2013-{at // 28 + 1:02d}-{at % 28 + 1:02d}", run_id=run_id),
                        run_id,
                    )
                    for at in range(300)
                ]
            )
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        sizes = dict(connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name"))
    assert (sizes["heads"] + sizes["publications"]) / 3_000 <= 300
