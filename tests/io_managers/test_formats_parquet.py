"""Tables in and out of Parquet: what goes in comes back, or is refused with the column's name."""

import datetime
import decimal
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from io_managers.errors import FormatError
from io_managers.formats.content_hash import table_hashes
from io_managers.formats.parquet import ParquetManager
from io_managers.formats.protocol import SupportsConcat, Written
from tests.support.format_files import FolderFiles, MemoryFiles
from tests.support.profiles import scale

MANAGER = ParquetManager()


def _store(value: object) -> MemoryFiles:
    files = MemoryFiles()
    MANAGER.write(value, files)
    return files


def _back(value: object, as_type: object = None, columns: list[str] | None = None) -> object:
    return MANAGER.read(_store(value), as_type, columns)


def _written(value: object) -> Written:
    return MANAGER.write(value, MemoryFiles())


def _code(error: pytest.ExceptionInfo[FormatError]) -> str:
    return error.value.code


_FRAMES = {
    "numbers": pd.DataFrame(
        {"i": [1, 2], "f": [1.5, np.nan], "b": [True, False], "u": np.array([1, 2], "uint8")}
    ),
    "text": pd.DataFrame({"s": ["a", None]}),
    "all null text": pd.DataFrame({"s": pd.Series([None, None], dtype="str")}),
    "all null object": pd.DataFrame({"s": pd.Series([None, None], dtype=object)}),
    "no rows": pd.DataFrame({"s": pd.Series([], dtype="str"), "i": pd.Series([], dtype="int64")}),
    "nothing": pd.DataFrame(),
    "times": pd.DataFrame(
        {
            "naive": pd.to_datetime(["2024-01-01", None]),
            "zone": pd.to_datetime(["2024-03-31 01:30", None]).tz_localize("America/New_York"),
            "ns": pd.to_datetime(["2024-01-01", None]).as_unit("ns"),
            "delta": pd.to_timedelta([1, None], unit="s"),
        }
    ),
    "categories": pd.DataFrame(
        {
            "plain": pd.Categorical(["a", None, "b"], categories=["z", "b", "a"]),
            "ordered": pd.Categorical(["a", "b", "b"], categories=["b", "a"], ordered=True),
        }
    ),
    "decimals": pd.DataFrame({"d": [decimal.Decimal("1.20"), None]}),
    "dates": pd.DataFrame({"d": [datetime.date(2024, 1, 1), None], "t": [datetime.time(1, 2), None]}),
    "bytes": pd.DataFrame({"b": [b"\x00", None]}),
    "nullable": pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "b": pd.array([True, None], dtype="boolean"),
            "f": pd.array([1.5, None], dtype="Float32"),
            "s": pd.array(["a", None], dtype="string"),
        }
    ),
    "arrow backed": pd.DataFrame({"i": pd.array([1, None], dtype="int64[pyarrow]")}),
    "periods": pd.DataFrame(
        {"p": pd.period_range("2024", periods=2, freq="D"), "i": pd.interval_range(0, 2)}
    ),
    "named index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key")),
    "row numbers left by a filter": pd.DataFrame({"a": [1, 2, 3]}).iloc[[0, 2]],
    "index from five": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 7)),
    "named range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(2, name="n")),
    "index named as a column": pd.DataFrame({"k": [1, 2]}, index=pd.Index([3, 4], name="k")),
    "index of text": pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "two levels": pd.DataFrame(
        {"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])
    ),
}


@pytest.mark.parametrize("name", _FRAMES)
def test_a_pandas_frame_comes_back_equal(name: str) -> None:
    frame = _FRAMES[name]
    pd.testing.assert_frame_equal(_back(frame), frame, check_column_type=bool(frame.columns.size))


