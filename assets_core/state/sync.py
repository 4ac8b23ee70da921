"""Bringing the state database up to what the store's log says: the database is a cache, the log is the truth."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from assets_core.state.rows import Published
from io_managers.keys import encode_segment

if TYPE_CHECKING:
    from assets_core.state.store import StateStore
    from io_managers.versions.runs import RunMark, RunMarks
    from io_managers.versions.store import VersionStore

_BATCH = 2000

#: Turns an asset key and a partition key into the position that the state store files it under.
PositionOf = Callable[[str, str | None], int]


def synchronize(
    state: StateStore,
    versions: VersionStore,
    marks: RunMarks,
    position_of: PositionOf,
    *,
    own_runs: Iterable[str] = (),
) -> int:
    """Read what other coordinators, and earlier ones that died, have published since this database last looked.

    Args:
        state: The database to bring up to date.
        versions: The log of one branch.
        marks: The runs that the store knows.
        position_of: Where a partition is filed.
        own_runs: Runs of this process that record by themselves.

    Returns:
        How many publications were new to the database.
    """
    if state.is_new:
        done, waiting = marks.done_ids(), marks.open_ids()
        found = read_log(state, versions, position_of)
        for run_id in done:
            state.mark_absorbed(run_id)
        _settle_dead(state, marks, waiting, own_runs)
        state.is_new = False
        return found
    known = state.known_runs()
    done = [run_id for run_id in marks.done_ids() if run_id not in known]
    waiting = [run_id for run_id in marks.open_ids() if run_id not in set(own_runs)]
    stale: set[str] = set()
    for run_id in (*done, *waiting):
        mark = marks.read(run_id)
        if mark is not None and mark.branch == versions.branch:
            stale.update(mark.assets)
    found = sum(read_log(state, versions, position_of, asset) for asset in sorted(stale))
    for run_id in done:
        state.mark_absorbed(run_id)
    _settle_dead(state, marks, waiting, own_runs)
    return found


def read_log(
    state: StateStore, versions: VersionStore, position_of: PositionOf, asset: str | None = None
) -> int:
    """Record every publication of the log (or of one asset) that the database does not have.

    Returns:
        How many there were.
    """
    known = state.known_sequences(versions.branch, asset)
    batch: list[Published] = []
    found = 0
    for asset_segment, partition_segment, numbers in versions.chains(asset):
        top = known.get((asset_segment, partition_segment), 0)
        for seq in numbers:
            if seq <= top:
                continue
            publication = versions.read_segment(asset_segment, partition_segment, seq)
            if publication is None or encode_segment(publication.partition) != partition_segment:
                continue
            position = position_of(publication.asset, publication.partition)
            batch.append(Published(publication.run_id, position, publication, versions.branch))
            found += 1
        if len(batch) >= _BATCH:
            state.record(batch)
            batch = []
    if batch:
        state.record(batch)
    return found


def _settle_dead(state: StateStore, marks: RunMarks, waiting: Iterable[str], own_runs: Iterable[str]) -> None:
    """End the runs whose coordinator died on this machine; what they published has been read."""
    mine = set(own_runs)
    for run_id in waiting:
        mark = marks.read(run_id)
        if mark is None or run_id in mine or not _is_dead(mark):
            continue
        state.interrupt_run(run_id, time.time())
        marks.close(mark)
        state.mark_absorbed(run_id)


def _is_dead(mark: RunMark) -> bool:
    if mark.host != socket.gethostname():
        return False
    try:
        os.kill(mark.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
