"""The store on the local disk: exclusivity between processes, durability, full and read-only disks, kills."""

import errno
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError
from io_managers.storage.local import LocalStorage


def temps(root: Path) -> list[str]:
    return [str(path) for path in root.rglob(".tmp-*")]


def _create_many(root: str, number: int, rounds: int, results: "multiprocessing.Queue[list[int]]") -> None:
    storage = LocalStorage(root, durability="os")
    won = []
    for turn in range(rounds):
        try:
            storage.put_new(f"log/main/a/{turn}.json", b"%d" % number)
            won.append(turn)
        except ObjectExistsError:
            pass
    results.put(won)


def test_of_racing_processes_one_wins_each_path(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[list[int]] = context.Queue()
    workers = [context.Process(target=_create_many, args=(str(tmp_path), n, 40, results)) for n in range(4)]
    for worker in workers:
        worker.start()
    won = [turn for _ in workers for turn in results.get(timeout=60)]
    for worker in workers:
        worker.join(60)
    assert sorted(won) == list(range(40))
    assert temps(tmp_path) == []


def test_of_racing_threads_one_wins_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, durability="os")
    barrier = threading.Barrier(16)

    def create(turn: int) -> int:
        barrier.wait(30)
        try:
            storage.put_new(f"deep/new/folder{turn}/x", b"x")
        except ObjectExistsError:
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert [sum(pool.map(create, [turn] * 16)) for turn in range(10)] == [1] * 10
    assert temps(tmp_path) == []


