"""Rows as text, as JSON and as files."""

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from ui.cli.data import as_table
from ui.cli.failures import CommandError
from ui.cli.files import require_writable, write_value
from ui.cli.rows import format_cell, format_rows
from ui.read import build_json_value, build_table_rows

TABLE = pa.table(
    {
        "city": ["Köln", None, "東京"],
        "n": [1, 20, 300],
        "share": [0.5, float("nan"), float("inf")],
        "at": pa.array([dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)] * 3, pa.timestamp("us", tz="UTC")),
    }
)


def test_columns_are_aligned_and_headed_by_name_and_type() -> None:
    header, lines, hidden = format_rows(TABLE.select(["city", "n"]), None, None)

    assert header == ["city        n", "string  int64"]
    assert lines == ["Köln        1", "null       20", "東京      300"]
    assert hidden == []


def test_columns_that_do_not_fit_are_named() -> None:
    header, _, hidden = format_rows(TABLE, None, 15)

    assert header[0] == "city        n"
    assert hidden == ["share", "at"]


def test_the_limit_cuts_rows_but_keeps_the_types() -> None:
    header, lines, _ = format_rows(TABLE, 0, None)

    assert len(header) == 2
    assert lines == []


def test_a_cell_is_one_short_line() -> None:
    assert format_cell("a\nb\tc") == "a\\nb\\tc"
    assert len(format_cell("x" * 500)) == 60
    assert format_cell(b"\x00\xff") == "00ff"


def test_rows_as_json_hold_only_what_json_knows() -> None:
    rows = build_table_rows(TABLE)

    assert json.loads(json.dumps(rows, allow_nan=False)) == [
        {"city": "Köln", "n": 1, "share": 0.5, "at": "2024-05-01T12:00:00+00:00"},
        {"city": None, "n": 20, "share": None, "at": "2024-05-01T12:00:00+00:00"},
        {"city": "東京", "n": 300, "share": None, "at": "2024-05-01T12:00:00+00:00"},
    ]


def test_a_table_without_columns_or_rows_is_an_empty_list() -> None:
    assert build_table_rows(TABLE.slice(0, 0)) == []
    assert build_table_rows(pa.table({})) == []


def test_nested_values_and_bytes_become_json() -> None:
    assert build_json_value({"a": [dt.date(2024, 1, 1), b"\x00", {1}]}) == {"a": ["2024-01-01", "AA==", [1]]}


def test_frames_of_other_libraries_are_tables() -> None:
    pandas = pytest.importorskip("pandas")

    found = as_table(pandas.DataFrame({"a": [1, 2]}))

    assert found.to_pydict() == {"a": [1, 2]}
    assert as_table({"a": 1}) is None


def test_a_file_has_the_form_of_its_suffix(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet", "json", "txt"):
        write_value(TABLE, tmp_path / f"out.{suffix}")

    assert pa_csv.read_csv(tmp_path / "out.csv").column("n").to_pylist() == [1, 20, 300]
    assert pq.read_table(tmp_path / "out.parquet").column("city").to_pylist() == ["Köln", None, "東京"]
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))[0]["city"] == "Köln"
    assert (tmp_path / "out.txt").read_text("utf-8").splitlines()[0].split() == ["city", "n", "share", "at"]
    assert len(list(tmp_path.iterdir())) == 4


def test_nested_columns_are_json_in_csv(tmp_path: Path) -> None:
    write_value(pa.table({"a": [[1, 2], None], "b": [1, 2]}), tmp_path / "out.csv")

    assert pa_csv.read_csv(tmp_path / "out.csv").column("a").to_pylist() == ["[1, 2]", ""]


@pytest.mark.parametrize(
    ("value", "name", "content"),
    [("text", "a.txt", "text"), ({"a": 1}, "a.json", '{\n  "a": 1\n}\n'), (b"raw", "a.bin", "raw")],
)
def test_values_that_are_no_tables_are_written_too(
    tmp_path: Path, value: object, name: str, content: str
) -> None:
    write_value(value, tmp_path / name)

    assert (tmp_path / name).read_text("utf-8") == content


def test_a_file_value_is_copied(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")

    write_value(tmp_path / "source", tmp_path / "copy.bin")

    assert (tmp_path / "copy.bin").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("value", "name", "code"),
    [
        (TABLE, "a.xls", "out-suffix-unknown"),
        (TABLE, "a", "out-suffix-unknown"),
        ({"a": 1}, "a.csv", "out-not-a-table"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_and_nothing_written(
    tmp_path: Path, value: object, name: str, code: str
) -> None:
    with pytest.raises(CommandError) as caught:
        write_value(value, tmp_path / name)

    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")

    with pytest.raises(FileNotFoundError):
        write_value(tmp_path / "gone", out)

    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_folder_that_does_not_exist_is_found_before_loading(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="its folder does not exist"):
        require_writable(tmp_path / "no" / "out.csv")
