"""Bringing the state database up to what the store's log says: the database is a cache, the log is the truth."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from assets_core.state.rows import Blocked, Published
from io_managers.keys import encode_segment
from io_managers.versions.blocked import BlockedTries

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
        own_runs: Runs that this process carries out now.

    Returns:
        How many publications were new to the database.
    """
    # Who is dead is found out before the log is read: then all that they published is in what is read.
    own = frozenset(own_runs)
    lost = [run.run_id for run in state.unfinished_runs() if _is_dead(run.run_id, run.host, run.pid, own)]
    known = set() if state.is_new else state.known_runs()
    done = [run_id for run_id in marks.done_ids() if run_id not in known]
    waiting = {run_id: marks.read(run_id) for run_id in marks.open_ids()}
    dead = [mark for mark in waiting.values() if mark and _is_dead(mark.run_id, mark.host, mark.pid, own)]
    if state.is_new:
        found = read_log(state, versions, position_of)
        _read_blocked(state, versions, position_of)
    else:
        found = _read_runs(state, versions, position_of, [*map(marks.read, done), *waiting.values()])
    for run_id in done:
        state.mark_absorbed(run_id)
    ended_at = time.time()
    for run_id in dict.fromkeys([*lost, *(mark.run_id for mark in dead)]):
        state.interrupt_run(run_id, ended_at)
    for mark in dead:
        marks.close(mark)
        state.mark_absorbed(mark.run_id)
    if state.is_new:
        state.is_new = False
    return found


def _read_runs(
    state: StateStore, versions: VersionStore, position_of: PositionOf, runs: Iterable[RunMark | None]
) -> int:
    """Read what some runs may have published; a mark that cannot be read may stand for any asset."""
    assets: set[str] = set()
    for mark in runs:
        if mark is None:
            found = read_log(state, versions, position_of)
            _read_blocked(state, versions, position_of)
            return found
        if mark.branch == versions.branch:
            assets.update(mark.assets)
    found = sum(read_log(state, versions, position_of, asset) for asset in sorted(assets))
    for asset in sorted(assets):
        _read_blocked(state, versions, position_of, asset)
    return found


def _read_blocked(
    state: StateStore, versions: VersionStore, position_of: PositionOf, asset: str | None = None
) -> None:
    """Take up the tries that a gate blocked and that nothing was published after."""
    known = state.known_sequences(versions.branch, asset)
    blocked = [
        Blocked(versions.branch, item.asset, position_of(item.asset, item.partition), int(item.basis, 16))
        for item in BlockedTries(versions.storage, versions.branch).read_all(asset)
        if known.get((encode_segment(item.asset), encode_segment(item.partition)), 0) <= item.base
    ]
    if blocked:
        state.record(blocked)


def read_log(
    state: StateStore, versions: VersionStore, position_of: PositionOf, asset: str | None = None
) -> int:
    """Record every publication of the log (or of one asset) that the database does not have.

    Of one asset also those below a newer one that is known: two runs may have published in turns. Without an asset
    what is known is taken to be known without gaps.

    Returns:
        How many there were.
    """
    known = state.known_sequences(versions.branch, asset)
    rows = state.publications(versions.branch, asset) if asset is not None and known else []
    here = {(encode_segment(row.partition), row.seq) for row in rows}
    batch: list[Published] = []
    found = 0
    for asset_segment, partition_segment, numbers in versions.chains(asset):
        top = known.get((asset_segment, partition_segment), 0)
        for seq in numbers:
            if (partition_segment, seq) in here or (asset is None and seq <= top):
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


def _is_dead(run_id: str, host: str, pid: int, own: Collection[str]) -> bool:
    """Whether a run has lost its coordinator, as far as this machine can tell."""
    if run_id in own or host != socket.gethostname():
        return False
    if pid == os.getpid():  # our id, but not our run: of an earlier process, as in a restarted container
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
