"""Killing a command at every one of its points, and checking what is left each time."""

import re
import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
        kills: How many processes have been killed when a folder is verified.
        floor: How many points there are at least; fewer would mean that the numbering broke.
    """

    name: str
    template: Path
    job: Job
    before: dict[str, int]
    command: Callable[[Job, int], Any] = tiny.materialize
    kills: int = 1
    floor: int = 100


def kill_everywhere(campaign: Campaign, forks: list[ForkServer], *, stride: int = 1) -> list[str]:
    """Kill at point 1, 2, 3, ... until a command lives to its end.

    Returns:
        Every broken invariant, with the point at which the command had been killed.
    """
    broken: list[str] = []
    points = [0] * len(forks)
    seen = Seen()

    def work(which: int) -> None:
        point = 1 + which * stride
        while True:
            killed, found = kill_once(campaign, forks[which], point, seen)
            if not killed:
                return
            points[which] += 1
            broken.extend(f"killed at point {point}: {violation}" for violation in found)
            point += len(forks) * stride

    with ThreadPoolExecutor(len(forks)) as pool:
        list(pool.map(work, range(len(forks))))
    if sum(points) < campaign.floor:
        broken.append(f"there were only {sum(points)} points")
    figures.count(campaign.name, points=sum(points), faults=sum(points), violations=len(broken))
    return sorted(broken)


class Seen:
    """What folders looked like that were verified: how a command goes on depends on nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shapes: set[str] = set()

    def is_new(self, shape: str) -> bool:
        """Whether this is the first folder of that shape."""
        with self._lock:
            known = shape in self._shapes
            self._shapes.add(shape)
        return not known


def kill_once(campaign: Campaign, server: ForkServer, point: int, seen: Seen) -> tuple[bool, list[str]]:
    """Kill at one point, and verify what is left unless it was seen; False when the command had fewer points."""
    folder = campaign.job.folder / f"{point:05d}"
    job = replace(campaign.job, folder=tiny.copy_folder(campaign.template, folder))
    if job.storage_url:
        job = replace(job, storage_url=f"{job.storage_url}/{point:05d}")
        server.call(
            tiny.copy_objects, replace(campaign.job, storage_url=f"{campaign.job.storage_url}/template"), job
        )
    try:
        ended = server.call(campaign.command, job, point)
        if not ended.is_killed:
            return False, []
        objects = server.call(tiny.objects_of, job).value if job.storage_url else []
        if not seen.is_new(shape_of(folder, objects)):
            return True, []
        found: list[str] = server.call(tiny.verify, job, campaign.before, campaign.kills).value
        return True, found
    finally:
        shutil.rmtree(folder)


_ID = re.compile(r"[0-9a-f]{32}")
_TEMP = re.compile(r"\.tmp-.*")


def shape_of(folder: Path, objects: list[tuple[str, int]]) -> str:
    """All that a folder, and a bucket, hold but for ids, times and hashes: names and sizes, rows of the database."""
    ids: dict[str, str] = {}

    def named(text: str) -> str:
        return _ID.sub(lambda match: ids.setdefault(match[0], f"id{len(ids)}"), _TEMP.sub("unfinished", text))

    files = sorted(
        (name := str(path.relative_to(folder)), "" if "/runs/" in name else path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("state.db")
    )
    files += [(name, "" if name.startswith("runs/") else size) for name, size in objects]
    lines = [f"{named(name)} {size}" for name, size in files]
    if (folder / "state.db").exists():
        (folder / "shape").mkdir()
        for file in folder.glob("state.db*"):
            shutil.copy(file, folder / "shape")
        with closing(sqlite3.connect(folder / "shape" / "state.db")) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            for (table,) in tables.fetchall():
                lines += [f"{table} {named(str(row))}" for row in _rows(database, table)]
        shutil.rmtree(folder / "shape")
    return "\n".join(lines)


def _rows(database: sqlite3.Connection, table: str) -> list[list[object]]:
    cursor = database.execute(f'SELECT * FROM "{table}"')
    hidden = {
        index
        for index, column in enumerate(cursor.description)
        if column[0] in ("pid", "host", "data_version")
    }
    return [
        [
            type(value).__name__ if index in hidden or isinstance(value, float | bytes) else value
            for index, value in enumerate(row)
        ]
        for row in cursor.fetchall()
    ]
