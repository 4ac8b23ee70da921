"""What every store promises, tried on each of them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from io_managers.errors import StorageError
from io_managers.keys import encode_segment
from io_managers.storage.base import ObjectExistsError, ObjectMissingError, Storage
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage
from io_managers.storage.opening import open_storage
from tests.support.servers import S3Root

STRANGE_KEYS = [
    "a/b",
    "..",
    ".",
    "",
    "~",
    "k=v",
    "50%",
    "%2F",
    "\0",
    "\\",
    "ümlaut",
    "日本",
    " ",
    "+",
    "?versionId=1",
    "#",
    "*",
    "x" * 5000,
    "\ud800",
]


def _s3(root: S3Root) -> Storage:
    return open_storage(root.url, options=root.options)


@pytest.fixture(
    params=[
        "local-fsync",
        "local-os",
        "memory",
        pytest.param("moto", marks=pytest.mark.s3),
        pytest.param("seaweed", marks=[pytest.mark.s3, pytest.mark.slow]),
    ]
)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    kind: str = request.param
    if kind == "memory":
        yield MemoryStorage()
    elif kind == "moto":
        yield _s3(request.getfixturevalue("s3_root"))
    elif kind == "seaweed":
        yield _s3(request.getfixturevalue("seaweed_root"))
    else:
        yield LocalStorage(tmp_path / "not" / "yet", durability="fsync" if kind == "local-fsync" else "os")


def paths(storage: Storage, prefix: str = "") -> list[str]:
    return [info.path for info in storage.list(prefix)]


def test_it_is_a_storage(storage: Storage) -> None:
    assert isinstance(storage, Storage)
    assert storage.url.startswith(("file:///", "memory://", "s3://"))


def test_what_was_put_is_read_back_whole(storage: Storage) -> None:
    data = bytes(range(256)) * 300
    storage.put("data/a/x", data)
    assert storage.get("data/a/x") == data
    storage.put("data/a/x", b"shorter")
    assert storage.get("data/a/x") == b"shorter"


def test_put_new_creates_once_and_never_changes_what_is_there(storage: Storage) -> None:
    storage.put_new("log/main/a/1.json", b"first")
    with pytest.raises(ObjectExistsError):
        storage.put_new("log/main/a/1.json", b"second")
    assert storage.get("log/main/a/1.json") == b"first"
    assert paths(storage) == ["log/main/a/1.json"]


def test_put_new_refuses_to_create_an_empty_object(storage: Storage) -> None:
    with pytest.raises(ValueError, match="empty"):
        storage.put_new("a", b"")
    assert storage.head("a") is None


def test_of_sixteen_racing_creators_one_wins(storage: Storage) -> None:
    barrier = threading.Barrier(16)

    def create(path: str, number: int) -> int | None:
        barrier.wait(30)
        try:
            storage.put_new(path, b"%d" % number)
        except ObjectExistsError:
            return None
        return number

    with ThreadPoolExecutor(16) as pool:
        # SeaweedFS lets the losers of a race wait for whole seconds, so remote stores hold one race.
        for race in range(3 if storage.local_path("x") else 1):
            winners = [n for n in pool.map(create, [f"race/{race}"] * 16, range(16)) if n is not None]
            assert len(winners) == 1
            assert storage.get(f"race/{race}") == b"%d" % winners[0]


def test_what_does_not_exist_is_missing_everywhere(storage: Storage) -> None:
    storage.put("data/a/x", b"1")
    for path in ("nothing", "data/nothing/x", "data/a", "data/a/x/below"):
        with pytest.raises(ObjectMissingError):
            storage.get(path)
        with pytest.raises(ObjectMissingError):
            storage.open_read(path)
        assert storage.head(path) is None
        storage.delete(path)
    assert list(storage.list("nothing")) == []
    assert storage.list_names("nothing") == []
    assert storage.get("data/a/x") == b"1"


def test_head_tells_size_and_time_by_the_stores_clock(storage: Storage) -> None:
    before = storage.now()
    storage.put("a", b"12345")
    info = storage.head("a")
    assert info is not None
    assert (info.path, info.size_bytes) == ("a", 5)
    assert before - 2 <= info.modified <= storage.now() + 2


def test_list_is_recursive_and_sorted_by_path(storage: Storage) -> None:
    names = ["d/b", "d/a/x", "d/a-b", "d/a%2Fb/x", "d/B", "d/a/x2/y", "e", "dd/x"]
    for name in names:
        storage.put(name, name.encode())
    assert paths(storage) == sorted(names)
    assert (
        paths(storage, "d") == paths(storage, "d/") == sorted(name for name in names if name.startswith("d/"))
    )
    assert paths(storage, "d/a") == ["d/a/x", "d/a/x2/y"]
    assert {info.path: info.size_bytes for info in storage.list("d/a")} == {"d/a/x": 5, "d/a/x2/y": 8}


def test_list_names_gives_objects_and_folders_of_one_level(storage: Storage) -> None:
    for name in ("d/b", "d/a/x", "d/a/y", "d/a-b", "e"):
        storage.put(name, b"1")
    assert storage.list_names("d") == ["a", "a-b", "b"]
    assert storage.list_names("") == ["d", "e"]
    assert storage.list_names("d/b") == []


def test_delete_removes_and_is_silent_about_the_absent(storage: Storage) -> None:
    storage.put("d/a/x", b"1")
    storage.put("d/b", b"1")
    storage.delete("d/a/x")
    storage.delete("d/a/x")
    assert storage.head("d/a/x") is None
    assert paths(storage) == ["d/b"]
    storage.put_new("d/a/x", b"2")
    assert storage.get("d/a/x") == b"2"


def test_a_streamed_object_appears_whole_and_reads_seekably(storage: Storage) -> None:
    data = bytes(range(256)) * 4000
    with storage.open_write("data/a/p/attempt/part-0.parquet") as stream:
        assert stream.writable()
        assert not stream.seekable()
        assert stream.write(data[:1000]) == 1000
        assert stream.tell() == 1000
        assert stream.write(memoryview(data)[1000:]) == len(data) - 1000
    assert stream.closed
    with storage.open_read("data/a/p/attempt/part-0.parquet") as reader:
        assert reader.seekable()
        reader.seek(-10, 2)
        assert reader.read() == data[-10:]
        reader.seek(123_456)
        assert reader.read(1000) == data[123_456:124_456]
        assert reader.tell() == 124_456
        reader.seek(0)
        assert reader.read() == data


def test_a_streamed_object_may_be_empty(storage: Storage) -> None:
    storage.open_write("empty").close()
    with storage.open_read("empty") as reader:
        assert reader.read() == b""
    info = storage.head("empty")
    assert info is not None
    assert info.size_bytes == 0


def test_an_aborted_stream_leaves_nothing(storage: Storage) -> None:
    stream = storage.open_write("data/a/aborted")
    stream.write(b"x" * 300_000)
    cast(Callable[[], None], stream.abort)()  # type: ignore[attr-defined]
    stream.close()
    with pytest.raises(RuntimeError, match="boom"), storage.open_write("data/a/failed") as stream:
        stream.write(b"x")
        raise RuntimeError("boom")
    stream = storage.open_write("data/a/lost")
    stream.write(b"x")
    del stream
    assert paths(storage) == []
    with pytest.raises(ValueError, match="closed"):
        closed = storage.open_write("data/b")
        closed.close()
        closed.write(b"x")


def test_encoded_keys_of_every_kind_make_the_round_trip(storage: Storage) -> None:
    wanted = {}
    for number, key in enumerate(STRANGE_KEYS):
        path = f"log/main/{encode_segment(key)}/{encode_segment(key)[:150]}.json"
        wanted[path] = b"%d" % number
        storage.put_new(path, wanted[path])
    assert {path: storage.get(path) for path in paths(storage, "log")} == wanted
    assert storage.list_names("log/main") == sorted(encode_segment(key) for key in STRANGE_KEYS)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "../a",
        "a//b",
        "a/",
        "./a",
        "a\0b",
        "a\\b",
        "a/.tmp-1",
        "a\nb",
        "x" * 2000,
    ],
)
def test_a_path_that_could_leave_the_root_is_refused_by_every_call(storage: Storage, path: str) -> None:
    for call in (
        lambda: storage.put_new(path, b"x"),
        lambda: storage.put(path, b"x"),
        lambda: storage.get(path),
        lambda: storage.head(path),
        lambda: storage.delete(path),
        lambda: storage.open_write(path),
        lambda: storage.open_read(path),
        lambda: storage.local_path(path),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.code == "path-unsafe"


@pytest.mark.parametrize("folder", ["/", "/etc", "..", "a/../..", "a//b", "a\0b"])
def test_a_folder_that_could_leave_the_root_is_refused(storage: Storage, folder: str) -> None:
    for listing in (lambda: storage.list(folder), lambda: storage.list_names(folder)):
        if folder != "/":
            with pytest.raises(StorageError, match="path-unsafe"):
                listing()


def test_the_local_path_is_the_file_itself_or_none(storage: Storage) -> None:
    storage.put("d/x", b"here")
    path = storage.local_path("d/x")
    if isinstance(storage, LocalStorage):
        assert path is not None
        assert path.read_bytes() == b"here"
    else:
        assert path is None
