"""From annotations to managers, and plug-ins that are not what they should be."""

import importlib
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypedDict

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from io_managers.errors import AssetlineError, FormatError, NotFoundError
from io_managers.formats.protocol import SupportsConcat
from io_managers.formats.registry import ENTRY_POINT_GROUP, io_manager_name_for, load_io_manager


class _Row(TypedDict):
    x: int


class _Model(BaseModel):
    x: int


_UserId = NewType("_UserId", int)


@pytest.mark.parametrize(
    ("name", "annotation"),
    [
        *[("parquet", kind) for kind in (pd.DataFrame, pa.Table, pa.RecordBatch, pa.RecordBatchReader)],
        *[("parquet", kind) for kind in (pl.DataFrame, pl.LazyFrame, duckdb.DuckDBPyRelation)],
        *[("parquet", kind) for kind in (Iterator[pd.DataFrame], Iterable[pa.RecordBatch])],
        ("parquet", Generator[pd.DataFrame, None, None]),
        ("parquet", dict[str, pd.DataFrame]),
        ("parquet", Annotated[pd.DataFrame, "note"]),
        ("parquet", pd.DataFrame | pl.DataFrame),
        *[("json", kind) for kind in (int, float, bool, list, dict, _Row, _Model, _UserId)],
        *[("json", kind) for kind in (list[int], dict[str, Any], dict[str, list[_Model]], list[int | None])],
        *[
            ("json", kind)
            for kind in (Mapping[str, int], Sequence[str], dict[str, str], int | str, Literal[1, 2])
        ],
        ("text", str),
        ("text", Literal["a", "b"]),
        ("bytes", bytes),
        ("bytes", dict[str, bytes]),
        ("file", Path),
        ("file", dict[str, Path]),
    ],
)
def test_a_return_annotation_picks_its_manager(name: str, annotation: Any) -> None:
    assert io_manager_name_for(annotation) == name


@pytest.mark.parametrize(
    ("code", "annotation"),
    [
        ("annotation-missing", None),
        ("annotation-missing", Any),
        ("annotation-missing", type(None)),
        ("annotation-optional", pd.DataFrame | None),
        ("annotation-optional", int | None),
        ("annotation-unresolved", "pd.DataFrame"),
        ("annotation-unknown", np.ndarray),
        ("annotation-unknown", pd.Series),
        ("annotation-unknown", object),
        ("annotation-unknown", tuple[int, int]),
        ("annotation-unknown", set[int]),
        ("annotation-unknown", list[pd.DataFrame]),
        ("annotation-unknown", list[bytes]),
        ("annotation-unknown", Iterator[int]),
        ("annotation-unknown", pd.DataFrame | str),
        ("json-key-not-text", dict[int, str]),
    ],
)
def test_an_annotation_that_cannot_be_stored_is_refused(code: str, annotation: Any) -> None:
    with pytest.raises(FormatError) as error:
        io_manager_name_for(annotation)
    assert error.value.code == code
    assert error.value.do


def test_an_unknown_annotation_is_shown_as_the_user_wrote_it() -> None:
    with pytest.raises(FormatError, match=r"numpy\.ndarray"):
        io_manager_name_for(np.ndarray)


def test_a_class_of_that_name_in_another_library_is_not_a_table() -> None:
    impostor = type("DataFrame", (), {"__module__": "pandas_like.core"})
    with pytest.raises(FormatError):
        io_manager_name_for(impostor)


@pytest.mark.parametrize("name", ["parquet", "json", "text", "bytes", "file"])
def test_a_built_in_manager_is_loaded_once_under_its_name(name: str) -> None:
    manager = load_io_manager(name)
    assert manager.name == name
    assert load_io_manager(name) is manager


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"'parquett'.*\n.*bytes, file, json.*\n.*'parquet'") as error:
        load_io_manager("parquett")
    assert error.value.code == "io-manager-not-found"


class _Nameless:
    def write(self, value: Any, sink: Any) -> None:
        sink.create("x").close()

    def read(self, source: Any, as_type: Any, columns: Any) -> str:
        return "read"


class _Joining(_Nameless):
    def read_many(self, sources: Any, as_type: Any, columns: Any) -> str:
        return f"{len(sources)} joined"


class _Old:
    def handle_output(self) -> None: ...


