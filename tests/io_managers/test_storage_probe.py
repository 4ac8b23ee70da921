"""Stores that break a promise are refused, each with its defect named; honest ones are trusted."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectInfo
from io_managers.storage.faults import Laggy, Recording
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage
from io_managers.storage.probe import MARK_PATH, probe_storage, require_trusted
from io_managers.storage.remote import RemoteStorage
from tests.support.servers import S3Root


class IgnoresConditions(MemoryStorage):
    def put_new(self, path: str, data: bytes) -> None:
        self.put(path, data)


class SaysYesButKeepsTheFirst(MemoryStorage):
    def put_new(self, path: str, data: bytes) -> None:
        if self.head(path) is None:
            self.put(path, data)


class RefusesButOverwrites(MemoryStorage):
    def put_new(self, path: str, data: bytes) -> None:
        taken = self.head(path) is not None
        self.put(path, data)
        if taken:
            raise ObjectExistsError(path)


class InvertsTheCondition(MemoryStorage):
    def put_new(self, path: str, data: bytes) -> None:
        if self.head(path) is None:
            raise ObjectExistsError(path)
        self.put(path, data)


class ChecksThenWrites(MemoryStorage):
    def put_new(self, path: str, data: bytes) -> None:
        if self.head(path) is not None:
            raise ObjectExistsError(path)
        time.sleep(0.005)
        self.put(path, data)


class ReadsOldContent(MemoryStorage):
    def put(self, path: str, data: bytes) -> None:
        if self.head(path) is None:
            super().put(path, data)


class CutsLongObjects(MemoryStorage):
    def put(self, path: str, data: bytes) -> None:
        super().put(path, data[:60_000])


class ConvertsLineEnds(MemoryStorage):
    def get(self, path: str) -> bytes:
        return super().get(path).replace(b"\r\n", b"\n")


class NeverDeletes(MemoryStorage):
    def delete(self, path: str) -> None:
        self.head(path)


class RemembersTheDeleted(MemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self._gone: set[str] = set()

    def delete(self, path: str) -> None:
        super().delete(path)
        self._gone.add(path)

    def put_new(self, path: str, data: bytes) -> None:
        if path in self._gone:
            raise ObjectExistsError(path)
        super().put_new(path, data)


class DecodesNames(MemoryStorage):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in super().list(prefix):
            yield ObjectInfo(info.path.replace("%2F", "/"), info.size_bytes, info.modified)


class ListsByTextPrefix(MemoryStorage):
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter([info for info in super().list("") if info.path.startswith(prefix)])


class LosesTheEndOfStreams(MemoryStorage):
    def open_write(self, path: str) -> BinaryIO:
        stream = super().open_write(path)
        real = stream.write
        written: list[int] = []

        def write(data: bytes) -> int:
            written.append(1)
            return real(data) if len(written) < 4 else len(data)

        stream.write = write  # type: ignore[method-assign, assignment]
        return stream


ZOO: list[tuple[type[MemoryStorage], str]] = [
    (
        IgnoresConditions,
        "ignored the condition of an exclusive create: a second create of the same object replaced",
    ),
    (SaysYesButKeepsTheFirst, "ignored the condition of an exclusive create: .* reported success"),
    (RefusesButOverwrites, "refused a second create of the same object, yet changed the object"),
    (InvertsTheCondition, "refused to create an object that did not exist"),
    (ChecksThenWrites, "of 16 writers that raced to create the same object were told they won"),
    (ReadsOldContent, "returns other bytes .* for an object that was just written"),
    (CutsLongObjects, "60000 instead of 65542"),
    (ConvertsLineEnds, "returns other bytes"),
    (NeverDeletes, "still has an object after deleting it"),
    (RemembersTheDeleted, "refused to create an object again after deleting it"),
    (DecodesNames, "listing lacks 1 of"),
    (ListsByTextPrefix, "not in that folder"),
    (LosesTheEndOfStreams, "90000 instead of 100000"),
]


@pytest.mark.parametrize(("kind", "defect"), ZOO, ids=[kind.__name__ for kind, _ in ZOO])
def test_a_broken_store_is_refused_with_its_defect(kind: type[MemoryStorage], defect: str) -> None:
    storage = kind()
    with pytest.raises(StorageError, match=defect) as caught:
        require_trusted(storage)
    assert (caught.value.code, caught.value.retryable) == ("store-untrusted", False)
    assert storage.url in caught.value.what
    assert storage.head(MARK_PATH) is None


def test_a_store_whose_listings_lag_is_refused() -> None:
    with pytest.raises(StorageError, match="listing lacks"):
        require_trusted(Laggy(MemoryStorage(), 3))


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_the_local_disk_is_trusted_and_nothing_but_the_mark_stays(tmp_path: Path, durability: str) -> None:
    storage = LocalStorage(tmp_path / "root", durability="fsync" if durability == "fsync" else "os")
    require_trusted(storage)
    assert [path.name for path in (tmp_path / "root").iterdir()] == [MARK_PATH]


def test_a_full_probe_reports_every_property(tmp_path: Path) -> None:
    results = probe_storage(MemoryStorage(), rounds=5)
    assert [result.what for result in results] == [
        "read after write",
        "exclusive create",
        "one winner of a race",
        "list after write",
        "streamed write",
        "delete",
        "clock",
    ]
    assert all(result.ok and result.detail and not result.fix for result in results)


def test_the_probe_of_a_broken_store_says_what_to_do_and_goes_on() -> None:
    results = {result.what: result for result in probe_storage(IgnoresConditions(), rounds=2)}
    assert not results["exclusive create"].ok
    assert "conditional writes" in results["exclusive create"].fix
    assert results["list after write"].ok


def test_the_second_opening_costs_one_read() -> None:
    inner = MemoryStorage()
    require_trusted(inner)
    again = Recording(inner)
    require_trusted(again)
    assert [(call.name, call.path) for call in again.calls] == [("get", MARK_PATH)]


@pytest.mark.parametrize("mark", [b"not json", b"[]", b'{"format": 99, "trusted": true}', b"{}"])
def test_a_mark_that_says_nothing_is_replaced_by_a_new_probe(mark: bytes) -> None:
    storage = MemoryStorage()
    storage.put(MARK_PATH, mark)
    require_trusted(storage)
    again = Recording(storage)
    require_trusted(again)
    assert again.count() == 1


def test_a_wrong_clock_is_reported_but_does_not_refuse_the_store() -> None:
    storage = MemoryStorage(clock=lambda: time.time() + 86_400)
    require_trusted(storage)
    clock = probe_storage(storage, rounds=1)[-1]
    assert not clock.ok
    assert "+86,400 s" in clock.detail


def test_a_store_that_cannot_be_reached_is_not_called_untrusted() -> None:
    class Unreachable(MemoryStorage):
        def put(self, path: str, data: bytes) -> None:
            raise StorageError("storage-unreachable", "no answer.", do="wait.", retryable=True)

    with pytest.raises(StorageError) as caught:
        require_trusted(Unreachable())
    assert caught.value.code == "storage-unreachable"


@pytest.mark.s3
def test_moto_is_trusted(s3_root: S3Root) -> None:
    storage = RemoteStorage(s3_root.url, s3_root.options)
    require_trusted(storage)
    require_trusted(storage)
    assert [info.path for info in storage.list("")] == [MARK_PATH]


@pytest.mark.s3
@pytest.mark.slow
def test_seaweed_is_trusted_through_two_sets_of_connections(seaweed_root: S3Root) -> None:
    storage = RemoteStorage(seaweed_root.url, seaweed_root.options)
    results = probe_storage(storage, rounds=1, peer=storage.reconnected())
    assert [result for result in results if not result.ok] == []


@pytest.mark.s3
def test_rclone_is_refused_because_it_ignores_conditions(rclone_root: S3Root) -> None:
    with pytest.raises(StorageError, match="ignored the condition of an exclusive create") as caught:
        require_trusted(RemoteStorage(rclone_root.url, rclone_root.options))
    assert caught.value.code == "store-untrusted"
