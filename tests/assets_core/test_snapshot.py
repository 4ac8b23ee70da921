"""The view that a run plans and resolves by: one by one and all at once it says the same, also after a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from assets_core import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    In,
    MonthlyPartitions,
    Project,
    WeeklyPartitions,
    asset,
)
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.planning.asset_state import AssetState
from assets_core.planning.snapshot import Snapshot
from tests.support.projects import Node, World, build_project, open_session
from tests.support.random_graphs import graphs

PROFILE = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))


def arrays(state: AssetState) -> dict[str, Any]:
    found = {
        name: getattr(state, name).tolist() for name in ("seq", "taken", "code", "config", "data", "outcome")
    }
    found |= {f"input {name}": values.tolist() for name, values in state.inputs.items()}
    found |= {f"column {name}": values.tolist() for name, values in state.columns.items()}
    found["hashes"] = [state.hash_of_record(ordinal) for ordinal in range(len(state.seq))]
    return found


@pytest.mark.slow
@PROFILE
@given(graphs())
def test_one_partition_and_all_of_them_have_the_same_fingerprints(nodes: dict[str, Node]) -> None:
    world = World()
    first = sorted(nodes)[0]
    world.broken.add(
        (first, next(iter((nodes[first].partitions or DailyPartitions("2024-01-01", "2024-01-02")).keys())))
    )
    with open_session(build_project(world, nodes)) as session:
        session.materialize(keep_going=True)
        snapshot = session.snapshot(list(session.project.graph.order))
        for key in snapshot.keys():
            bases = snapshot.bases(key)
            for item in snapshot.asset(key).inputs:
                every = snapshot.fingerprints(key, item)
                for ordinal in range(len(snapshot.space(key))):
                    assert snapshot.fingerprint(key, item, ordinal) == int(every[ordinal])
            for ordinal in range(len(snapshot.space(key))):
                resolved = snapshot.resolve(key, ordinal)
                assert snapshot.basis(key, resolved) == int(bases[ordinal])
                assert snapshot.is_current(key, ordinal, resolved) == bool(snapshot.state(key).seq[ordinal])


@pytest.mark.slow
@PROFILE
@given(graphs())
def test_after_a_run_the_view_is_what_would_be_read_anew(nodes: dict[str, Node]) -> None:
    with open_session(build_project(World(), nodes)) as session:
        seen: list[Snapshot] = []
        original = session.snapshot

        def remember(*arguments: Any) -> Snapshot:
            seen.append(original(*arguments))
            return seen[-1]

        session.snapshot = remember  # type: ignore[method-assign]
        for key in nodes:  # both ways to mix are there before anything is published
            for item in session.project.assets[key].inputs:
                session.snapshot([key]).fingerprints(key, item)
        seen.clear()
        session.materialize()
        (used,) = seen
        fresh = original(list(session.project.graph.order))
        for key in nodes:
            assert arrays(used.state(key)) == arrays(fresh.state(key))
            for item in used.asset(key).inputs:
                assert np.array_equal(used.fingerprints(key, item), fresh.fingerprints(key, item))


class Table:
    """An asset of two columns and one that reads only the first."""

    def __init__(self) -> None:
        self.columns: dict[str, list[int]] = {"used": [1, 2], "other": [3, 4]}
        self.read: list[list[str]] = []

    def define(self, version: str = "1") -> Project:
        table = self

        @asset(code_version=version)
        def wide() -> pa.Table:
            return pa.table(table.columns)

        @asset(ins={"wide": In(columns=("used",))}, code_version="1")
        def narrow(wide: pa.Table) -> pa.Table:
            table.read.append(wide.column_names)
            return wide

        return Project(assets=[wide, narrow])


@pytest.mark.parametrize(
    ("columns", "runs"),
    [
        ({"used": [1, 2], "other": [9, 9]}, False),
        ({"used": [1, 2]}, False),
        ({"other": [3, 4], "used": [1, 2], "new": [0, 0]}, False),
        ({"used": [1, 3], "other": [3, 4]}, True),
        ({"used": [2, 1], "other": [4, 3]}, True),
        ({"used": [1, 2, 2], "other": [3, 4, 4]}, True),
    ],
)
def test_an_input_by_columns_changes_with_these_columns_alone(
    columns: dict[str, list[int]], runs: bool
) -> None:
    table = Table()
    with open_session(table.define()) as session:
        session.materialize()
        table.columns = columns
        session.project = table.define("2")
        result = session.materialize()

        assert result.steps["succeeded"] == 1 + runs
        assert result.steps["unchanged"] == 1 - runs
        assert table.read == [["used"]] * (1 + runs)
        assert session.plan().n_steps == 0


@pytest.mark.parametrize(
    "space",
    [
        DailyPartitions("2024-03-30", "2024-04-02", "Europe/Berlin"),
        DailyPartitions("2018-11-01", "2018-11-10", "America/Sao_Paulo"),
        HourlyPartitions("2024-10-26", "2024-10-28", "Europe/Berlin"),
        WeeklyPartitions("2024-01-01", "2024-06-01", "America/New_York", week_start="sunday"),
        MonthlyPartitions("2024-01", "2025-01", "Asia/Kathmandu"),
        CronPartitions(cron="30 */6 * * *", start="2024-03-30", end="2024-04-02", timezone="Europe/Berlin"),
    ],
)
def test_the_position_of_a_key_is_that_of_its_window_also_outside_of_the_bounds(
    space: TimePartitions,
) -> None:
    positions = space.positions().tolist()
    keys = list(space.keys())

    assert [space.position_of(key) for key in keys] == positions
    cut = space.at(space.window(0).end) if space.end is None else space
    assert cut.position_of(keys[-1]) == positions[-1]
    assert space.position_of("no key") is None
