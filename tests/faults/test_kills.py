"""A command killed at any point leaves old or new versions, whole, and the same command then finishes."""

from pathlib import Path

import pytest

from tests.faults import tiny
from tests.faults.campaign import Campaign, kill_everywhere
from tests.faults.forks import ForkServer
from tests.faults.tiny import ASSETS, Job

pytestmark = [pytest.mark.faults, pytest.mark.slow]

NOTHING = dict.fromkeys(ASSETS, 0)
FIRST = dict.fromkeys(ASSETS, 1)


def prepared(forks: list[ForkServer], folder: Path, *generations: int) -> Path:
    forks[0].call(tiny.prepare, folder, generations)
    return folder


def test_a_first_run_killed_anywhere_leaves_nothing_half(forks: list[ForkServer], memory_path: Path) -> None:
    template = prepared(forks, memory_path / "template")
    job = Job(memory_path / "work", 1)
    assert kill_everywhere(Campaign("kill: first run", template, job, NOTHING), forks) == []


def test_a_run_over_older_versions_killed_anywhere_leaves_old_or_new(
    forks: list[ForkServer], memory_path: Path
) -> None:
    template = prepared(forks, memory_path / "template", 1)
    job = Job(memory_path / "work", 2)
    assert kill_everywhere(Campaign("kill: second run", template, job, FIRST), forks) == []


def test_a_blocked_run_killed_anywhere_shows_nothing_unchecked(
    forks: list[ForkServer], memory_path: Path
) -> None:
    template = prepared(forks, memory_path / "template", 1)
    job = Job(memory_path / "work", 2, passes=False)
    assert kill_everywhere(Campaign("kill: blocked run", template, job, FIRST), forks) == []


def test_a_recovery_killed_anywhere_is_taken_up_by_the_next(
    forks: list[ForkServer], memory_path: Path
) -> None:
    """The run before it was killed at some points between publishing and recording."""
    job = Job(memory_path / "work", 2)
    broken = []
    for share in (0.55, 0.75, 0.95):
        template = prepared(forks, memory_path / f"template{share}", 1)
        points = len(
            forks[0]
            .call(tiny.materialize, Job(clone(template, memory_path / f"count{share}"), 2))
            .value.points
        )
        assert forks[0].call(tiny.materialize, Job(template, 2), int(points * share)).is_killed
        campaign = Campaign("kill: recovery", template, job, FIRST, command=tiny.recover, kills=2, floor=10)
        broken += kill_everywhere(campaign, forks)
    assert broken == []


def clone(template: Path, folder: Path) -> Path:
    folder.mkdir()
    return tiny.copy_folder(template, folder)
