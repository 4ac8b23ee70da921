"""Several versions loaded as one table."""

import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from io_managers.formats.concatenation import VersionsDifferError, concat_tables
from io_managers.formats.parquet import ParquetManager
from tests.support.format_files import MemoryFiles
from tests.support.profiles import scale

MANAGER = ParquetManager()


def _stored(*values: object) -> list[MemoryFiles]:
    sources = []
    for value in values:
        files = MemoryFiles()
        MANAGER.write(value, files)
        sources.append(files)
    return sources


def _joined(*values: object, as_type: object = pd.DataFrame, columns: list[str] | None = None) -> object:
    return MANAGER.read_many(_stored(*values), as_type, columns)


@settings(max_examples=scale(40))
@given(st.lists(st.lists(st.none() | st.integers(-5, 5), max_size=4), min_size=1, max_size=5))
def test_rows_come_in_the_order_of_the_versions(parts: list[list[int | None]]) -> None:
    tables = [pa.table({"a": pa.array(part, pa.int64())}) for part in parts]
    assert concat_tables(tables).column("a").to_pylist() == [cell for part in parts for cell in part]


def test_one_version_is_given_as_it_is() -> None:
    table = pa.table({"a": [1]})
    assert concat_tables([table]).equals(table)


def test_no_versions_give_an_empty_table_with_the_columns_asked_for() -> None:
    assert isinstance(_joined(), pd.DataFrame)
    assert list(_joined(columns=["a", "b"]).columns) == ["a", "b"]  # type: ignore[attr-defined]
    assert _joined(as_type=pl.DataFrame).height == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        (pa.nulls(1), pa.array(["x"]), pa.string()),
        (pa.array([1], pa.int32()), pa.array([2], pa.int64()), pa.int64()),
        (pa.array([1]), pa.array([2.5]), pa.float64()),
        (pa.array(["x"]), pa.array(["y"], pa.large_string()), pa.large_string()),
        (pa.array(["x"], pa.string_view()), pa.array(["y"], pa.string()), pa.large_string()),
        (pa.array(["x"]).dictionary_encode(), pa.array(["y"]), pa.string()),
        (pa.array([1], pa.timestamp("s")), pa.array([1], pa.timestamp("us")), pa.timestamp("us")),
        (pa.array([[1]]), pa.array([[]], pa.list_(pa.null())), pa.list_(pa.int64())),
        (pa.array([1], pa.decimal128(5, 2)), pa.array([1], pa.decimal128(9, 2)), pa.decimal128(9, 2)),
    ],
)
def test_types_are_widened_where_no_cell_is_lost_in_either_order(
    left: pa.Array, right: pa.Array, kind: pa.DataType
) -> None:
    for first, second in ((left, right), (right, left)):
        table = concat_tables([pa.table({"a": first}), pa.table({"a": second})])
        assert table.schema.field("a").type == kind
        assert table.column("a").to_pylist() == first.to_pylist() + second.to_pylist()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.array([1]), pa.array(["x"])),
        (pa.array([True]), pa.array([1])),
        (pa.array(["x"]), pa.array([b"x"])),
        (pa.array([2**60 + 1]), pa.array([0.5])),
        (pa.array([1], pa.int64()), pa.array([2**64 - 1], pa.uint64())),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array([1], pa.timestamp("us", "Asia/Tokyo")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array([datetime.date(2024, 1, 1)]), pa.array([datetime.datetime(2024, 1, 1)])),
        (pa.array([[1]]), pa.array([["x"]])),
        (pa.array([{"x": 1}]), pa.array([{"x": "a"}])),
    ],
)
def test_types_that_would_lose_cells_are_refused_with_both_types(left: pa.Array, right: pa.Array) -> None:
    fine = pa.table({"amount": pa.nulls(1)})
    with pytest.raises(VersionsDifferError, match=r"'amount'") as error:
        concat_tables([fine, pa.table({"amount": left}), pa.table({"amount": right})])
    assert error.value.code == "column-types-differ"
    assert (error.value.first, error.value.other) == (1, 2)
    assert str(right.type) in error.value.why


def test_a_column_that_one_version_lacks_is_named_with_the_version() -> None:
    with pytest.raises(VersionsDifferError, match=r"'b' is missing in the first") as error:
        concat_tables([pa.table({"a": [1]}), pa.table({"a": [1]}), pa.table({"a": [1], "b": [1]})])
    assert (error.value.code, error.value.other) == ("columns-differ", 2)


def test_columns_are_matched_by_name() -> None:
    table = concat_tables([pa.table({"a": [1], "b": ["x"]}), pa.table({"b": ["y"], "a": [2]})])
    assert table.to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def test_a_version_without_columns_and_rows_is_passed_over() -> None:
    frame = pd.DataFrame({"a": [1]})
    pd.testing.assert_frame_equal(_joined(pd.DataFrame(), frame, pd.DataFrame()), frame)


def test_integers_and_integers_with_gaps_join_as_floats() -> None:
    joined = _joined(pd.DataFrame({"delay": [1, 2]}), pd.DataFrame({"delay": [3.0, None]}))
    pd.testing.assert_frame_equal(joined, pd.DataFrame({"delay": [1.0, 2.0, 3.0, None]}))


def test_rows_are_numbered_afresh_where_the_index_is_row_numbers() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    joined = _joined(frame.iloc[[0, 2]], frame, frame.iloc[[1]])
    pd.testing.assert_frame_equal(joined, pd.DataFrame({"a": [1, 3, 1, 2, 3, 2]}))


def test_an_index_with_a_name_is_joined() -> None:
    frames = [pd.DataFrame({"a": [n]}, index=pd.Index([f"k{n}"], name="key")) for n in range(2)]
    pd.testing.assert_frame_equal(_joined(*frames), pd.concat(frames))


def test_categories_that_differ_between_versions_keep_their_cells() -> None:
    frames = [pd.DataFrame({"c": pd.Categorical(cells)}) for cells in (["a", "b"], ["z", "a"])]
    joined = _joined(*frames)
    assert joined["c"].tolist() == ["a", "b", "z", "a"]  # type: ignore[index]
    assert str(joined["c"].dtype) == "category"  # type: ignore[index]


def test_an_empty_partition_of_untyped_columns_does_not_change_the_others() -> None:
    full = pd.DataFrame({"s": ["x"], "t": pd.to_datetime(["2024-01-01"]), "i": [1]})
    empty = pd.DataFrame({"s": [], "t": [], "i": []}, dtype=object)
    pd.testing.assert_frame_equal(_joined(empty, full), full)
    pd.testing.assert_frame_equal(_joined(full, empty), full)


def test_chosen_columns_are_joined_though_the_others_differ() -> None:
    joined = _joined(pa.table({"a": [1], "x": [1]}), pa.table({"a": [2]}), as_type=pa.Table, columns=["a"])
    assert joined.column("a").to_pylist() == [1, 2]  # type: ignore[attr-defined]
