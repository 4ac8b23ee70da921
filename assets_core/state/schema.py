"""The tables of the state store and the statements that write them.

Only `heads`, `outcomes` and `publications` grow with the data, `steps` and `check_results` with the runs; the
tables before them give names numbers, so that those rows stay short. Imported only when a store is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

SCHEMA_VERSION = 1

#: Codes of `publications.kind` and `heads.kind`.
KINDS = ("publish", "rollback", "drop")

metadata = MetaData()


def _number(name: str, *, primary_key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=primary_key, nullable=False, autoincrement=False)


def _id(name: str, *, primary_key: bool = False) -> Column[int]:
    return Column(name, Integer, primary_key=primary_key, nullable=False, autoincrement=False)


def _text(name: str, *, primary_key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=primary_key, nullable=False)


def _real(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _names(table: str) -> Table:
    return Table(
        table,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", Text, nullable=False, unique=True),
    )


meta = Table("meta", metadata, _text("key", primary_key=True), _text("value"))
branches = _names("branches")
assets = _names("assets")
run_ids = _names("run_ids")
name_lists = _names("name_lists")  # JSON lists of column or parameter names

runs = Table(
    "runs",
    metadata,
    _id("run", primary_key=True),
    _text("project"),
    _id("branch"),
    _text("status"),
    _real("started_at"),
    Column("ended_at", Double),
    _number("n_steps"),
    _text("counts"),
    _text("selection"),
    _text("executor"),
    _number("pid"),
    _text("host"),
    _text("code_revision"),
    Index("runs_by_start", "started_at"),
    Index("runs_by_end", "ended_at"),
)
absorbed_runs = Table("absorbed_runs", metadata, _id("run", primary_key=True))

steps = Table(
    "steps",
    metadata,
    _id("run", primary_key=True),
    _number("step", primary_key=True),
    _id("asset"),
    _text("partition"),
    _number("position"),
    _text("state"),
    _id("attempt"),
    _text("reason"),
    _real("at"),
    _real("duration_s"),
    _real("cpu_s"),
    _text("error_code"),
    _text("error_message"),
    sqlite_with_rowid=False,
)
events = Table(
    "events",
    metadata,
    _id("run", primary_key=True),
    _number("step", primary_key=True),
    _id("attempt", primary_key=True),
    _text("state", primary_key=True),
    _real("at"),
    _real("duration_s"),
    _text("error_code"),
    _text("error_message"),
    sqlite_with_rowid=False,
)
publications = Table(
    "publications",
    metadata,
    _id("branch", primary_key=True),
    _id("asset", primary_key=True),
    _text("partition", primary_key=True),
    _number("seq", primary_key=True),
    _id("kind"),
    _id("run"),
    _real("published_at"),
    _number("rows"),
    _number("size_bytes"),
    _number("code_version"),
    Column("data_version", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
heads = Table(
    "heads",
    metadata,
    _id("branch", primary_key=True),
    _id("asset", primary_key=True),
    _number("position", primary_key=True),
    _number("seq"),
    _id("kind"),
    _number("code_version"),
    _number("config_version"),
    _number("data_version"),
    _real("published_at"),
    _number("rows"),
    _id("input_names"),
    Column("inputs", LargeBinary, nullable=False),
    _id("column_names"),
    Column("columns", LargeBinary, nullable=False),
    Column("record_hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
outcomes = Table(
    "outcomes",
    metadata,
    _id("branch", primary_key=True),
    _id("asset", primary_key=True),
    _number("position", primary_key=True),
    _id("blocked"),
    _number("basis"),
    sqlite_with_rowid=False,
)
check_results = Table(
    "check_results",
    metadata,
    _id("run", primary_key=True),
    _id("asset", primary_key=True),
    _text("check_name", primary_key=True),
    _number("position", primary_key=True),
    _text("partition"),
    _text("status"),
    _text("severity"),
    _text("observed"),
    _text("expected"),
    _real("at"),
    _text("sample"),
    sqlite_with_rowid=False,
)
latest_checks = Table(
    "latest_checks",
    metadata,
    _id("branch", primary_key=True),
    _id("asset", primary_key=True),
    _text("check_name", primary_key=True),
    _number("position", primary_key=True),
    _id("run"),
    _real("at"),
    sqlite_with_rowid=False,
)


_Insert = postgresql.Insert | sqlite.Insert


def _insert(dialect: Dialect, table: Table, columns: Iterable[Column[Any]]) -> _Insert:
    """The one place that knows the dialects apart."""
    values = {column.name: bindparam(column.name, type_=column.type) for column in columns}
    if dialect.name == "postgresql":
        return postgresql.insert(table).values(values)
    return sqlite.insert(table).values(values)


class Statement:
    """A statement compiled once, to be executed for many rows by the driver without a look at each value."""

    def __init__(self, dialect: Dialect, statement: ClauseElement, names: Sequence[str]) -> None:
        """`names`: the parameters in the order in which `parameters` gets their values."""
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self._names = tuple(names)
        self._is_positional = compiled.positional
        if self._is_positional and tuple(compiled.positiontup or ()) != self._names:
            raise AssertionError(f"{self.sql} takes its parameters in another order than {self._names}")

    def parameters(self, rows: Iterable[tuple[object, ...]]) -> list[Any]:
        """Rows as the driver wants them."""
        if self._is_positional:
            return list(rows)
        return [dict(zip(self._names, row, strict=True)) for row in rows]


class WriteStatements:
    """Every statement that `record` uses, compiled for one dialect; a row is a table's columns in order."""

    def __init__(self, dialect: Dialect) -> None:
        self.steps = _replace_if(dialect, steps, newer="attempt", or_same=True)
        self.events = _insert_if_absent(dialect, events)
        self.publications = _insert_if_absent(dialect, publications)
        self.heads = _replace_if(dialect, heads, newer="seq")
        self.outcomes = _replace_if(dialect, outcomes)
        self.check_results = _replace_if(dialect, check_results, newer="at", or_same=True)
        self.latest_checks = _replace_if(dialect, latest_checks, newer="at", or_same=True)
        self.absorbed_runs = _insert_if_absent(dialect, absorbed_runs)
        key = outcomes.primary_key.columns
        self.clear_outcomes = Statement(
            dialect,
            delete(outcomes).where(
                *(column == bindparam(f"p_{column.name}", type_=column.type) for column in key)
            ),
            [f"p_{column.name}" for column in key],
        )
        self.names = {
            table.name: Statement(
                dialect,
                _insert(dialect, table, [table.c.name]).on_conflict_do_nothing(index_elements=["name"]),
                ["name"],
            )
            for table in (branches, assets, run_ids, name_lists)
        }


def _insert_if_absent(dialect: Dialect, table: Table) -> Statement:
    statement = _insert(dialect, table, table.columns).on_conflict_do_nothing(
        index_elements=[column.name for column in table.primary_key]
    )
    return Statement(dialect, statement, [column.name for column in table.columns])


def _replace_if(dialect: Dialect, table: Table, *, newer: str = "", or_same: bool = False) -> Statement:
    """Insert; where the key exists replace the row if `newer` is greater (`or_same`: or equal), or always."""
    statement = _insert(dialect, table, table.columns)
    keys = [column.name for column in table.primary_key]
    where = None
    if newer:
        mine, theirs = statement.excluded[newer], table.c[newer]
        where = mine >= theirs if or_same else mine > theirs
    upsert = statement.on_conflict_do_update(
        index_elements=keys,
        set_={
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in keys
        },
        where=where,
    )
    return Statement(dialect, upsert, [column.name for column in table.columns])