@pytest.mark.parametrize("name", _FRAMES)
def test_a_pandas_frame_is_read_as_pandas_itself_reads_the_file(name: str, tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    MANAGER.write(_FRAMES[name], files)
    own = pd.read_parquet(tmp_path / "part-0.parquet")
    pd.testing.assert_frame_equal(MANAGER.read(files, pd.DataFrame, None), own)


def test_nested_cells_come_back_as_pandas_gives_them() -> None:
    frame = pd.DataFrame({"l": [[1, 2], None], "d": [{"x": 1}, None]})
    back = _back(frame)
    assert isinstance(back, pd.DataFrame)
    assert list(back["l"][0]) == [1, 2]
    assert back["l"][1] is None
    assert back["d"].tolist() == [{"x": 1}, None]


@settings(max_examples=scale(40))
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
            st.none() | st.text(max_size=4),
        ),
        max_size=20,
    )
)
def test_an_arrow_table_comes_back_with_the_same_content(rows: list[tuple[object, ...]]) -> None:
    columns = list(zip(*rows, strict=True)) if rows else [(), (), ()]
    table = pa.table(
        [
            pa.array(columns[0], pa.int64()),
            pa.array(columns[1], pa.float64()),
            pa.array(columns[2], pa.string()),
        ],
        names=["i", "f", "s"],
    )
    back = _back(table, pa.Table)
    assert isinstance(back, pa.Table)
    assert back.schema == table.schema
    assert table_hashes(back) == table_hashes(table)


def test_nan_and_null_stay_apart_outside_pandas() -> None:
    back = _back(pa.table({"f": [1.0, float("nan"), None]}), pa.Table)
    assert isinstance(back, pa.Table)
    assert back.column("f").null_count == 1
    polars = _back(pl.DataFrame({"f": [float("nan"), None]}), pl.DataFrame)
    assert isinstance(polars, pl.DataFrame)
    assert polars["f"].is_nan().to_list() == [True, None]


def test_a_polars_frame_comes_back_equal() -> None:
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "s": ["a", None],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "e": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])),
            "l": [[1], None],
            "t": [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), None],
            "d": [decimal.Decimal("1.5"), None],
            "n": [None, None],
            "r": [{"x": 1}, {"x": None}],
        }
    )
    back = _back(frame, pl.DataFrame)
    assert isinstance(back, pl.DataFrame)
    assert back.schema == frame.schema
    assert back.equals(frame)


_TABLE = pa.table({"a": [1, 2, 3], "s": ["x", None, "z"]})


def _inputs() -> dict[str, object]:
    connection = duckdb.connect()
    return {
        "table": _TABLE,
        "batch": _TABLE.to_batches()[0],
        "reader": _TABLE.to_reader(max_chunksize=1),
        "pandas": _TABLE.to_pandas(),
        "polars": pl.DataFrame(_TABLE),
        "lazy": pl.DataFrame(_TABLE).lazy(),
        "duckdb": connection.from_arrow(_TABLE),
    }


@pytest.mark.parametrize("kind", ["table", "batch", "reader", "pandas", "polars", "lazy", "duckdb"])
@pytest.mark.parametrize(
    "as_type",
    [
        pa.Table,
        pa.RecordBatch,
        pa.RecordBatchReader,
        pd.DataFrame,
        pl.DataFrame,
        pl.LazyFrame,
        duckdb.DuckDBPyRelation,
    ],
)
def test_every_table_type_can_be_written_and_read_as_every_other(kind: str, as_type: type) -> None:
    back = _back(_inputs()[kind], as_type)
    assert isinstance(back, as_type)
    match back:
        case pl.LazyFrame():
            rows = back.collect().rows()
        case pl.DataFrame():
            rows = back.rows()
        case duckdb.DuckDBPyRelation():
            rows = back.fetchall()
        case pd.DataFrame():
            rows = list(pa.Table.from_pandas(back).to_pydict().items()) and [
                (a, None if s is None or s != s else s) for a, s in back.itertuples(index=False)
            ]
        case _:
            table = (
                back
                if isinstance(back, pa.Table)
                else pa.Table.from_batches(list(back) if isinstance(back, pa.RecordBatchReader) else [back])
            )
            rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == [(1, "x"), (2, None), (3, "z")]


def test_equal_tables_of_different_libraries_have_one_data_version() -> None:
    versions = {name: _written(value).data_version for name, value in _inputs().items()}
    assert len(set(versions.values())) == 1, versions


def test_what_was_written_is_reported() -> None:
    written = _written(_TABLE)
    hashes, version = table_hashes(_TABLE)
    assert written == Written(3, {"a": "int64", "s": "string"}, hashes, version)


def test_an_index_without_a_name_is_seen_by_pandas_alone() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    assert list(_written(frame).columns) == list(_written(frame).column_hashes) == ["a"]
    for as_type in (pa.Table, pl.DataFrame, duckdb.DuckDBPyRelation):
        back = _back(frame, as_type)
        assert list(getattr(back, "column_names", None) or back.columns) == ["a"]  # type: ignore[attr-defined]
    assert _written(frame).data_version != _written(frame.reset_index(drop=True)).data_version


