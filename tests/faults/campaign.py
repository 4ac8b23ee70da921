"""Killing a command at every one of its points, and checking what is left each time."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.faults import tiny
from tests.faults.forks import ForkServer
from tests.faults.tiny import Job
from tests.support import figures


@dataclass(frozen=True)
class Campaign:
    """One command, killed everywhere.

    Attributes:
        name: Shown in the table of figures.
        template: The folder as it is before the command; each kill gets a copy of its own.
        job: The command; its folder is where the copies are made.
        before: The generation that readers see of each asset in the template.
        command: What the killed process does, given a job and a point.
    """

    name: str
    template: Path
    job: Job
    before: dict[str, int]
    command: Callable[[Job, int], Any] = tiny.materialize


def kill_everywhere(campaign: Campaign, forks: list[ForkServer], *, stride: int = 1) -> list[str]:
    """Kill at point 1, 2, 3, ... until a command lives to its end.

    Returns:
        Every broken invariant, with the point at which the command had been killed.
    """
    broken: list[str] = []
    points = [0] * len(forks)

    def work(which: int) -> None:
        point = 1 + which * stride
        while True:
            killed, found = kill_once(campaign, forks[which], point)
            if not killed:
                return
            points[which] += 1
            broken.extend(f"killed at point {point}: {violation}" for violation in found)
            point += len(forks) * stride

    with ThreadPoolExecutor(len(forks)) as pool:
        list(pool.map(work, range(len(forks))))
    figures.count(campaign.name, points=sum(points), faults=sum(points), violations=len(broken))
    return sorted(broken)


def kill_once(campaign: Campaign, server: ForkServer, point: int) -> tuple[bool, list[str]]:
    """Kill at one point and verify; False when the command had fewer points."""
    folder = campaign.job.folder / f"{point:05d}"
    folder.mkdir(parents=True)
    job = replace(campaign.job, folder=tiny.copy_folder(campaign.template, folder))
    try:
        ended = server.call(campaign.command, job, point)
        if not ended.is_killed:
            return False, []
        found: list[str] = server.call(tiny.verify, job, campaign.before).value
        return True, found
    finally:
        shutil.rmtree(folder)
