"""What is published of an asset by ordinal: as the store has it, and after the run's own publications."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.time import DailyPartitions
from assets_core.planning.asset_state import AssetState
from io_managers.versions.publication import Publication
from tests.assets_core.state_values import open_store, publication, published, run_start

DAYS = DailyPartitions("2024-01-01", "2024-01-05")
SPACES = [DAYS, DailyPartitions("2024-01-02", "2024-01-07"), StaticPartitions(["x", "a", "m", "b"])]


def arrays(state: AssetState) -> dict[str, object]:
    names = ("seq", "taken", "code", "config", "data", "published_at", "held")
    n = len(state.definition)
    return {
        **{name: getattr(state, name).tolist() for name in names},
        "inputs": {name: state.inputs[name].tolist() for name in state.inputs if state.inputs[name].any()},
        "columns": {
            name: state.columns[name].tolist() for name in state.columns if state.columns[name].any()
        },
        "mixed": state.mixed(None).tolist(),
        "mixed_columns": state.mixed(("n", "origin", "no such")).tolist(),
        "records": [state.hash_of_record(ordinal) for ordinal in range(n)],
    }


def record(space: object, ordinal: int, seq: int, **options: object) -> Publication:
    return publication("orders", space.key(ordinal), seq, **options)  # type: ignore[attr-defined,arg-type]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("known", [0, 2, 4])
def test_publishing_leaves_what_reading_it_back_gives(tmp_path: Path, space, known: int) -> None:  # type: ignore[no-untyped-def]
    filed = SPACES[0] if isinstance(space, DailyPartitions) else space
    positions = filed.positions().tolist()
    with open_store(tmp_path) as store:
        store.start_run(run_start())
        store.record([published(positions[at], record(filed, at, 1)) for at in range(known)])
        state = AssetState.build(space, store.heads("main", ["orders"])["orders"], None)
        state.mixed(None), state.mixed(("n", "origin", "no such"))
        changes = [
            (1, record(space, 1, 2, columns=("n", "new"), inputs=("left",))),
            (0, record(space, 0, 2, columns=())),
        ]
        for ordinal, made in changes:
            state.publish(ordinal, made, 1795342800.0 + made.seq * 60 + 0.25)
        own = space.positions().tolist()
        store.record([published(own[ordinal], made) for ordinal, made in changes])
        again = AssetState.build(space, store.heads("main", ["orders"])["orders"], None)
    mine, theirs = arrays(state), arrays(again)
    mine.pop("published_at"), theirs.pop("published_at")
    assert mine == theirs


def test_publishing_does_not_change_what_was_read(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.start_run(run_start())
        store.record([published(at, record(DAYS, 0, 1)) for at in DAYS.positions().tolist()])
        heads = store.heads("main", ["orders"])["orders"]
    state = AssetState.build(DAYS, heads, None)
    assert np.shares_memory(state.seq, heads.seq)
    state.publish(2, record(DAYS, 2, 7), 1.0)
    assert state.seq.tolist() == [1, 1, 7, 1] and heads.seq.tolist() == [1, 1, 1, 1]
    assert heads.columns["n"][2] == heads.columns["n"][1]


def test_columns_are_decoded_only_when_asked_for(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.start_run(run_start())
        store.record([published(at, record(DAYS, 0, 1)) for at in DAYS.positions().tolist()])
        heads = store.heads("main", ["orders"])["orders"]
    state = AssetState.build(DAYS, heads, None)
    assert "n" in state.columns and "left" in state.inputs and len(state.columns) == 6
    state.mixed(("n",))
    assert set(state.columns._known) == {"n"} and not state.inputs._known