def test_chosen_columns_come_in_the_order_asked_and_without_the_rest() -> None:
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]}, index=[7])
    back = _back(frame, pd.DataFrame, ["c", "a"])
    pd.testing.assert_frame_equal(back, pd.DataFrame({"c": [3], "a": [1]}))


def test_a_column_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(FormatError, match=r"'carier'.*\n.*carrier, delay\.\n.*'carrier'") as error:
        _back(pd.DataFrame({"carrier": ["AA"], "delay": [1]}), pd.DataFrame, ["carier"])
    assert _code(error) == "column-not-found"


_REFUSED = {
    "column-mixed-types": [
        pd.DataFrame({"x": [1, "a"]}),
        pd.DataFrame({"x": [b"a", "b"]}),
        pd.DataFrame({"x": pd.Series([True, 2], dtype=object)}),
        pd.DataFrame(
            {"x": pd.Series([datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5)], dtype=object)}
        ),
        pd.DataFrame(
            {
                "x": pd.Series(
                    [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)],
                    dtype=object,
                )
            }
        ),
        pd.DataFrame({"x": [[1], {"y": 1}]}),
    ],
    "column-not-storable": [
        pd.DataFrame({"x": [1j]}),
        pd.DataFrame({"x": pd.arrays.SparseArray([0, 1])}),
        pd.DataFrame({"x": [{1}, {2}]}),
        pd.DataFrame({"x": [object()]}),
        pd.DataFrame({"x": [2**70]}),
        pa.table({"x": pa.array([{}], pa.struct([]))}),
        pa.table({"x": pa.RunEndEncodedArray.from_arrays([1], ["a"])}),
        pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)}),
    ],
}


@pytest.mark.parametrize(
    ("code", "frame"), [(code, frame) for code, frames in _REFUSED.items() for frame in frames]
)
def test_a_column_that_would_not_come_back_equal_is_refused_by_name(code: str, frame: object) -> None:
    files = MemoryFiles()
    with pytest.raises(FormatError, match=r"\bx\b") as error:
        MANAGER.write(frame, files)
    assert _code(error) == code
    assert error.value.do
    assert not files.contents


@pytest.mark.parametrize(
    ("code", "value", "named"),
    [
        ("columns-duplicate", pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a'"),
        ("columns-duplicate", pa.table([[1], [2]], names=["a", "a"]), "'a'"),
        ("column-name-not-text", pd.DataFrame({0: [1]}), "0"),
        ("column-name-not-text", pd.DataFrame({"a": [1]}, index=pd.Index([1], name=5)), "5"),
        ("index-not-storable", pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, "x"])), "index"),
        ("column-name-not-text", pd.DataFrame({("a", "b"): [1]}), "MultiIndex|tuple"),
        ("frame-without-columns", pd.DataFrame(index=range(3)), "3 rows"),
        ("value-is-none", None, "None"),
        ("value-not-a-table", {"a": [1]}, "dict"),
        ("value-not-a-table", pd.Series([1]), "to_frame"),
        ("value-not-a-table", iter([1]), "item 0"),
        ("iterator-empty", iter([]), "at least one"),
    ],
)
def test_what_is_no_storable_table_is_refused_and_leaves_no_file(
    code: str, value: object, named: str
) -> None:
    files = MemoryFiles()
    with pytest.raises(FormatError, match=named) as error:
        MANAGER.write(value, files)
    assert _code(error) == code
    assert not files.contents


def test_an_arrow_backed_type_that_pandas_cannot_name_is_refused() -> None:
    frame = pd.DataFrame({"x": pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))})
    with pytest.raises(FormatError, match=r"list<item: int64>") as error:
        _store(frame)
    assert _code(error) == "column-not-storable"


def test_an_iterator_of_frames_is_stored_as_one_table_with_a_row_group_each() -> None:
    frames = [pd.DataFrame({"a": [1, 2], "s": ["x", "y"]}), pd.DataFrame({"a": [3], "s": ["z"]})]
    files = _store(iter(frames))
    assert pq.ParquetFile(files.open("part-0.parquet")).num_row_groups == 2
    back = MANAGER.read(files, pd.DataFrame, None)
    pd.testing.assert_frame_equal(back, pd.concat(frames, ignore_index=True))
    assert _written(iter(frames)) == _written(pd.concat(frames, ignore_index=True))


