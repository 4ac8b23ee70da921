"""Several processes use one state database at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.assets_core.state_values import open_store, publication, published, run_start
from tests.support.profiles import scale

ROOT = Path(__file__).parents[2]

#: Imports everything, then writes once for each line: a folder to write into.
WRITER = """
import sys
from pathlib import Path
from tests.assets_core.state_values import open_store, publication, published, run_start, step_changed

number, batches, size = map(int, sys.argv[1:])

def write(store):
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

print("ready", flush=True)
for line in sys.stdin:
    with open_store(Path(line.rstrip())) as store:
        write(store)
    print("written", flush=True)
"""


def write_at_once(folders: Sequence[Path], n_processes: int, batches: int, size: int) -> None:
    """Let the same processes write into each folder, all together, one folder after the other."""
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, str(number), str(batches), str(size)],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(n_processes)
        ]
        assert [line_of(writer) for writer in writers] == ["ready"] * n_processes
        for folder in folders:
            for writer in writers:
                assert writer.stdin is not None
                print(folder, file=writer.stdin, flush=True)
            assert [line_of(writer) for writer in writers] == ["written"] * n_processes
            assert_all_written(folder, n_processes, batches * size)
        assert [writer.communicate()[1] for writer in writers] == [""] * n_processes
    assert [writer.returncode for writer in writers] == [0] * n_processes


def line_of(writer: subprocess.Popen[str]) -> str:
    """What a writer says next; what it died of when it says nothing more."""
    assert writer.stdout is not None and writer.stderr is not None
    return writer.stdout.readline().rstrip() or writer.stderr.read()


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
    write_at_once([tmp_path], n_processes=8, batches=scale(100), size=3)


@pytest.mark.slow
def test_many_processes_may_open_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    write_at_once([tmp_path / str(attempt) for attempt in range(scale(10))], n_processes=6, batches=1, size=1)


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
