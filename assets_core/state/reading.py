"""The read models besides heads and outcomes: every query runs along a primary key or an index."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, Table, func, select

from assets_core.state import schema
from assets_core.state.encoding import decode_partition, encode_partition, to_unsigned
from assets_core.state.rows import (
    CheckRow,
    EventRow,
    PublicationRow,
    RunRow,
    StepRow,
)
from io_managers.keys import encode_segment


def read_publications(
    connection: Connection, branch: str, asset: str, partition: str | None, limit: int | None
) -> list[PublicationRow]:
    """The history of one asset partition, by falling number."""
    table = schema.publications
    query = (
        _select_publications(branch, asset)
        .where(table.c.partition == encode_partition(partition))
        .order_by(table.c.seq.desc())
        .limit(limit)
    )
    return _publication_rows(connection, query)


def read_publications_of_asset(
    connection: Connection, branch: str, asset: str, limit: int | None
) -> list[PublicationRow]:
    """The history of an asset, newest first; it sorts the asset's own publications."""
    table = schema.publications
    order = (table.c.published_at.desc(), table.c.partition.desc(), table.c.seq.desc())
    return _publication_rows(connection, _select_publications(branch, asset).order_by(*order).limit(limit))


def _select_publications(branch: str, asset: str) -> Select[Any]:
    table, ids = schema.publications, schema.run_ids
    return (
        select(table, ids.c.name)
        .join(ids, ids.c.id == table.c.run)
        .where(
            table.c.branch == _id_of(schema.branches, branch), table.c.asset == _id_of(schema.assets, asset)
        )
    )


def _publication_rows(connection: Connection, query: Select[Any]) -> list[PublicationRow]:
    return [
        PublicationRow(
            partition=decode_partition(row.partition),
            seq=row.seq,
            kind=schema.KINDS[row.kind],
            run_id=row.name,
            published_at=row.published_at,
            rows=None if row.rows < 0 else row.rows,
            size_bytes=row.size_bytes,
            code_version=f"{to_unsigned(row.code_version):016x}",
            data_version=row.data_version.hex(),
        )
        for row in connection.execute(query)
    ]


def read_runs(
    connection: Connection, *, run_id: str | None = None, unfinished: bool = False, limit: int | None = None
) -> list[RunRow]:
    """Runs, newest first: all of them, one, or those without an end."""
    runs, ids, branches = schema.runs, schema.run_ids, schema.branches
    query = (
        select(runs, ids.c.name, branches.c.name.label("branch_name"))
        .join(ids, ids.c.id == runs.c.run)
        .join(branches, branches.c.id == runs.c.branch)
        .order_by(runs.c.started_at.desc(), runs.c.run.desc())
        .limit(limit)
    )
    if run_id is not None:
        query = query.where(ids.c.name == run_id)
    if unfinished:
        query = query.where(runs.c.ended_at.is_(None))
    return [
        RunRow(
            run_id=row.name,
            project=row.project,
            branch=row.branch_name,
            status=row.status,
            started_at=row.started_at,
            ended_at=row.ended_at,
            n_steps=row.n_steps,
            counts=json.loads(row.counts),
            selection=row.selection,
            executor=row.executor,
            pid=row.pid,
            host=row.host,
            code_revision=row.code_revision,
        )
        for row in connection.execute(query)
    ]


def read_steps(connection: Connection, run_id: str) -> list[StepRow]:
    """The steps of a run, in their order."""
    steps, assets = schema.steps, schema.assets
    query = (
        select(steps, assets.c.name)
        .join(assets, assets.c.id == steps.c.asset)
        .where(steps.c.run == _id_of(schema.run_ids, run_id))
        .order_by(steps.c.step)
    )
    return [
        StepRow(row[1], row[-1], decode_partition(row[3]), *row[4:13]) for row in _raw_rows(connection, query)
    ]