def test_unfinished_files_are_in_no_listing(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("d/x", b"1")
    (tmp_path / "d" / ".tmp-0011-1").write_bytes(b"half")
    assert [info.path for info in storage.list("")] == ["d/x"]
    assert storage.list_names("d") == ["x"]


def test_abandoned_files_are_removed_once_they_are_old(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("d/x", b"1")
    left = tmp_path / "d" / ".tmp-0011-1"
    left.write_bytes(b"half")
    assert storage.delete_abandoned(left.stat().st_mtime) == 0
    assert storage.delete_abandoned(left.stat().st_mtime + 1) == 1
    assert temps(tmp_path) == []
    assert storage.get("d/x") == b"1"


def test_deleting_the_last_object_removes_its_folders_but_not_the_root(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "root")
    storage.put("a/b/c", b"1")
    storage.put("a/d", b"1")
    storage.delete("a/b/c")
    assert storage.list_names("a") == ["d"]
    storage.delete("a/d")
    assert list((tmp_path / "root").iterdir()) == []


def test_writing_goes_on_after_somebody_deleted_the_folders(tmp_path: Path) -> None:
    import shutil

    storage = LocalStorage(tmp_path / "root")
    for number in range(3):
        storage.put_new(f"log/a/p/{number}", b"1")
        stream = storage.open_write(f"data/a/p/{number}/x")
        stream.close()
        shutil.rmtree(tmp_path / "root")
    storage.put_new("log/a/p/9", b"1")
    assert storage.get("log/a/p/9") == b"1"


def test_folders_that_are_pruned_while_others_write_lose_no_object(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, durability="os")

    def churn(number: int) -> int:
        for turn in range(60):
            storage.put_new(f"a/b/{number}-{turn}", b"1")
            storage.open_write(f"a/b/s{number}-{turn}").close()
            storage.delete(f"a/b/{number}-{turn}")
            storage.delete(f"a/b/s{number}-{turn}")
        storage.put_new(f"a/b/{number}-last", b"1")
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(churn, range(4))) == 4
    assert storage.list_names("a/b") == [f"{number}-last" for number in range(4)]


class _Disk:
    """Remembers in which order entries were made and brought to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        self._patch(monkeypatch, "link", lambda source, target: target)
        self._patch(monkeypatch, "mkdir", lambda path, *_: path)
        self._patch(monkeypatch, "fsync", lambda handle: os.readlink(f"/proc/self/fd/{handle}"))

    def _patch(self, monkeypatch: pytest.MonkeyPatch, name: str, subject: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> object:
            result = real(*arguments)
            self.events.append((name, subject(*arguments)))
            return result

        monkeypatch.setattr(os, name, call)

    def entries_not_on_disk(self) -> set[str]:
        """Names whose folder was not synced after they were made."""
        loose: set[str] = set()
        for name, path in self.events:
            if name == "fsync":
                loose = {entry for entry in loose if os.path.dirname(entry) != path}
            else:
                loose.add(path)
        return loose


def test_with_fsync_every_new_entry_is_on_the_disk_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path / "new" / "store")
    disk = _Disk(monkeypatch)
    storage.put_new("log/main/a/p/1.json", b"x")
    assert disk.entries_not_on_disk() == set()
    record = str(tmp_path / "new/store/log/main/a/p")
    assert next(event for event in disk.events if event[0] != "mkdir")[1].startswith(f"{record}/.tmp-"), (
        "the content is on the disk before it has its name"
    )
    with storage.open_write("data/a/p/attempt/x") as stream:
        stream.write(b"x")
    assert disk.entries_not_on_disk() == set()
    assert ("fsync", str(tmp_path / "new/store/data/a/p/attempt/x")) in disk.events
    assert ("fsync", str(tmp_path / "new/store/data/a/p/attempt")) in disk.events
    assert ("fsync", str(tmp_path)) in disk.events


def test_with_fsync_a_folder_made_by_another_process_is_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "log" / "a").mkdir(parents=True)
    disk = _Disk(monkeypatch)
    storage.put_new("log/a/1", b"x")
    synced = {path for name, path in disk.events if name == "fsync"}
    assert {str(tmp_path), str(tmp_path / "log"), str(tmp_path / "log/a")} <= synced
    disk.events.clear()
    storage.put_new("log/a/2", b"x")
    assert sum(name == "fsync" for name, _ in disk.events) == 2, "known folders are not synced again"


def test_with_durability_os_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk(monkeypatch)
    storage = LocalStorage(tmp_path, durability="os")
    storage.put_new("a/b", b"x")
    storage.put("a/c", b"x")
    storage.open_write("a/d").close()
    assert [event for event in disk.events if event[0] == "fsync"] == []


def test_a_folder_that_cannot_be_synced_makes_the_outcome_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path)
    storage.put_new("a/b", b"x")
    calls = []
    real = os.fsync

    def broken(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.EIO, "input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError) as caught:
        storage.put_new("a/c", b"x")
    assert (caught.value.code, caught.value.retryable) == ("outcome-unknown", True)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_an_exclusive_rename_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    storage = LocalStorage(tmp_path)
    storage.put_new("a/b", b"first")
    with pytest.raises(ObjectExistsError):
        storage.put_new("a/b", b"second")
    assert storage.get("a/b") == b"first"
    assert temps(tmp_path) == []


def test_a_file_system_with_neither_links_nor_exclusive_rename_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctypes

    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "operation not supported")

    class NoLibrary:
        def __init__(self, *_: object, **__: object) -> None: ...

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(ctypes, "CDLL", NoLibrary)
    with pytest.raises(StorageError, match="two writers could both win") as caught:
        LocalStorage(tmp_path).put_new("a/b", b"x")
    assert (caught.value.code, caught.value.retryable) == ("exclusive-create-unsupported", False)
    assert temps(tmp_path) == []
    assert not (tmp_path / "a" / "b").exists()


@pytest.mark.parametrize(
    ("number", "code", "retryable"),
    [
        (errno.ENOSPC, "storage-full", False),
        (errno.EDQUOT, "storage-full", False),
        (errno.EFBIG, "file-too-large", False),
        (errno.EROFS, "storage-not-writable", False),
        (errno.EACCES, "storage-not-writable", False),
        (errno.EIO, "storage-io-error", False),
        (errno.ESTALE, "storage-io-error", True),
    ],
)
def test_a_failing_write_says_what_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, retryable: bool
) -> None:
    storage = LocalStorage(tmp_path)
    real = os.write

    def broken(handle: int, data: bytes) -> int:
        real(handle, data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    for write in (
        lambda: storage.put_new("a/b", b"data"),
        lambda: storage.put("a/c", b"data"),
        lambda: (lambda stream: (stream.write(b"data"), stream.close()))(storage.open_write("a/d")),
        lambda: storage.open_write("a/e").write(b"x" * 300_000),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", broken)
            with pytest.raises(StorageError) as caught:
                write()
        assert (caught.value.code, caught.value.retryable) == (code, retryable)
        assert caught.value.do
        assert "a/" in caught.value.what
        assert list(storage.list("")) == []
        assert temps(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_running_out_of_open_files_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", b"1")

    def broken(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", broken)
    for call in (
        lambda: storage.get("a"),
        lambda: storage.put_new("b", b"1"),
        lambda: storage.open_write("c"),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == ("too-many-open-files", True)


def test_a_root_below_a_regular_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    storage = LocalStorage(tmp_path / "file" / "root")
    for write in (lambda: storage.put_new("a", b"1"), lambda: storage.open_write("b"), storage.now):
        with pytest.raises(StorageError) as caught:
            write()
        assert (caught.value.code, caught.value.retryable) == ("storage-not-writable", False)
    assert storage.head("a") is None
    assert list(storage.list("")) == []


def test_a_name_that_is_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        LocalStorage(tmp_path).put_new("a" * 300, b"1")
    assert caught.value.code == "path-too-long"


def test_a_stream_refuses_a_path_that_is_in_use(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", b"1")
    with pytest.raises(StorageError, match="path-taken"):
        storage.open_write("a")
    assert storage.get("a") == b"1"


_OVER_THE_LIMIT = """
import resource, sys
from io_managers.errors import StorageError
from io_managers.storage.local import LocalStorage
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
storage = LocalStorage(sys.argv[1])
def stream(path):
    with storage.open_write(path) as file:
        for _ in range(200):
            file.write(b"x" * 1000)
for write in (lambda: storage.put_new("a/b", b"x" * 200_000), lambda: stream("a/c")):
    try:
        write()
    except StorageError as error:
        print(error.code, error.retryable)
storage.put_new("a/small", b"still works")
print([info.path for info in storage.list("")])
"""


@pytest.mark.faults
def test_a_process_at_its_limit_of_file_size_leaves_no_part(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OVER_THE_LIMIT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["file-too-large False", "file-too-large False", "['a/small']"]
    assert temps(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB, or where none can be mounted a process-wide limit that fails alike."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if mounted:
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.faults
def test_a_full_disk_is_said_plainly_and_what_was_there_stays(tiny_disk: Path) -> None:
    storage = LocalStorage(tiny_disk)
    storage.put_new("log/1", b"kept")
    with pytest.raises(StorageError) as caught:
        storage.put_new("log/2", b"x" * 1_000_000)
    assert caught.value.code in {"storage-full", "file-too-large"}
    with pytest.raises(StorageError) as caught, storage.open_write("data/x") as stream:
        for _ in range(100):
            stream.write(b"x" * 10_000)
    assert caught.value.code in {"storage-full", "file-too-large"}
    assert caught.value.retryable is False
    assert [info.path for info in storage.list("")] == ["log/1"]
    assert temps(tiny_disk) == []
    storage.put_new("log/3", b"room again")
    assert storage.get("log/1") == b"kept"


@pytest.mark.faults
def test_a_read_only_disk_can_be_read_but_not_written(tmp_path: Path) -> None:
    inner = tmp_path / "root"
    LocalStorage(inner).put("a", b"1")
    outer = tmp_path / "view"
    outer.mkdir()
    bound = subprocess.run(["mount", "--bind", str(inner), str(outer)], capture_output=True, check=False)
    if bound.returncode:  # no right to mount: a path that nobody can write says the same
        outer = Path("/proc/assetline")
        storage = LocalStorage(outer)
        with pytest.raises(StorageError):
            storage.put_new("b", b"1")
        return
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(outer)], check=True, capture_output=True)
        storage = LocalStorage(outer)
        assert storage.get("a") == b"1"
        with pytest.raises(StorageError) as caught:
            storage.put_new("b", b"1")
        assert (caught.value.code, caught.value.retryable) == ("storage-not-writable", False)
        with pytest.raises(StorageError, match="storage-not-writable"):
            storage.delete("a")
    finally:
        subprocess.run(["umount", str(outer)], check=True)
