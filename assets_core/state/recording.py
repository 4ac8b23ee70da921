"""Turning a batch of changes into rows, and writing them in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, assert_never

from sqlalchemy import Connection, Table, select, update

from assets_core.errors import StateError
from assets_core.state import schema
from assets_core.state.encoding import (
    clean_text,
    digest_bytes,
    encode_partition,
    epoch_seconds,
    pack_hashes,
    signed_hash,
    to_signed,
)
from assets_core.state.rows import Blocked, Change, Checked, Published, StepChanged

if TYPE_CHECKING:
    from io_managers.versions.publication import Publication

Row = tuple[object, ...]
_HeadKey = tuple[int, int, int]

_KIND_CODES = {kind: code for code, kind in enumerate(schema.KINDS)}
#: States of a try that ended without success; the others leave no event.
_EVENT_STATES = frozenset({"retrying", "failed", "blocked", "cancelled", "lost", "superseded"})
#: States that set or clear the outcome of an asset partition.
_SETTLING_STATES = frozenset({"succeeded", "unchanged", "failed", "lost", "blocked"})
_EMPTY_LIST = "[]"
_DIGEST_BYTES, _RECORD_HASH_BYTES = 16, 32


class NameCache:
    """The numbers given to names, as far as they were met; filled only by committed transactions."""

    def __init__(self) -> None:
        self.ids: dict[str, dict[str, int]] = {
            table.name: {} for table in (schema.branches, schema.assets, schema.run_ids, schema.name_lists)
        }
        self.list_ids: dict[tuple[str, ...], int] = {}
        self.run_branches: dict[str, int] = {}


class NameWriter:
    """Gives names numbers within one transaction; `commit` hands the new ones to the cache."""

    def __init__(
        self, connection: Connection, statements: Mapping[str, schema.Statement], cache: NameCache
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._cache = cache
        self._fresh: dict[tuple[str, str], int] = {}
        self._fresh_lists: dict[tuple[str, ...], int] = {}
        self._fresh_branches: dict[str, int] = {}

    def id_of(self, table: Table, name: str) -> int:
        """The number of a name, given now if it has none."""
        known = self._cache.ids[table.name].get(name)
        if known is None:
            known = self._fresh.get((table.name, name))
        return self._give(table, name) if known is None else known

    def list_id(self, names: tuple[str, ...]) -> int:
        """The number of a list of names."""
        known = self._cache.list_ids.get(names)
        if known is None:
            known = self._fresh_lists.get(names)
        if known is None:
            known = self._fresh_lists[names] = self.id_of(schema.name_lists, json.dumps(names))
        return known

    def branch_of(self, run_id: str, branch: str | None) -> int:
        """The number of the branch given, or else of the run's.

        Raises:
            StateError: Neither is known.
        """
        if branch is not None:
            return self.id_of(schema.branches, branch)
        known = self._cache.run_branches.get(run_id)
        if known is None:
            known = self._fresh_branches.get(run_id)
        return self._find_branch(run_id) if known is None else known

    def commit(self) -> None:
        """Keep the numbers given: the transaction is committed."""
        for (table, name), number in self._fresh.items():
            self._cache.ids[table][name] = number
        self._cache.list_ids.update(self._fresh_lists)
        self._cache.run_branches.update(self._fresh_branches)

    def _give(self, table: Table, name: str) -> int:
        find = select(table.c.id).where(table.c.name == name)
        found = self._connection.execute(find).scalar()
        if found is None:
            statement = self._statements[table.name]
            self._connection.exec_driver_sql(statement.sql, statement.parameters([(name,)]))
            found = self._connection.execute(find).scalar_one()
        number = self._fresh[table.name, name] = int(found)
        return number

    def _find_branch(self, run_id: str) -> int:
        runs, ids = schema.runs, schema.run_ids
        find = select(runs.c.branch).join(ids, ids.c.id == runs.c.run).where(ids.c.name == run_id)
        found = self._connection.execute(find).scalar()
        if found is None:
            raise StateError(
                "state-run-unknown",
                f"the state database does not know the run {run_id}, of which something was to be recorded.",
                why="it was started in another database, or this one was changed or replaced meanwhile.",
                do="run the command again; what was published is found again.",
            )
        number = self._fresh_branches[run_id] = int(found)
        return number


class BatchRows:
    """The rows of one batch by table, each key once: what comes later in the batch counts."""

    def __init__(self, names: NameWriter) -> None:
        self._names = names
        self._steps: dict[tuple[int, int], Row] = {}
        self._events: list[Row] = []
        self._publications: list[Row] = []
        self._heads: dict[_HeadKey, tuple[int, Row]] = {}
        self._outcomes: dict[_HeadKey, Row | None] = {}
        self._check_results: list[Row] = []
        self._latest_checks: list[Row] = []

    def add(self, change: Change) -> None:
        """Take one change up."""
        match change:
            case StepChanged():
                self._add_step(change)
            case Published():
                self._add_publication(change, change.publication)
            case Checked():
                self._add_check(change)
            case Blocked():
                self._add_blocked(change)
            case _:
                assert_never(change)

    def write(self, connection: Connection, statements: schema.WriteStatements) -> None:
        """Execute one statement a table."""
        cleared = [key for key, row in self._outcomes.items() if row is None]
        left = [row for row in self._outcomes.values() if row is not None]
        for statement, rows in (
            (statements.steps, self._steps.values()),
            (statements.events, self._events),
            (statements.publications, self._publications),
            (statements.heads, [row for _, row in self._heads.values()]),
            (statements.clear_outcomes, cleared),
            (statements.outcomes, left),
            (statements.check_results, self._check_results),
            (statements.latest_checks, self._latest_checks),
        ):
            if rows:
                connection.exec_driver_sql(statement.sql, statement.parameters(rows))

    def _add_step(self, change: StepChanged) -> None:
        names, state = self._names, change.state
        run = names.id_of(schema.run_ids, change.run_id)
        asset = names.id_of(schema.assets, change.asset)
        key = (run, change.step)
        known = self._steps.get(key)
        if known is None or known[6] <= change.attempt:  # type: ignore[operator]  # the attempt, an int
            self._steps[key] = (
                run,
                change.step,
                asset,
                encode_partition(change.partition),
                change.position,
                state,
                change.attempt,
                change.reason,
                change.at,
                change.duration_s,
                change.cpu_s,
                change.error_code,
                clean_text(change.error_message),
            )
        if state in _EVENT_STATES:
            self._events.append(
                (
                    *(run, change.step, change.attempt, state),
                    *(change.at, change.duration_s, change.error_code, clean_text(change.error_message)),
                )
            )
        if state in _SETTLING_STATES:
            head: _HeadKey = (names.branch_of(change.run_id, None), asset, change.position)
            is_bad = state not in ("succeeded", "unchanged")
            self._outcomes[head] = (
                (*head, int(state == "blocked"), to_signed(change.basis)) if is_bad else None
            )

    def _add_blocked(self, change: Blocked) -> None:
        names = self._names
        branch = names.id_of(schema.branches, change.branch)
        head: _HeadKey = (branch, names.id_of(schema.assets, change.asset), change.position)
        self._outcomes[head] = (*head, 1, to_signed(change.basis))

    def _add_publication(self, change: Published, publication: Publication) -> None:
        names, seq = self._names, publication.seq
        head: _HeadKey = (
            names.branch_of(change.run_id, change.branch),
            names.id_of(schema.assets, publication.asset),
            change.position,
        )
        branch, asset, position = head
        kind = _KIND_CODES[publication.kind]
        published_at = epoch_seconds(publication.published_at)
        rows = -1 if publication.rows is None else publication.rows
        code_version = signed_hash(publication.code_version)
        data_version = digest_bytes(publication.data_version, _DIGEST_BYTES)
        self._outcomes[head] = None
        self._publications.append(
            (
                branch,
                asset,
                encode_partition(publication.partition),
                seq,
                kind,
                names.id_of(schema.run_ids, publication.run_id),
                published_at,
                rows,
                publication.size_bytes,
                code_version,
                data_version,
            )
        )
        known = self._heads.get(head)
        if known is not None and known[0] >= seq:
            return
        inputs, columns = publication.inputs, publication.column_hashes
        self_hash = publication.self_hash
        row = (
            branch,
            asset,
            position,
            seq,
            kind,
            code_version,
            signed_hash(publication.config_version),
            int.from_bytes(data_version[:8], "big", signed=True),
            published_at,
            rows,
            names.list_id(tuple(inputs)),
            pack_hashes([use.fingerprint for use in inputs.values()], len(inputs)),
            names.list_id(tuple(columns)),
            pack_hashes(columns.values(), len(columns)),
            digest_bytes(self_hash, _RECORD_HASH_BYTES),
        )
        self._heads[head] = (seq, row)

    def _add_check(self, change: Checked) -> None:
        names = self._names
        run = names.id_of(schema.run_ids, change.run_id)
        asset = names.id_of(schema.assets, change.asset)
        branch = names.branch_of(change.run_id, change.branch)
        check = clean_text(change.check)
        sample = json.dumps(change.sample, default=str) if change.sample else _EMPTY_LIST
        self._check_results.append(
            (
                *(run, asset, check, change.position, encode_partition(change.partition)),
                *(change.status, change.severity),
                *(clean_text(change.observed), clean_text(change.expected), change.at, sample),
            )
        )
        self._latest_checks.append((branch, asset, check, change.position, run, change.at))


def record_batch(
    connection: Connection, statements: schema.WriteStatements, cache: NameCache, batch: Sequence[Change]
) -> NameWriter:
    """Write a batch within a transaction; the caller commits the names returned after the transaction."""
    names = NameWriter(connection, statements.names, cache)
    rows = BatchRows(names)
    for change in batch:
        rows.add(change)
    rows.write(connection, statements)
    return names


def end_run(
    connection: Connection, run_id: str, status: str, ended_at: float, counts: Mapping[str, int]
) -> None:
    """Write how a run ended."""
    runs, ids = schema.runs, schema.run_ids
    run = select(ids.c.id).where(ids.c.name == run_id).scalar_subquery()
    values = {"status": status, "ended_at": ended_at, "counts": json.dumps(counts)}
    connection.execute(update(runs).where(runs.c.run == run).values(values))
