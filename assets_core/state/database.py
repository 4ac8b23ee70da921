"""The database behind the state store: opening it, transactions, and its failures in words.

Everything that is particular to SQLite stands in this file, besides the choice of the dialect's insert in
`schema.py` and what `bulk.py` and `open_files.py` say of reading with another library. Imported only when a store
is opened.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError, NoResultFound, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from assets_core.errors import AssetlineError, InternalError, StateError
from assets_core.state import schema
from assets_core.state.open_files import identity, is_open_here, lock_of

_SQLITE_PREFIX = "sqlite:///"
_CACHE_ADVICE = (
    "move {place} away (with its -wal and -shm files) and run again: it is a cache of the storage's log and "
    "is rebuilt from it; nothing is lost."
)


class Database:
    """One SQLite file, opened; transactions are context managers whose failures are `StateError`."""

    def __init__(self, url: str, timeout_s: float, *, create: bool = True) -> None:
        """Open or create the database and its tables; without `create` a missing one is kept in memory.

        Raises:
            StateError: The file or its folder cannot be used, is damaged, locked, or of a newer assetline.
        """
        self.path = _path_of(url)
        self.timeout_s = timeout_s
        self._is_stored = create or self.path.exists()
        self._identity: tuple[int, int] | None = None
        if self._is_stored:
            _make_folder(self.path.parent)
        self._engine = _sqlite_engine(self._connect, timeout_s)
        self._writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        try:
            with self._translating():
                self._create_if_new()
        except BaseException:
            self.close()
            raise
        self.statements = schema.WriteStatements(self._engine.dialect)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write; it takes the write lock at once, so it never fails half way."""
        with self._translating(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees one state of the database; a value that cannot be decoded is damage."""
        with self._translating():
            try:
                with self._engine.begin() as connection:
                    yield connection
            except AssetlineError:
                raise
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise self._damaged(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def left_to_another_library(self) -> Iterator[Path | None]:
        """A time in which this process has the file not open, and does not open it: for reading it by other means.

        Gives the path; or None when that cannot be had: the database is kept in memory, its file was replaced, or
        somebody else in this process has it open. Must not be called within a transaction; other threads that begin one
        wait until it is over.
        """
        if not self._is_stored:
            yield None
            return
        with self._translating():
            own = self._engine.raw_connection()  # nobody else uses the only connection from here on
            lock = lock_of(self.path)
            if not lock.acquire(timeout=self.timeout_s):
                own.close()
                raise self._locked("thread")
        try:
            if identity(self.path) != self._identity:
                own.close()
                yield None
            else:
                own.invalidate()  # closes the file; the next transaction opens it again
                yield None if is_open_here(self.path) else self.path
        finally:
            lock.release()

    def text_of(self, query: Select[Any]) -> str:
        """A query as text, with its parameters, which must be numbers."""
        return str(query.compile(dialect=self._engine.dialect, compile_kwargs={"literal_binds": True}))

    def meta(self, connection: Connection) -> dict[str, str]:
        """All of the `meta` table."""
        return {row.key: row.value for row in connection.execute(select(schema.meta))}

    def set_meta(self, connection: Connection, key: str, value: str) -> None:
        """Change one value of `meta`; every key is there from the start."""
        connection.execute(update(schema.meta).where(schema.meta.c.key == key).values(value=value))

    def close(self) -> None:
        """Release the file."""
        with suppress(
            SQLAlchemyError, sqlite3.Error
        ):  # a damaged file may also fail to close; there is nothing to save
            self._engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        """Open the file, when nobody reads it with another library; only the same file is ever opened again.

        Raises:
            StateError: `state-replaced`, or `state-locked`.
        """
        options: dict[str, Any] = {"timeout": self.timeout_s, "check_same_thread": False}
        if not self._is_stored:
            return sqlite3.Connection(":memory:", **options)
        lock = lock_of(self.path)
        if not lock.acquire(timeout=self.timeout_s):
            raise self._locked("thread")
        try:
            if self._identity is not None and identity(self.path) != self._identity:
                raise StateError(
                    "state-replaced",
                    f"the state database {self.path} was removed or replaced while it was in use.",
                    why="its file is not the one that was opened.",
                    do="run the command again; what was published is found again.",
                )
            connection = sqlite3.Connection(self.path, **options)
            self._identity = identity(self.path)
            return connection
        finally:
            lock.release()

    def _create_if_new(self) -> None:
        with self._engine.begin() as connection:
            has_tables = inspect(connection).has_table("meta")
        if not has_tables:
            with self._writer.begin() as connection:
                tables = inspect(connection).get_table_names()
                if not tables:
                    self._create(connection)
                elif "meta" not in tables:
                    raise StateError(
                        "state-foreign",
                        f"{self.path} is a database, but not one of assetline's.",
                        why=f"it has the tables {', '.join(sorted(tables)[:5])}.",
                        do="give another file as `state` in the configuration.",
                    )
        with self._engine.begin() as connection:
            version = self.meta(connection).get("schema_version", "")
        if version.isdigit() and int(version) > schema.SCHEMA_VERSION:
            raise StateError(
                "state-newer",
                f"the state database {self.path} was written by a newer assetline.",
                why=f"its schema is version {version}; this assetline knows up to {schema.SCHEMA_VERSION}.",
                do="upgrade assetline, or give another file as `state` in the configuration.",
            )
        if version != str(schema.SCHEMA_VERSION):
            raise self._damaged(f"its schema version is {version[:20]!r}")

    def _create(self, connection: Connection) -> None:
        schema.metadata.create_all(connection, checkfirst=False)
        values = {
            "schema_version": str(schema.SCHEMA_VERSION),
            "store_id": uuid.uuid4().hex,
            "storage": "",
            "is_new": "yes",
        }
        connection.execute(
            insert(schema.meta), [{"key": key, "value": value} for key, value in values.items()]
        )

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if not isinstance(error.orig, sqlite3.Error):
                raise
            raise self._error_of(error.orig) from error
        except sqlite3.Error as error:
            raise self._error_of(error) from error
        except (UnicodeDecodeError, NoResultFound) as error:  # a name that no longer is one, or is gone
            raise self._damaged(str(error)) from error
        except PoolTimeoutError as error:
            raise self._locked("thread") from error

    def _error_of(self, error: sqlite3.Error) -> AssetlineError:
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.InterfaceError):
            return InternalError(
                "state-misused",
                f"the state database {self.path} was used in a way it does not allow.",
                why=f"{error}.",
                do="please report this with the command that was run.",
            )
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return self._locked("process")
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return _unwritable(self.path, str(error))
            case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
                return StateError(
                    "state-disk",
                    f"the disk did not take what was written to the state database {self.path}.",
                    why=f"{error}.",
                    do="make room or mend the disk, and run again; what was published is found again.",
                )
            case _:
                return self._damaged(str(error))

    def _locked(self, by: str) -> StateError:
        return StateError(
            "state-locked",
            f"the state database {self.path} is locked by another {by}.",
            why=f"it did not become free within {self.timeout_s:g} s.",
            do=f"wait for it to end, or look for one that hangs: fuser {self.path}",
        )

    def _damaged(self, why: str) -> StateError:
        return StateError(
            "state-damaged",
            f"the state database {self.path} is damaged.",
            why=f"{why}.",
            do=_CACHE_ADVICE.format(place=self.path),
        )


def _path_of(url: str) -> Path:
    if url.startswith(_SQLITE_PREFIX) and len(url) > len(_SQLITE_PREFIX):
        return Path(url[len(_SQLITE_PREFIX) :])
    scheme = url.partition(":")[0][:40]
    raise StateError(
        "state-url-unsupported",
        f"a state database of the kind {scheme!r} cannot be opened.",
        why="the state is kept in a SQLite file, written as sqlite:///PATH.",
        do='set `state = "sqlite:///.assetline/state.db"` for this environment.',
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error


def _unwritable(path: Path, why: str) -> StateError:
    return StateError(
        "state-unwritable",
        f"the state database cannot be written at {path}.",
        why=f"{why}.",
        do="make the folder writable, or give another place as `state` in the configuration.",
    )


def _sqlite_engine(connect: Callable[[], sqlite3.Connection], timeout_s: float) -> Engine:
    # one connection: a second one might open another file, had the first been deleted meanwhile
    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=timeout_s
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        _use_wal(connection, timeout_s)
        connection.execute(
            "PRAGMA synchronous=NORMAL"
        )  # the storage holds the truth: a power cut may cost cache rows

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _use_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Switch to write-ahead logging; SQLite does not wait by itself when several processes do so at once."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