def test_an_instance_without_a_name_gets_that_of_its_class() -> None:
    manager = load_io_manager(_Nameless())  # type: ignore[arg-type]
    assert manager.name == "_Nameless"
    assert manager.read(None, None, None) == "read"  # type: ignore[arg-type]
    assert not isinstance(manager, SupportsConcat)
    joining = load_io_manager(_Joining())  # type: ignore[arg-type]
    assert isinstance(joining, SupportsConcat)
    assert joining.read_many([None, None], None, None) == "2 joined"  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", [_Old(), _Nameless, object()])
def test_an_instance_of_the_wrong_shape_is_refused_with_what_is_missing(wrong: Any) -> None:
    with pytest.raises(AssetlineError, match=r"no method 'write'|is a class") as error:
        load_io_manager(wrong)
    assert error.value.code == "plugin-wrong-shape"


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution `acme-delta 0.3.1` with managers good, broken, missing and of the wrong shape."""
    (tmp_path / "acme_delta.py").write_text(
        "loaded = []\n"
        "class Good:\n"
        "    def write(self, value, sink): ...\n"
        "    def read(self, source, as_type, columns): return 'good'\n"
        "class Old:\n"
        "    def handle_output(self): ...\n"
        "class Failing:\n"
        "    def __init__(self): raise OSError('no licence')\n"
        "instance = Good()\n"
    )
    _distribution(tmp_path, "acme_delta", "0.3.1", ["Good", "Old", "Failing", "Absent", "instance"])
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def _distribution(folder: Path, module: str, version: str, attributes: list[str]) -> None:
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n"
    )
    lines = [f"acme-{name.lower()} = acme_delta:{name}" for name in attributes]
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["acme-good", "acme-instance"])
def test_a_plug_in_is_loaded_when_it_is_named(plugins: Path, name: str) -> None:
    manager = load_io_manager(name)
    assert manager.name == name
    assert manager.read(None, None, None) == "good"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "code", "named"),
    [
        ("acme-old", "plugin-wrong-shape", "no method 'write' and no method 'read'"),
        ("acme-old", "plugin-wrong-shape", "handle_output"),
        ("acme-failing", "plugin-broken", "no licence"),
        ("acme-absent", "plugin-broken", "Absent"),
    ],
)
def test_a_faulty_plug_in_is_reported_with_its_distribution(
    plugins: Path, name: str, code: str, named: str
) -> None:
    with pytest.raises(AssetlineError) as error:
        load_io_manager(name)
    assert error.value.code == code
    assert "acme-delta 0.3.1" in error.value.what
    assert named in str(error.value)


def test_two_plug_ins_of_one_name_are_refused_with_both(plugins: Path) -> None:
    _distribution(plugins, "other_delta", "1.0", ["Good"])
    (plugins / "other_delta-1.0.dist-info" / "entry_points.txt").write_text(
        f"[{ENTRY_POINT_GROUP}]\nacme-old = acme_delta:Good\n"
    )
    with pytest.raises(
        AssetlineError, match=r"acme-delta 0\.3\.1 has .*other-delta 1\.0 has|other.*acme"
    ) as error:
        load_io_manager("acme-old")
    assert error.value.code == "plugin-ambiguous"


def test_a_plug_in_does_not_replace_a_built_in_manager(plugins: Path) -> None:
    (plugins / "acme_delta-0.3.1.dist-info" / "entry_points.txt").write_text(
        f"[{ENTRY_POINT_GROUP}]\njson = acme_delta:Old\n"
    )
    assert type(load_io_manager("json")).__name__ == "JsonManager"


@pytest.mark.slow
def test_json_text_bytes_and_files_need_no_heavy_library() -> None:
    script = (
        "import sys\n"
        "from io_managers.formats.registry import io_manager_name_for, load_io_manager\n"
        "from io_managers.formats.loading import load_value\n"
        "from tests.support.format_files import MemoryFiles\n"
        "for value in ({'a': [1]}, 'x', b'x'):\n"
        "    files = MemoryFiles()\n"
        "    manager = load_io_manager(io_manager_name_for(type(value)))\n"
        "    manager.write(value, files)\n"
        "    assert load_value(manager, [(None, files)], type(value)) == value\n"
        "load_io_manager('file'), load_io_manager('parquet')\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'polars', 'duckdb', 'pydantic', 'fsspec'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
