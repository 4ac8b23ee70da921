"""Builders for what the tests of the state store record."""

from __future__ import annotations

import hashlib
from pathlib import Path

from assets_core.state.rows import Published, RunStart, StepChanged
from assets_core.state.store import StateStore
from io_managers.versions.publication import InputUse, Publication, PublicationKind, StoredFile

COLUMNS = ("carrier", "origin", "dep_delay", "arr_delay", "distance", "n")


def hex_of(*parts: object, digits: int = 16) -> str:
    """Hex digits that depend on the parts alone."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:digits]


def open_store(folder: Path, **options: object) -> StateStore:
    return StateStore.open(f"sqlite:///{folder / 'state.db'}", **options)  # type: ignore[arg-type]


def run_start(run_id: str = "run-1", branch: str = "main", started_at: float = 1000.0) -> RunStart:
    return RunStart(
        run_id=run_id,
        project="shop.definitions",
        branch=branch,
        started_at=started_at,
        n_steps=3,
        selection="orders+",
        executor="inline",
        pid=4711,
        host="here",
        code_revision="abc",
    )


def publication(
    asset: str = "orders",
    partition: str | None = None,
    seq: int = 1,
    *,
    kind: PublicationKind = "publish",
    run_id: str = "run-1",
    salt: object = 0,
    inputs: tuple[str, ...] = ("left", "right"),
    columns: tuple[str, ...] = COLUMNS,
    rows: int | None = 4321,
) -> Publication:
    seed = (asset, partition, seq, salt)
    return Publication(
        asset=asset,
        partition=partition,
        seq=seq,
        kind=kind,
        commit_id=hex_of(seed, "commit", digits=32),
        attempt_id=hex_of(seed, "attempt", digits=32),
        run_id=run_id,
        published_at=f"2026-11-22T10:{seq % 60:02d}:00.250000+00:00",
        io_manager="parquet",
        files=(StoredFile("data/part-0.parquet", 1000 + seq, hex_of(seed, "file", digits=32)),),
        rows=rows,
        columns=dict.fromkeys(columns, "string"),
        column_hashes={name: hex_of(seed, name) for name in columns},
        data_version=hex_of(seed, "data", digits=32),
        code_version=hex_of(seed, "code"),
        config_version=hex_of("config"),
        inputs={name: InputUse("up", hex_of(seed, "in", name), (("a", 1),)) for name in inputs},
        self_hash=hex_of(seed, "self", digits=64),
    )


def published(
    position: int, record: Publication, run_id: str = "run-1", branch: str | None = None
) -> Published:
    return Published(run_id, position, record, branch)


def step_changed(
    step: int,
    state: str,
    *,
    asset: str = "orders",
    partition: str | None = None,
    position: int = 0,
    attempt: int = 1,
    run_id: str = "run-1",
    at: float = 1001.0,
    basis: int = 0,
    error: str = "",
) -> StepChanged:
    return StepChanged(
        run_id=run_id,
        step=step,
        asset=asset,
        partition=partition,
        position=position,
        state=state,  # type: ignore[arg-type]
        attempt=attempt,
        reason="missing",
        at=at,
        duration_s=0.5,
        cpu_s=0.25,
        error_code=error,
        error_message=error and f"{error} happened",
        basis=basis,
    )
