"""Whatever is recorded, in whatever batches, the heads, histories and outcomes are those of a dictionary."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets_core.state.encoding import decode_partition, encode_partition, hash_number, to_signed, to_unsigned
from assets_core.state.rows import Change, Published, StepChanged
from assets_core.state.store import StateStore
from io_managers.versions.publication import Publication
from tests.assets_core.state_values import open_store, publication, published, run_start, step_changed
from tests.support.profiles import scale

RUNS = {"run-main": "main", "run-pr": "pr"}
ASSETS = ("orders", "raw/users")
#: Partition keys and their positions; two definitions may give the same position to different assets.
PARTITIONS: tuple[tuple[str | None, int], ...] = (("2013-01-01", 0), ("b", -(2**63)), ("c", 2**63 - 1))
SHAPES = ((), ("a",), ("a", "b"), ("b", "a"))


@st.composite
def publications(draw: st.DrawFn) -> Published:
    run_id = draw(st.sampled_from(sorted(RUNS)))
    partition, position = draw(st.sampled_from(PARTITIONS))
    record = publication(
        draw(st.sampled_from(ASSETS)),
        partition,
        draw(st.integers(1, 5)),
        kind=draw(st.sampled_from(["publish", "rollback", "drop"])),
        run_id=run_id,
        salt=draw(st.integers(0, 1)),
        columns=draw(st.sampled_from(SHAPES)),
        inputs=draw(st.sampled_from(SHAPES)),
        rows=draw(st.sampled_from([None, 0, 7])),
    )
    by_branch = draw(st.booleans())
    return published(
        position, record, "elsewhere" if by_branch else run_id, RUNS[run_id] if by_branch else None
    )


@st.composite
def steps(draw: st.DrawFn) -> StepChanged:
    partition, position = draw(st.sampled_from(PARTITIONS))
    return step_changed(
        draw(st.integers(0, 3)),
        draw(st.sampled_from(["running", "succeeded", "unchanged", "failed", "blocked", "lost", "skipped"])),
        asset=draw(st.sampled_from(ASSETS)),
        partition=partition,
        position=position,
        attempt=draw(st.integers(1, 2)),
        run_id=draw(st.sampled_from(sorted(RUNS))),
        basis=draw(st.sampled_from([0, 2**63, 2**64 - 1])),
    )


@dataclass
class Model:
    """What the store should hold, in plain dictionaries."""

    heads: dict[tuple[str, str, int], Publication] = field(default_factory=dict)
    history: dict[tuple[str, str, str | None, int], Publication] = field(default_factory=dict)
    outcomes: dict[tuple[str, str, int], tuple[bool, int]] = field(default_factory=dict)
    steps: dict[tuple[str, int], StepChanged] = field(default_factory=dict)

    def take(self, change: Change) -> None:
        if isinstance(change, Published):
            record = change.publication
            branch = change.branch or RUNS[change.run_id]
            head = (branch, record.asset, change.position)
            self.history.setdefault((branch, record.asset, record.partition, record.seq), record)
            if head not in self.heads or self.heads[head].seq < record.seq:
                self.heads[head] = record
            self.outcomes.pop(head, None)
        elif isinstance(change, StepChanged):
            head = (RUNS[change.run_id], change.asset, change.position)
            if change.state in ("failed", "lost", "blocked"):
                self.outcomes[head] = (change.state == "blocked", change.basis)
            elif change.state in ("succeeded", "unchanged"):
                self.outcomes.pop(head, None)
            known = self.steps.get((change.run_id, change.step))
            if known is None or known.attempt <= change.attempt:
                self.steps[change.run_id, change.step] = change


def assert_equal(store: StateStore, model: Model) -> None:
    for branch in ("main", "pr"):
        heads, outcomes = store.heads(branch, ASSETS), store.outcomes(branch, ASSETS)
        for asset in ASSETS:
            mine = {
                position: head for (b, a, position), head in model.heads.items() if (b, a) == (branch, asset)
            }
            found = heads[asset]
            assert found.positions.tolist() == sorted(mine)
            for row, position in enumerate(found.positions.tolist()):
                record = mine[position]
                assert int(found.seq[row]) == record.seq
                assert int(found.code_version[row]) == int(record.code_version, 16)
                assert int(found.data_version[row]) == int(record.data_version[:16], 16)
                assert found.record_hash(row) == record.self_hash
                assert bool(found.held[row]) is (record.kind == "rollback")
                assert bool(found.dropped[row]) is (record.kind == "drop")
                assert int(found.rows[row]) == (-1 if record.rows is None else record.rows)
                assert {name: int(values[row]) for name, values in found.columns.items() if values[row]} == {
                    name: int(value, 16) for name, value in record.column_hashes.items()
                }
                assert {name: int(values[row]) for name, values in found.inputs.items() if values[row]} == {
                    name: int(use.fingerprint, 16) for name, use in record.inputs.items()
                }
            left = outcomes[asset]
            assert dict(
                zip(
                    left.positions.tolist(),
                    zip(left.blocked.tolist(), left.basis.tolist(), strict=True),
                    strict=True,
                )
            ) == {
                position: value
                for (b, a, position), value in model.outcomes.items()
                if (b, a) == (branch, asset)
            }
            history = {
                (partition, seq): record.data_version
                for (b, a, partition, seq), record in model.history.items()
                if (b, a) == (branch, asset)
            }
            assert {
                (row.partition, row.seq): row.data_version for row in store.publications(branch, asset)
            } == history
    for run_id in RUNS:
        assert {row.step: (row.state, row.attempt, row.asset) for row in store.steps(run_id)} == {
            step: (change.state, change.attempt, change.asset)
            for (run, step), change in model.steps.items()
            if run == run_id
        }


@pytest.mark.slow
@settings(max_examples=scale(10), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(publications() | steps(), max_size=12), max_size=6))
def test_the_store_is_the_model_after_every_batch(batches: list[list[Change]]) -> None:
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
        for number, (run_id, branch) in enumerate(RUNS.items()):
            store.start_run(run_start(run_id, branch, float(number)))
        model = Model()
        for batch in batches:
            store.record(batch)
            for change in batch:
                model.take(change)
        assert_equal(store, model)
        store.close()
        with open_store(Path(folder)) as again:
            assert_equal(again, model)


@pytest.mark.slow
@settings(max_examples=scale(10), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(publications(), max_size=15), st.randoms(use_true_random=False))
def test_recording_the_log_again_changes_nothing(changes: list[Published], random: object) -> None:
    def everything(store: StateStore) -> object:
        heads = store.heads("main", ASSETS)
        return [
            (heads[asset].positions.tolist(), heads[asset].seq.tolist(), heads[asset].record_hashes.hex())
            for asset in ASSETS
        ], [store.publications(branch, asset) for branch in ("main", "pr") for asset in ASSETS]

    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
        for run_id, branch in RUNS.items():
            store.start_run(run_start(run_id, branch))
        store.record(changes)
        before = everything(store)
        random.shuffle(changes)  # type: ignore[attr-defined]
        for change in changes:
            store.record([change])
        assert everything(store) == before


@given(st.none() | st.text(st.characters(exclude_categories=()), max_size=20))
def test_a_partition_key_comes_back_from_its_stored_text(key: str | None) -> None:
    text = encode_partition(key)
    assert decode_partition(text) == key
    assert "\0" not in text
    assert text.encode().decode() == text


@given(
    st.lists(st.none() | st.text(st.characters(exclude_categories=()), max_size=6), unique=True, max_size=30)
)
def test_no_two_partition_keys_have_the_same_stored_text(keys: list[str | None]) -> None:
    assert len({encode_partition(key) for key in keys}) == len(keys)


@given(st.integers(0, 2**64 - 1))
def test_a_hash_survives_the_signed_column(number: int) -> None:
    assert to_unsigned(to_signed(number)) == number == hash_number(f"{number:016x}")
    assert -(2**63) <= to_signed(number) < 2**63
