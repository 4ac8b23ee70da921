"""A full disk stops a run with a clear error, readers keep what they had, and with room the same command finishes."""

import ctypes
import os
import resource
import subprocess
from pathlib import Path

import pytest

from tests.faults import tiny
from tests.faults.forks import ForkServer
from tests.faults.tiny import ASSETS, Job, Outcome
from tests.support import figures
from tests.support.invariants import check_reports, check_store

pytestmark = [pytest.mark.faults, pytest.mark.slow]

_CLONE_NEWNS = 0x0002_0000
_SAID = {"storage-full", "file-too-large", "state-disk"}
OLD, NEW = dict.fromkeys(ASSETS, 1), dict.fromkeys(ASSETS, 2)


def judge(job: Job, outcome: Outcome) -> list[str]:
    """What was said of a run on a full disk, against what it did."""
    storage = tiny.environment(job).storage
    found = [str(violation) for violation in check_reports(storage, outcome.reports)]
    found += [
        str(violation) for violation in check_store(storage, acknowledged=tiny.acknowledged(job.folder))
    ]
    if not outcome.ended_well:
        errors = {code for code in outcome.errors.values() if code} or {outcome.status}
        if not errors <= _SAID:
            found.append(f"I14 the run ended {outcome.status} with {outcome.errors} {outcome.text}")
    return found


def judge_after(job: Job) -> list[str]:
    """With room again: readers see old or new, and the same command finishes."""
    found = []
    seen = tiny.what_is_known(job).seen
    if not all(seen[key] in (1, 2) for key in ASSETS):
        found.append(f"I1 readers see {seen}")
    again = tiny.materialize(job)
    after = tiny.what_is_known(job)
    if not again.ended_well or after.seen != NEW or after.plan or after.unfinished:
        found.append(
            f"I10 then the run ended {again.status} {again.text}, readers see {after.seen}, plan {after.plan}"
        )
    return found + judge(job, again)


def limited(job: Job, size: int) -> Outcome:
    """Materialize while no file may become larger than so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return tiny.materialize(job)


@pytest.mark.parametrize("base", [1, 10, 100, 300, 600, 1000, 2000, 5000, 20_000, 200_000])
def test_a_limit_on_file_sizes_stops_a_run_cleanly(fork: ForkServer, memory_path: Path, base: int) -> None:
    fork.call(tiny.prepare, memory_path, (1,))
    job = Job(memory_path, 2)
    outcome = fork.call(limited, job, base).value
    found = fork.call(judge, job, outcome).value + fork.call(judge_after, job).value
    figures.count("disk: file size limit", points=1, faults=not outcome.ended_well, violations=len(found))
    assert found == []
    assert outcome.ended_well == (base > 100_000)


def enter_small_disk(folder: Path, size: str) -> bool:
    """Mount a small disk in a name space of this process's own; False where that is not allowed."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return False
    folder.mkdir(exist_ok=True)
    commands = (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
    )
    return all(
        subprocess.run(command, check=False, capture_output=True).returncode == 0 for command in commands
    )


def fill(folder: Path, leave_bytes: int) -> None:
    """Leave so many bytes, in whole pages, on the disk."""
    with open(folder / "ballast", "wb") as ballast:
        stat = os.statvfs(folder)
        ballast.write(b"\0" * max(0, stat.f_bavail * stat.f_frsize - leave_bytes))


def run_on_small_disk(folder: Path, leave_bytes: int) -> tuple[bool, bool, list[str]]:
    """Whether there could be a small disk, whether the run on it ended well, and what went wrong."""
    if not enter_small_disk(folder, "4m"):
        return False, False, []
    tiny.prepare(folder, (1,))
    job = Job(folder, 2)
    fill(folder, leave_bytes)
    outcome = tiny.materialize(job)
    found = judge(job, outcome)
    (folder / "ballast").unlink()
    return True, outcome.ended_well, found + judge_after(job)


@pytest.mark.parametrize("pages", [0, 1, 2, 4, 6, 8, 10, 14, 18, 24, 32, 64])
def test_a_full_disk_stops_a_run_cleanly(fork: ForkServer, memory_path: Path, pages: int) -> None:
    mounted, ended_well, found = fork.call(run_on_small_disk, memory_path / "disk", pages * 4096).value
    if not mounted:
        pytest.fail("no small disk could be mounted: run as root, in a name space that may mount")
    figures.count(
        "disk: full", points=int(mounted), faults=int(mounted and not ended_well), violations=len(found)
    )
    assert found == []