def read_events(connection: Connection, run_id: str, step: int | None) -> list[EventRow]:
    """The tries of a run, or of one of its steps, that ended without success."""
    events = schema.events
    query = (
        select(events)
        .where(events.c.run == _id_of(schema.run_ids, run_id))
        .order_by(events.c.step, events.c.attempt, events.c.at)
    )
    if step is not None:
        query = query.where(events.c.step == step)
    return [EventRow(*row[1:]) for row in _raw_rows(connection, query)]


def read_check_results(connection: Connection, run_id: str) -> list[CheckRow]:
    """The check results of a run, by asset, check and position."""
    is_of_run = schema.check_results.c.run == _id_of(schema.run_ids, run_id)
    return _check_rows(connection, _select_checks().where(is_of_run))


def read_latest_checks(connection: Connection, branch: str, asset: str) -> list[CheckRow]:
    """The newest result of each check on each partition of an asset."""
    results, latest = schema.check_results, schema.latest_checks
    same = [results.c[name] == latest.c[name] for name in ("run", "asset", "check_name", "position")]
    query = (
        _select_checks()
        .where(*same)
        .where(
            latest.c.branch == _id_of(schema.branches, branch), latest.c.asset == _id_of(schema.assets, asset)
        )
    )
    return _check_rows(connection, query)


def read_known_runs(connection: Connection) -> set[str]:
    """Ids of the runs that were absorbed or ended here."""
    ids, runs, absorbed = schema.run_ids, schema.runs, schema.absorbed_runs
    ended = select(ids.c.name).join(runs, runs.c.run == ids.c.id).where(runs.c.ended_at.is_not(None))
    taken = select(ids.c.name).join(absorbed, absorbed.c.run == ids.c.id)
    return {name for query in (ended, taken) for (name,) in connection.execute(query)}


def read_step_counts(connection: Connection, run_id: str) -> dict[str, int]:
    """Steps of a run by the state recorded last."""
    steps = schema.steps
    query = (
        select(steps.c.state, func.count())
        .where(steps.c.run == _id_of(schema.run_ids, run_id))
        .group_by(steps.c.state)
    )
    return {state: count for state, count in connection.execute(query)}  # noqa: C416 - rows are not pairs to mypy


def read_known_sequences(
    connection: Connection, branch: str, asset: str | None
) -> dict[tuple[str, str], int]:
    """The highest number of each chain, by its path segments."""
    table, assets = schema.publications, schema.assets
    query = (
        select(assets.c.name, table.c.partition, func.max(table.c.seq))
        .join(assets, assets.c.id == table.c.asset)
        .where(table.c.branch == _id_of(schema.branches, branch))
        .group_by(assets.c.name, table.c.asset, table.c.partition)
    )
    if asset is not None:
        query = query.where(table.c.asset == _id_of(assets, asset))
    return {
        (encode_segment(name), encode_segment(decode_partition(partition))): seq
        for name, partition, seq in _raw_rows(connection, query)
    }


def _id_of(table: Table, name: str) -> ScalarSelect[Any]:
    return select(table.c.id).where(table.c.name == name).scalar_subquery()


def _select_checks() -> Select[Any]:
    results, ids, assets = schema.check_results, schema.run_ids, schema.assets
    return (
        select(results, ids.c.name.label("run_name"), assets.c.name.label("asset_name"))
        .where(ids.c.id == results.c.run, assets.c.id == results.c.asset)
        .order_by(results.c.asset, results.c.check_name, results.c.position)
    )


def _check_rows(connection: Connection, query: Select[Any]) -> list[CheckRow]:
    return [
        CheckRow(
            run_id=row.run_name,
            asset=row.asset_name,
            partition=decode_partition(row.partition),
            position=row.position,
            check=row.check_name,
            status=row.status,
            severity=row.severity,
            observed=row.observed,
            expected=row.expected,
            at=row.at,
            sample=tuple(json.loads(row.sample)),
        )
        for row in connection.execute(query)
    ]


def _raw_rows(connection: Connection, query: Select[Any]) -> list[tuple[Any, ...]]:
    """The driver's own tuples: for thousands of rows, several times cheaper than SQLAlchemy's."""
    cursor = connection.execute(query).cursor
    return [] if cursor is None else list(cursor.fetchall())