def test_an_iterator_is_consumed_one_frame_at_a_time() -> None:
    alive: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for position in range(3):
            alive.append(position)
            yield pa.record_batch({"a": [position]})

    class _Watching(MemoryFiles):
        def create(self, name: str) -> object:  # type: ignore[override]
            assert alive == [0]
            return super().create(name)

    files = _Watching()
    assert MANAGER.write(batches(), files).rows == 3  # type: ignore[arg-type]


def test_later_frames_of_an_iterator_may_be_null_or_narrower() -> None:
    pieces = [pa.table({"a": [1.5], "s": ["x"]}), pa.table({"s": pa.nulls(1), "a": [2]})]
    back = _back(iter(pieces), pa.Table)
    assert isinstance(back, pa.Table)
    assert back.to_pylist() == [{"a": 1.5, "s": "x"}, {"a": 2.0, "s": None}]


@pytest.mark.parametrize(
    ("code", "second"),
    [
        ("iterator-columns-differ", pa.table({"a": [1], "extra": [1]})),
        ("iterator-types-differ", pa.table({"a": ["text"]})),
        ("iterator-types-differ", pa.table({"a": [1.5]})),
    ],
)
def test_a_later_frame_that_does_not_fit_is_refused_and_the_file_discarded(
    code: str, second: pa.Table
) -> None:
    files = MemoryFiles()
    with pytest.raises(FormatError, match="item 1") as error:
        MANAGER.write(iter([pa.table({"a": [1]}), second]), files)
    assert _code(error) == code
    assert files.contents == {}
    assert files.aborted == ["part-0.parquet"]


def test_an_exception_in_the_function_s_iterator_passes_and_discards_the_file() -> None:
    def broken() -> Iterator[pa.Table]:
        yield pa.table({"a": [1]})
        raise ZeroDivisionError

    files = MemoryFiles()
    with pytest.raises(ZeroDivisionError):
        MANAGER.write(broken(), files)
    assert files.contents == {}


def test_a_reader_without_batches_keeps_its_columns() -> None:
    empty = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), [])
    back = _back(empty, pa.Table)
    assert isinstance(back, pa.Table)
    assert (back.column_names, back.num_rows) == (["a"], 0)


def test_a_type_that_is_no_table_is_answered_with_those_that_are() -> None:
    with pytest.raises(FormatError, match=r"as int\.\n.*polars\.LazyFrame") as error:
        _back(_TABLE, int)
    assert _code(error) == "type-not-offered"


def test_the_manager_reads_a_local_file_without_opening_it_through_the_store(tmp_path: Path) -> None:
    class _Closed(FolderFiles):
        def open(self, name: str) -> object:  # type: ignore[override]
            raise AssertionError(name)

    files = _Closed(tmp_path)
    MANAGER.write(_TABLE, files)
    assert MANAGER.read(files, pa.Table, None) == _TABLE  # type: ignore[arg-type]


def test_a_version_without_parquet_files_is_refused_with_its_files() -> None:
    files = MemoryFiles()
    files.contents["value.json"] = b"{}"
    with pytest.raises(FormatError, match=r"value\.json") as error:
        MANAGER.read(files, None, None)
    assert _code(error) == "no-parquet-file"


def test_parquet_joins_versions() -> None:
    assert isinstance(MANAGER, SupportsConcat)


@pytest.mark.parametrize(("distinct", "has_dictionary"), [(200, True), (5000, True), (100_000, False)])
def test_a_dictionary_is_used_where_values_repeat(distinct: int, has_dictionary: bool) -> None:
    values = np.arange(100_000) % distinct
    files = _store(pa.table({"a": values, "sorted": np.sort(values)}))
    group = pq.ParquetFile(files.open("part-0.parquet")).metadata.row_group(0)
    assert [group.column(i).has_dictionary_page for i in range(2)] == [has_dictionary] * 2


def test_text_inside_nested_columns_keeps_its_dictionary() -> None:
    table = pa.table(
        {
            "l": [["x"]],
            "d": [{"k": "x"}],
            "m": pa.array([[("x", "y")]], pa.map_(pa.string(), pa.string())),
        }
    )
    group = pq.ParquetFile(_store(table).open("part-0.parquet")).metadata.row_group(0)
    assert all(group.column(i).has_dictionary_page for i in range(group.num_columns))
