"""JSON, text, bytes and files."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from io_managers.errors import FormatError
from io_managers.formats.files import FileManager
from io_managers.formats.json_values import JsonManager
from io_managers.formats.protocol import SupportsConcat, created
from io_managers.formats.text_and_bytes import BytesManager, TextManager
from tests.support.format_files import FolderFiles, MemoryFiles
from tests.support.profiles import scale

JSON, TEXT, BYTES, FILE = JsonManager(), TextManager(), BytesManager(), FileManager()

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


class Limits(BaseModel):
    low: float
    high: float = Field(alias="top")


class Row(TypedDict):
    name: str


def _through(manager: Any, value: object, as_type: object = None) -> Any:
    files = MemoryFiles()
    manager.write(value, files)
    return manager.read(files, as_type, None)


def _refused(manager: Any, value: object) -> FormatError:
    files = MemoryFiles()
    with pytest.raises(FormatError) as error:
        manager.write(value, files)
    assert files.contents == {}
    assert error.value.do
    return error.value


@settings(max_examples=scale(40))
@given(_JSON.filter(lambda value: value is not None))
def test_a_json_value_comes_back_equal_with_its_types(value: object) -> None:
    back = _through(JSON, value)
    assert back == value
    assert repr(back) == repr(value)


@settings(max_examples=scale(40))
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), _JSON, min_size=2, max_size=4))
def test_the_order_of_keys_is_kept_but_does_not_change_the_data_version(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    files, turned_files = MemoryFiles(), MemoryFiles()
    versions = {JSON.write(value, files).data_version, JSON.write(turned, turned_files).data_version}
    assert len(versions) == 1
    assert list(JSON.read(turned_files, None, None)) == list(turned)


@pytest.mark.parametrize(
    "other", [{"a": [2, 1]}, {"a": [1, 2.0]}, {"a": "1"}, {"b": [1, 2]}, [1, 2], "a", 1, True, 1.0]
)
def test_json_values_that_differ_have_different_data_versions(other: object) -> None:
    versions = [JSON.write(value, MemoryFiles()).data_version for value in ({"a": [1, 2]}, other)]
    assert versions[0] != versions[1]
    assert len(versions[0] or "") == 32


def test_a_json_file_is_compact_utf_8() -> None:
    files = MemoryFiles()
    JSON.write({"name": "Zoë", "n": [1, 2]}, files)
    assert files.contents == {"value.json": '{"name":"Zoë","n":[1,2]}'.encode()}


@pytest.mark.parametrize("manager", [JSON, TEXT, BYTES, FILE], ids=lambda manager: manager.name)
def test_none_is_refused_by_saying_that_the_function_returned_it(manager: Any) -> None:
    error = _refused(manager, None)
    assert error.code == "value-is-none"
    assert "function returned None" in error.what


@dataclasses.dataclass
class _Plain:
    x: int


@pytest.mark.parametrize(
    ("value", "code", "named"),
    [
        (float("nan"), "value-not-json", "value is nan"),
        ({"x": [float("inf")]}, "value-not-json", "value['x'][0] is inf"),
        ({"x": _Plain(1)}, "value-not-json", "_Plain"),
        ({"x": np.int64(1)}, "value-not-json", "numpy.int64"),
        ({"x": {1, 2}}, "value-not-json", "set"),
        ({"x": "\ud800"}, "value-not-json", "surrogates"),
        ({1: "a"}, "json-key-not-text", "1"),
        ([{"a": ({True: 1},)}], "json-key-not-text", "True"),
        ({"x": {None: 1}}, "json-key-not-text", "None"),
    ],
)
def test_what_json_would_change_is_refused_with_the_reason(value: object, code: str, named: str) -> None:
    error = _refused(JSON, value)
    assert error.code == code
    assert named in str(error)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    assert _refused(JSON, value).code == "value-not-json"
    deep: list[object] = []
    for _ in range(20_000):
        deep = [deep]
    assert "nested too deeply" in _refused(JSON, deep).why


def test_models_come_back_as_models_also_inside_lists() -> None:
    limits = Limits(low=1, top=2)
    assert _through(JSON, limits, Limits) == limits
    assert _through(JSON, [limits], list[Limits]) == [limits]
    assert _through(JSON, {"a": limits}, dict[str, Limits]) == {"a": limits}
    assert _through(JSON, limits) == {"low": 1.0, "top": 2.0}


def test_a_model_with_nan_is_refused_instead_of_losing_it() -> None:
    assert _refused(JSON, Limits(low=float("nan"), top=2)).code == "value-not-json"


def test_a_stored_value_that_does_not_fit_the_model_names_the_field() -> None:
    with pytest.raises(FormatError, match=r"first at top: Field required") as error:
        _through(JSON, {"low": 1}, Limits)
    assert error.value.code == "stored-value-differs"


@pytest.mark.parametrize(
    ("value", "as_type"),
    [
        ({"name": "x"}, Row),
        ([1], list[int]),
        ({"a": 1}, dict[str, int]),
        (1, float),
        (True, bool),
        ("x", str),
        (1, int | str),
    ],
)
def test_a_json_value_is_given_as_the_type_it_has(value: object, as_type: object) -> None:
    assert _through(JSON, value, as_type) == value


@pytest.mark.parametrize(
    ("value", "as_type"),
    [([1], dict), ({"a": 1}, list[int]), ("1", int), (1, str), (True, int), (1, bool), ([1], Row)],
)
def test_a_json_value_of_another_type_is_refused_with_both(value: object, as_type: object) -> None:
    with pytest.raises(FormatError, match=type(value).__name__) as error:
        _through(JSON, value, as_type)
    assert error.value.code == "stored-value-differs"


@settings(max_examples=scale(40))
@given(st.text(st.characters(codec="utf-8")))
def test_text_comes_back_with_its_line_ends(text: str) -> None:
    assert _through(TEXT, text, str) == text
    assert _through(TEXT, text + "\r\n\n") == text + "\r\n\n"


@settings(max_examples=scale(40))
@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert _through(BYTES, data, bytes) == data
    assert _through(BYTES, bytearray(data)) == data


def test_text_with_half_a_surrogate_pair_is_refused_with_its_place() -> None:
    error = _refused(TEXT, "ab\udc80")
    assert error.code == "text-not-unicode"
    assert "character 2" in error.what


@pytest.mark.parametrize(
    ("manager", "value"), [(TEXT, b"x"), (BYTES, "x"), (FILE, "/tmp/x")], ids=["text", "bytes", "file"]
)
def test_a_value_of_another_type_is_refused_with_both(manager: Any, value: object) -> None:
    error = _refused(manager, value)
    assert error.code == "value-wrong-type"
    assert type(value).__name__ in error.what


@pytest.mark.parametrize(("manager", "value"), [(TEXT, "x"), (BYTES, b"x")], ids=["text", "bytes"])
def test_a_type_that_is_not_offered_is_answered_with_the_one_that_is(manager: Any, value: object) -> None:
    with pytest.raises(FormatError, match=f"loaded as {type(value).__name__}") as error:
        _through(manager, value, int)
    assert error.value.code == "type-not-offered"


@pytest.mark.parametrize("manager", [JSON, TEXT, BYTES, FILE], ids=lambda manager: manager.name)
def test_columns_of_a_value_that_is_no_table_are_refused(manager: Any) -> None:
    with pytest.raises(FormatError) as error:
        manager.read(MemoryFiles(), None, ["a"])
    assert error.value.code == "columns-of-a-value"


@pytest.mark.parametrize("manager", [JSON, TEXT, BYTES, FILE], ids=lambda manager: manager.name)
def test_values_that_are_no_tables_are_not_joined(manager: Any) -> None:
    assert not isinstance(manager, SupportsConcat)


def test_a_file_of_a_local_store_is_given_itself(tmp_path: Path) -> None:
    taken, store = tmp_path / "report.pdf", tmp_path / "store"
    taken.write_bytes(b"pdf")
    store.mkdir()
    files = FolderFiles(store)
    FILE.write(taken, files)
    taken.unlink()
    assert FILE.read(files, Path, None) == store / "report.pdf"
    assert (store / "report.pdf").read_bytes() == b"pdf"


def test_a_file_of_a_remote_store_is_copied_to_a_place_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x" * (3 << 20))
    files = MemoryFiles()
    FILE.write(tmp_path / "model.bin", files)
    first, second = (FILE.read(files, None, None) for _ in range(2))
    assert first != second
    assert first.name == "model.bin"
    assert first.read_bytes() == second.read_bytes() == b"x" * (3 << 20)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a b/../é.csv".replace("/", "_"), "a_b_..__.csv"),
        (".hidden", "_hidden"),
        ("x" * 200 + ".parquet", "x" * 112 + ".parquet"),
    ],
)
def test_a_file_keeps_its_ending_under_a_name_safe_for_every_store(
    tmp_path: Path, name: str, stored: str
) -> None:
    (tmp_path / name).write_bytes(b"")
    files = MemoryFiles()
    FILE.write(tmp_path / name, files)
    assert files.names == (stored,)


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    assert "no file is there" in _refused(FILE, tmp_path / "gone").what
    assert "it is a folder" in _refused(FILE, tmp_path).what


def test_a_file_version_of_several_files_is_refused_with_their_names() -> None:
    files = MemoryFiles()
    files.contents = {"a": b"", "b": b""}
    with pytest.raises(FormatError, match="a, b") as error:
        FILE.read(files, None, None)
    assert error.value.code == "not-one-file"


def test_a_file_is_completed_at_the_end_of_the_block_and_discarded_by_an_exception() -> None:
    files = MemoryFiles()
    with created(files, "good") as file:
        file.write(b"x")
    with pytest.raises(KeyError), created(files, "bad") as file:
        raise KeyError
    assert files.contents == {"good": b"x"}
    assert files.aborted == ["bad"]


def test_a_sink_without_abort_still_closes_the_file(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    with pytest.raises(KeyError), created(files, "bad") as file:
        raise KeyError
    assert file.closed


@pytest.mark.slow
def test_the_process_removes_its_downloads_when_it_ends(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path\n"
        "from io_managers.formats.files import FileManager\n"
        "from tests.support.format_files import MemoryFiles\n"
        "files = MemoryFiles(); files.contents['a.bin'] = b'x'\n"
        "print(FileManager().read(files, None, None))\n"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_json_of_a_tuple_is_a_list() -> None:
    assert _through(JSON, {"a": (1, 2)}) == json.loads('{"a": [1, 2]}')
