"""From the text of a configuration to a store."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from io_managers.errors import StorageError
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage
from io_managers.storage.opening import open_storage
from io_managers.storage.remote import RemoteStorage


@pytest.mark.parametrize("url", ["data/lake", "file://data/lake", "FILE://data/lake"])
def test_a_relative_folder_begins_at_the_given_root(tmp_path: Path, url: str) -> None:
    storage = open_storage(url, root=tmp_path)
    assert isinstance(storage, LocalStorage)
    assert storage.root == tmp_path / "data" / "lake"
    assert not storage.root.exists()


def test_without_a_root_a_relative_folder_begins_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("lake", durability="os")
    monkeypatch.chdir("/")
    assert isinstance(storage, LocalStorage)
    assert storage.root == tmp_path / "lake"
    assert storage.durability == "os"


def test_a_stores_url_opens_the_same_store(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "a b%20ü#?"))
    storage.put("x", b"1")
    assert open_storage(storage.url).get("x") == b"1"


def test_memory_stores_are_shared_by_name_only() -> None:
    open_storage("memory://shared-by-name").put("x", b"1")
    assert open_storage("memory://shared-by-name").get("x") == b"1"
    first = open_storage("memory://")
    first.put("x", b"1")
    assert isinstance(first, MemoryStorage)
    assert open_storage("memory://").head("x") is None


def test_a_bucket_is_opened_without_asking_it_anything() -> None:
    storage = open_storage("s3://bucket/some/prefix/", options={"endpoint_url": "http://127.0.0.1:1"})
    assert isinstance(storage, RemoteStorage)
    assert storage.url == "s3://bucket/some/prefix"
    assert storage.full_path("a/b") == "bucket/some/prefix/a/b"


@pytest.mark.parametrize("url", ["gs://bucket", "ftp://host/x", "S3A://bucket"])
def test_an_unknown_kind_is_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(StorageError, match=r"file:// .*s3:// and memory://") as caught:
        open_storage(url)
    assert caught.value.code == "storage-scheme-unknown"


@pytest.mark.parametrize("url", ["", "file://", "s3://", "s3:///x", "s3://b/../x", "s3://b?x=1", "a\0b"])
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(url)
    assert caught.value.code in {"storage-url-invalid", "path-unsafe"}


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(StorageError) as caught:
        open_storage("s3://AKIACANARY:canary@bucket/x")
    assert caught.value.code == "storage-url-invalid"
    assert "canary" not in str(caught.value).lower()


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(StorageError, match="endpoint_url") as caught:
        open_storage("s3://bucket", options={"endpoint": "http://127.0.0.1:1"})
    assert caught.value.code == "storage-option-unknown"
    with pytest.raises(StorageError, match="storage-option-unknown"):
        open_storage("data", options={"key": "x"})


def test_a_key_without_its_secret_is_refused() -> None:
    with pytest.raises(StorageError, match="only `key` is set"):
        open_storage("s3://bucket", options={"key": "x"})


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "s3fs" else real(name, *rest)
    )
    with pytest.raises(StorageError) as caught:
        open_storage("s3://bucket")
    assert caught.value.code == "storage-extra-missing"
    assert "pip install 'assetline[s3]'" in caught.value.do


def test_opening_a_folder_loads_no_client_of_an_object_store() -> None:
    script = (
        "import sys; from io_managers.storage.opening import open_storage; open_storage('data');"
        "print(sorted({'fsspec', 's3fs', 'botocore', 'numpy', 'io_managers.storage.remote'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
