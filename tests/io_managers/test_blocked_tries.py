"""Marks of blocked tries: written whole, replaced by the next, never in the way when they cannot be read."""

from io_managers.storage.memory import MemoryStorage
from io_managers.versions.blocked import BlockedTries, BlockedTry

CHECK = {"check": "small", "status": "failed", "observed": "7", "expected": "< 5"}


def blocked(partition: str | None, base: int = 0) -> BlockedTry:
    return BlockedTry("raw/orders", partition, base, "00000000000000ff", "run", (CHECK,))


def test_a_mark_comes_back_as_it_was_written() -> None:
    tries = BlockedTries(MemoryStorage(), "main")
    tries.put(blocked("a/../b"))
    tries.put(blocked(None))
    assert tries.read("raw/orders", "a/../b") == blocked("a/../b")
    assert sorted(tries.read_all("raw/orders"), key=str) == sorted(
        [blocked("a/../b"), blocked(None)], key=str
    )
    assert tries.read("raw/orders", "other") is None


def test_the_next_try_of_an_asset_partition_replaces_the_mark() -> None:
    tries = BlockedTries(MemoryStorage(), "main")
    tries.put(blocked("a", base=1))
    tries.put(blocked("a", base=2))
    assert list(tries.read_all()) == [blocked("a", base=2)]


def test_branches_do_not_see_each_others_marks() -> None:
    storage = MemoryStorage()
    BlockedTries(storage, "main").put(blocked("a"))
    assert list(BlockedTries(storage, "other").read_all()) == []


def test_a_mark_that_cannot_be_read_is_left_out() -> None:
    storage = MemoryStorage()
    tries = BlockedTries(storage, "main")
    tries.put(blocked("a"))
    tries.put(blocked("b"))
    path = next(info.path for info in storage.list("blocked") if info.path.endswith("/a.json"))
    storage.put(path, b'{"asset": "raw/orders"')
    assert list(tries.read_all()) == [blocked("b")]
    assert tries.read("raw/orders", "a") is None
