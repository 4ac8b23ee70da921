"""The state store: what is known of runs, and a cache of what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from assets_core.state.database import Database
    from assets_core.state.rows import (
        Change,
        CheckRow,
        EventRow,
        Heads,
        Outcomes,
        PublicationRow,
        RunRow,
        RunStart,
        StepRow,
    )


class _AllPartitions(Enum):
    ALL = "all"


#: Default of `publications(partition=...)`, where None is the partition of an asset without partitions.
ALL_PARTITIONS: Final = _AllPartitions.ALL


class StateStore:
    """The state database, opened; every method may raise `StateError`. Safe to use from several threads.

    Nothing in it is the truth about data: that is the log in the storage, from which heads and publications
    are read again whenever the database is new.
    """

    def __init__(self, database: Database) -> None:
        """Prefer `StateStore.open`."""
        from assets_core.state.recording import NameCache

        self._database = database
        self._names = NameCache()
        with database.reading() as connection:
            meta = database.meta(connection)
            self.store_id = meta["store_id"]
            self._is_new = meta["is_new"] == "yes"

    @classmethod
    def open(cls, url: str, *, create: bool = True, storage: str = "", timeout_s: float = 30.0) -> StateStore:
        """Open the database, creating its folder, file and tables where they are missing.

        Args:
            url: `sqlite:///PATH`.
            create: False leaves a file that does not exist alone: the store is then kept in memory.
            storage: URL of the storage whose publications it caches; when it was last used with another one,
                the cached publications are forgotten. "" leaves that unchecked.
            timeout_s: How long each operation waits for another process's lock.

        Raises:
            StateError: `state-locked`, `state-damaged`, `state-unwritable`, `state-disk`, `state-newer`,
                `state-foreign`, `state-url-unsupported`; later on also `state-replaced`.
        """
        from assets_core.state.database import Database

        database = Database(url, timeout_s, create=create)
        try:
            store = cls(database)
            if storage:
                store._use_storage(storage)
        except BaseException:
            database.close()
            raise
        return store

    @property
    def is_new(self) -> bool:
        """Whether the publications are yet to be read from the storage's log.

        True from the creation of the database, also across processes, until it is set to False.
        """
        return self._is_new

    @is_new.setter
    def is_new(self, value: bool) -> None:
        with self._database.writing() as connection:
            self._database.set_meta(connection, "is_new", "yes" if value else "no")
        self._is_new = value

    def forget_publications(self) -> None:
        """Empty the cache of publications, so that it is read again from the log; runs and checks stay."""
        with self._database.writing() as connection:
            self._forget(connection)
        self._is_new = True

    def start_run(self, run: RunStart) -> None:
        """Record that a run begins."""
        from sqlalchemy import insert

        from assets_core.state import schema
        from assets_core.state.encoding import clean_text
        from assets_core.state.recording import NameWriter

        with self._database.writing() as connection:
            names = NameWriter(connection, self._database.statements.names, self._names)
            values: dict[str, object] = {
                "run": names.id_of(schema.run_ids, run.run_id),
                "branch": names.id_of(schema.branches, run.branch),
                "status": "running",
                "ended_at": None,
                "counts": "{}",
            }
            for name in (
                "project",
                "started_at",
                "n_steps",
                "selection",
                "executor",
                "pid",
                "host",
                "code_revision",
            ):
                value = getattr(run, name)
                values[name] = clean_text(value) if isinstance(value, str) else value
            connection.execute(insert(schema.runs).values(values))
        names.commit()

    def finish_run(self, run_id: str, status: str, ended_at: float, counts: Mapping[str, int]) -> None:
        """Record how a run ended; `ended_at` in epoch seconds, `counts` steps by final state."""
        from assets_core.state.recording import end_run

        with self._database.writing() as connection:
            end_run(connection, run_id, status, ended_at, dict(counts))

    def interrupt_run(self, run_id: str, ended_at: float) -> None:
        """End a run whose coordinator died, as failed with the steps it recorded; an ended run is left alone."""
        from assets_core.state.reading import read_runs, read_step_counts
        from assets_core.state.recording import end_run

        with self._database.reading() as connection:
            is_open = any(run.ended_at is None for run in read_runs(connection, run_id=run_id))
            counts = read_step_counts(connection, run_id)
        if is_open:
            with self._database.writing() as connection:
                end_run(connection, run_id, "failed", ended_at, counts)

    def record(self, batch: Sequence[Change]) -> None:
        """Record changes, in their order, in one transaction: all of them or none.

        A publication replaces the head only if its number is greater, is added to the history once however
        often it is recorded, and clears the outcome of its asset partition, as a successful step does; a
        failed, lost or blocked step sets it. Cost: 20 to 35 microseconds of CPU a step.

        Raises:
            StateError: `state-run-unknown`: the run was not started here and no branch is given.
        """
        from assets_core.state.recording import record_batch

        if not batch:
            return
        with self._database.writing() as connection:
            names = record_batch(connection, self._database.statements, self._names, batch)
        names.commit()

    def heads(self, branch: str, assets: Sequence[str]) -> dict[str, Heads]:
        """The newest publications, for every asset asked for; empty ones for an asset without any.

        Many rows are read in bulk, for which the file is closed and opened again: other threads wait meanwhile. While
        another store of this process has the same file open, they are read one by one.

        Cost: a few microseconds of CPU a row; in bulk, from tens of thousands of rows on, little more than one.
        """
        from assets_core.state.current import read_heads

        return read_heads(self._database, branch, assets)

    def outcomes(self, branch: str, assets: Sequence[str]) -> dict[str, Outcomes]:
        """The failed and blocked tries that no success has followed, for every asset asked for."""
        from assets_core.state.current import read_outcomes

        return read_outcomes(self._database, branch, assets)

    def publications(
        self,
        branch: str,
        asset: str,
        partition: str | _AllPartitions | None = ALL_PARTITIONS,
        limit: int | None = None,
    ) -> list[PublicationRow]:
        """The history of an asset partition by falling number, or of all of an asset by falling time."""
        from assets_core.state.reading import read_publications, read_publications_of_asset

        with self._database.reading() as connection:
            if partition is ALL_PARTITIONS:
                return read_publications_of_asset(connection, branch, asset, limit)
            return read_publications(connection, branch, asset, partition, limit)

    def known_sequences(self, branch: str, asset: str | None = None) -> dict[tuple[str, str], int]:
        """The highest version number known of each chain of a branch, or of one asset.

        Returns:
            By the path segments of asset and partition, as `io_managers.keys.encode_segment` makes them.
        """
        from assets_core.state.reading import read_known_sequences

        with self._database.reading() as connection:
            return read_known_sequences(connection, branch, asset)

    def runs(self, limit: int | None = 50) -> list[RunRow]:
        """The newest runs, newest first."""
        from assets_core.state.reading import read_runs

        with self._database.reading() as connection:
            return read_runs(connection, limit=limit)

    def run(self, run_id: str) -> RunRow | None:
        """One run, None when it is not known."""
        from assets_core.state.reading import read_runs

        with self._database.reading() as connection:
            return next(iter(read_runs(connection, run_id=run_id)), None)

    def unfinished_runs(self) -> list[RunRow]:
        """Runs without an end, newest first: running now, or killed."""
        from assets_core.state.reading import read_runs

        with self._database.reading() as connection:
            return read_runs(connection, unfinished=True)

    def steps(self, run_id: str) -> list[StepRow]:
        """The steps of a run that were recorded, in their order."""
        from assets_core.state.reading import read_steps

        with self._database.reading() as connection:
            return read_steps(connection, run_id)

    def events(self, run_id: str, step: int | None = None) -> list[EventRow]:
        """The tries of a run, or of one of its steps, that ended without success."""
        from assets_core.state.reading import read_events

        with self._database.reading() as connection:
            return read_events(connection, run_id, step)

    def check_results(self, run_id: str) -> list[CheckRow]:
        """The check results of a run, sorted by asset, check and position."""
        from assets_core.state.reading import read_check_results

        with self._database.reading() as connection:
            return read_check_results(connection, run_id)

    def checks_of(self, branch: str, asset: str) -> list[CheckRow]:
        """The newest result of each check on each partition of an asset."""
        from assets_core.state.reading import read_latest_checks

        with self._database.reading() as connection:
            return read_latest_checks(connection, branch, asset)

    def known_runs(self) -> set[str]:
        """Ids of the runs whose publications are all here: absorbed, or ended here."""
        from assets_core.state.reading import read_known_runs

        with self._database.reading() as connection:
            return read_known_runs(connection)

    def mark_absorbed(self, run_id: str) -> None:
        """What a run elsewhere published has been recorded here."""
        from assets_core.state.recording import NameWriter
        from assets_core.state.schema import run_ids

        statements = self._database.statements
        with self._database.writing() as connection:
            names = NameWriter(connection, statements.names, self._names)
            rows = statements.absorbed_runs.parameters([(names.id_of(run_ids, run_id),)])
            connection.exec_driver_sql(statements.absorbed_runs.sql, rows)
        names.commit()

    def close(self) -> None:
        """Release the database; no error when it is closed already."""
        self._database.close()

    def __enter__(self) -> StateStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _use_storage(self, storage: str) -> None:
        """Forget publications that are another storage's: their heads would be taken for this one's."""
        database = self._database
        with database.reading() as connection:
            known = database.meta(connection)["storage"]
        if known == storage:
            return
        with database.writing() as connection:
            if known:
                self._forget(connection)
            database.set_meta(connection, "storage", storage)
        self._is_new = self._is_new or bool(known)

    def _forget(self, connection: Connection) -> None:
        from sqlalchemy import delete

        from assets_core.state import schema

        for table in (schema.heads, schema.publications, schema.outcomes, schema.absorbed_runs):
            connection.execute(delete(table))
        self._database.set_meta(connection, "is_new", "yes")
