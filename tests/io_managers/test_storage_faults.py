"""The stores that go wrong on purpose, and what a killed process may leave behind."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectInfo, Storage
from io_managers.storage.faults import Call, Faulty, KillAt, Laggy, Recording, SupportsPoints
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage


def broken(call: Call) -> Exception:
    return StorageError("storage-unreachable", f"{call.name} failed.", do="wait.", retryable=True)


def test_the_wrappers_are_storages() -> None:
    inner = MemoryStorage()
    for wrapper in (Recording(inner), Faulty(inner, 0, broken), KillAt(inner, 0), Laggy(inner, 1)):
        assert isinstance(wrapper, Storage)
        assert wrapper.url == inner.url


def test_recording_names_every_call_in_order() -> None:
    storage = Recording(MemoryStorage())
    storage.put_new("a", b"1")
    with storage.open_write("b") as stream:
        stream.write(b"2")
    storage.get("a")
    storage.head("a")
    list(storage.list(""))
    storage.list_names("")
    storage.open_read("b").close()
    storage.put("a", b"3")
    storage.delete("a")
    storage.now()
    names = [
        "put_new",
        "open_write",
        "close",
        "get",
        "head",
        "list",
        "list_names",
        "open_read",
        "put",
        "delete",
        "now",
    ]
    assert [call.name for call in storage.calls] == names
    assert storage.count() == 11
    assert storage.count("put", "put_new") == 2


def test_recording_notes_a_call_that_fails() -> None:
    storage = Recording(MemoryStorage())
    storage.put_new("a", b"1")
    with pytest.raises(ObjectExistsError):
        storage.put_new("a", b"1")
    assert storage.calls == [Call("put_new", "a")] * 2


def test_a_call_fails_before_or_after_its_effect() -> None:
    for when, present in (("before", False), ("after", True)):
        inner = MemoryStorage()
        storage = Faulty(inner, 2, broken, when="after" if when == "after" else "before")
        storage.put_new("a", b"1")
        with pytest.raises(StorageError, match="put_new failed"):
            storage.put_new("b", b"2")
        assert (inner.head("b") is not None) is present
        storage.put_new("c", b"3")
        assert storage.seen == 3


def test_only_calls_of_the_chosen_names_count() -> None:
    storage = Faulty(MemoryStorage(), 1, OSError("gone"), names={"get"})
    storage.put("a", b"1")
    storage.head("a")
    with pytest.raises(OSError, match="gone"):
        storage.get("a")
    assert storage.get("a") == b"1"


def test_a_stream_whose_completion_fails_before_its_effect_leaves_no_object() -> None:
    inner = MemoryStorage()
    storage = Faulty(inner, 1, broken, names={"close"})
    stream = storage.open_write("a")
    stream.write(b"1")
    with pytest.raises(StorageError, match="close failed"):
        stream.close()
    assert stream.closed
    assert inner.head("a") is None


def test_listings_lag_but_reads_do_not() -> None:
    storage = Laggy(MemoryStorage(), 2)
    storage.put_new("d/a", b"1")
    assert storage.get("d/a") == b"1"
    assert [info.path for info in storage.list("d")] == []
    storage.now()
    assert storage.list_names("d") == ["a"]
    storage.delete("d/a")
    assert storage.head("d/a") is None
    assert [info.path for info in storage.list("d")] == ["d/a"]
    storage.now()
    assert list(storage.list("d")) == []


def test_on_any_store_each_call_has_a_point_before_and_after() -> None:
    storage = KillAt(MemoryStorage(), 0)
    storage.put_new("a", b"1")
    storage.get("a")
    assert storage.passed == ["put_new:before", "put_new:after", "get:before", "get:after"]


def test_on_the_local_disk_each_operation_is_a_point(tmp_path: Path) -> None:
    inner = LocalStorage(tmp_path)
    assert isinstance(inner, SupportsPoints)
    storage = KillAt(inner, 0)
    storage.put_new("a/x", b"12")
    made = [
        "open",
        "mkdir",
        "open",
        "write",
        "write-rest",
        "fsync",
        "link",
        "unlink",
        "fsync-folder",
        "fsync-folder",
    ]
    assert storage.passed == made
    storage.passed.clear()
    with storage.open_write("a/y") as stream:
        stream.write(b"12")
    assert storage.passed == ["open", "write", "write-rest", "fsync", "fsync-folder"]


def in_a_child(work: Callable[[], None]) -> int:
    """Run in a forked process and return how it ended: 0, or minus the signal."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def publish(storage: Storage) -> None:
    """What a step does: stage a file, then create the record that names it."""
    with storage.open_write("data/a/p/attempt/part-0") as stream:
        stream.write(b"d" * 1000)
    storage.put_new("log/main/a/p/1.json", b"record" * 100)
    storage.put("hint", b"hint")


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_anywhere_a_record_is_whole_or_absent_and_names_whole_data(tmp_path: Path) -> None:
    counted = KillAt(LocalStorage(tmp_path / "count"), 0)
    publish(counted)
    total = len(counted.passed)
    assert total >= 25
    halves = 0
    for number in range(1, total + 1):
        root = tmp_path / str(number)
        assert in_a_child(lambda: publish(KillAt(LocalStorage(root), number))) == -signal.SIGKILL  # noqa: B023
        seen = {info.path: info for info in LocalStorage(root).list("")}
        assert set(seen) <= {"data/a/p/attempt/part-0", "log/main/a/p/1.json", "hint"}
        halves += "data/a/p/attempt/part-0" in seen and seen["data/a/p/attempt/part-0"].size_bytes < 1000
        if "log/main/a/p/1.json" in seen:
            assert LocalStorage(root).get("log/main/a/p/1.json") == b"record" * 100
            assert seen["data/a/p/attempt/part-0"].size_bytes == 1000
        if "hint" in seen:
            assert LocalStorage(root).get("hint") == b"hint"
        again = LocalStorage(root)
        if "log/main/a/p/1.json" in seen:
            with pytest.raises(ObjectExistsError):
                again.put_new("log/main/a/p/1.json", b"other")
        else:
            again.put_new("log/main/a/p/1.json", b"other")
    assert halves >= 1, "some kills did leave half a data file"


@pytest.mark.faults
def test_the_kill_is_a_kill() -> None:
    assert in_a_child(lambda: KillAt(MemoryStorage(), 1).put("a", b"1")) == -signal.SIGKILL


def test_a_listing_taken_through_a_wrapper_is_whole() -> None:
    storage = Recording(MemoryStorage(clock=lambda: 5.0))
    storage.put("d/a", b"12")
    assert list(storage.list("d")) == [ObjectInfo("d/a", 2, 5.0)]
