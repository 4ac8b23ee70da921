"""Versions as the value that an annotation asks for."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from inspect import Parameter
from typing import Annotated, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from io_managers.errors import FormatError
from io_managers.formats.loading import load_value
from io_managers.formats.registry import load_io_manager
from tests.support.format_files import MemoryFiles

Stored = list[tuple[str | None, MemoryFiles]]


class _Model(BaseModel):
    x: int


def _stored(name: str, values: dict[Any, object]) -> Stored:
    versions: Stored = []
    for partition, value in values.items():
        files = MemoryFiles()
        load_io_manager(name).write(value, files)
        versions.append((partition, files))
    return versions


def _load(name: str, values: dict[Any, object], annotation: Any, columns: list[str] | None = None) -> Any:
    return load_value(load_io_manager(name), _stored(name, values), annotation, columns)


_DAYS = {"d1": pa.table({"a": [1], "b": [1]}), "d2": pa.table({"a": [2], "b": [2]})}


def test_several_versions_are_one_frame_in_partition_order() -> None:
    assert _load("parquet", _DAYS, pa.Table).column("a").to_pylist() == [1, 2]
    assert _load("parquet", _DAYS, Annotated[pl.DataFrame, "note"])["a"].to_list() == [1, 2]


def test_chosen_columns_reach_every_way_of_loading() -> None:
    assert _load("parquet", _DAYS, pa.Table, ["b"]).column_names == ["b"]
    assert [table.column_names for table in _load("parquet", _DAYS, Iterator[pa.Table], ["b"])] == [["b"]] * 2
    assert {
        key: table.column_names for key, table in _load("parquet", _DAYS, dict[str, pa.Table], ["b"]).items()
    } == {
        "d1": ["b"],
        "d2": ["b"],
    }


@pytest.mark.parametrize("annotation", [None, Any, Parameter.empty])
def test_without_an_annotation_a_table_is_a_pandas_frame(annotation: Any) -> None:
    assert isinstance(_load("parquet", _DAYS, annotation), pd.DataFrame)
    assert _load("json", {None: [1]}, annotation) == [1]


def test_a_dict_gives_values_by_partition_in_order() -> None:
    tables = _load("parquet", _DAYS, dict[str, pa.Table])
    assert list(tables) == ["d1", "d2"]
    assert tables["d2"].column("a").to_pylist() == [2]
    assert _load("json", {"d1": 1, "d2": 2}, Mapping[str, int]) == {"d1": 1, "d2": 2}
    assert _load("bytes", {"d1": b"x"}, dict[str, bytes]) == {"d1": b"x"}
    assert _load("text", {}, dict[str, str]) == {}


@pytest.mark.parametrize("annotation", [Iterator[str], Iterable[str], Generator[str, None, None]])
def test_an_iterator_reads_one_version_at_a_time(annotation: Any) -> None:
    versions = _stored("text", {"d1": "one", "d2": "two"})
    values = load_value(load_io_manager("text"), versions, annotation)
    versions[1][1].contents["value.txt"] = b"changed before it was asked for"
    assert next(values) == "one"
    assert next(values) == "changed before it was asked for"
    assert list(values) == []


def test_a_json_object_of_an_asset_without_partitions_is_the_value_itself() -> None:
    assert _load("json", {None: {"a": 1}}, dict[str, int]) == {"a": 1}
    assert _load("json", {None: {"a": {"x": 1}}}, dict[str, _Model]) == {"a": _Model(x=1)}


@pytest.mark.parametrize(
    ("stored", "annotation", "loaded"),
    [
        ({"a": 1}, dict[str, int], {"a": 1}),
        ({"a": 1}, dict[str, Any], {"a": 1}),
        (7, dict[str, int], {"d1": 7}),
        ([1], dict[str, list[int]], {"d1": [1]}),
        ({"a": 1}, dict[str, dict[str, int]], {"d1": {"a": 1}}),
        ({"x": 1}, dict[str, _Model], {"d1": _Model(x=1)}),
        ({"a": 1}, dict, {"a": 1}),
    ],
)
def test_one_json_partition_as_a_dict_is_the_stored_object_unless_t_is_one(
    stored: object, annotation: Any, loaded: object
) -> None:
    assert _load("json", {"d1": stored}, annotation) == loaded


def test_values_by_partition_of_an_asset_without_partitions_are_refused() -> None:
    with pytest.raises(FormatError, match=r"annotate the parameter with pyarrow\.Table") as error:
        _load("parquet", {None: _DAYS["d1"]}, dict[str, pa.Table])
    assert error.value.code == "partitions-expected"


@pytest.mark.parametrize(
    ("name", "value", "kind"), [("json", 1, int), ("text", "x", str), ("bytes", b"x", bytes)]
)
def test_values_that_are_not_joined_are_offered_by_partition(name: str, value: object, kind: type) -> None:
    with pytest.raises(
        FormatError, match=rf"2 partitions .*\n.*'d1', 'd2'.*\n.*dict\[str, {kind.__name__}\]"
    ) as error:
        _load(name, {"d1": value, "d2": value}, kind)
    assert error.value.code == "cannot-concatenate"
    with pytest.raises(FormatError) as nothing:
        _load(name, {}, kind)
    assert nothing.value.code == "nothing-to-load"


def test_no_versions_of_a_table_are_an_empty_one() -> None:
    assert _load("parquet", {}, pl.DataFrame).height == 0
    assert list(_load("parquet", {}, Iterator[pa.Table])) == []


def test_versions_that_do_not_fit_are_named_by_their_partitions() -> None:
    days = {"d1": pa.table({"a": [1]}), "d2": pa.table({"a": [1]}), "d3": pa.table({"a": ["x"]})}
    with pytest.raises(
        FormatError, match=r"'d1' and partition 'd3'.*\n.*int64 in the first, string"
    ) as error:
        _load("parquet", days, pd.DataFrame)
    assert error.value.code == "column-types-differ"


@pytest.mark.parametrize(
    ("code", "annotation"),
    [
        ("annotation-unresolved", "pd.DataFrame"),
        ("annotation-unresolved", Iterator["pd.DataFrame"]),
        ("annotation-optional", pd.DataFrame | None),
        ("type-not-offered", list[int]),
        ("type-not-offered", str),
    ],
)
def test_annotations_that_cannot_be_loaded_are_refused(code: str, annotation: Any) -> None:
    with pytest.raises(FormatError) as error:
        _load("parquet", {"d1": _DAYS["d1"]}, annotation)
    assert error.value.code == code
