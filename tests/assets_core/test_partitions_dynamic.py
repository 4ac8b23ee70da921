"""Dynamic partitions: the definition, and the log of keys in the storage."""

import datetime as dt
import pickle
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.definition.partitions.dynamic import DynamicPartitions
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.errors import DefinitionError, NotFoundError, StorageError
from assets_core.project.partition_selection import parse_partitions
from io_managers.storage.base import ObjectExistsError
from io_managers.storage.memory import MemoryStorage
from io_managers.versions.partition_keys import PartitionKeys

NOW = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

keys = st.text(min_size=1, max_size=5)
changes = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.lists(keys, max_size=3)), max_size=12)


@pytest.fixture
def storage() -> Iterator[MemoryStorage]:
    yield MemoryStorage()


def paths(storage: MemoryStorage) -> list[str]:
    return [info.path for info in storage.list("partitions")]


def test_a_definition_has_the_keys_that_are_stored() -> None:
    customers = DynamicPartitions("customers")
    assert len(customers) == 0
    assert customers.bounds() == "there are no dynamic partitions yet"
    closed = customers.at(NOW, {"customers": ("b", "a")}.__getitem__)
    assert list(closed.keys()) == ["b", "a"]
    assert customers.at(NOW) is customers
    assert closed == customers.with_keys(["b", "a"]) != customers
    assert closed.signature() == customers.signature() == "dynamic customers"
    assert pickle.loads(pickle.dumps(closed)) == closed
    assert str(parse_partitions("b", closed, None)) == "b"
    assert closed.position_of("c") == StaticPartitions(["c"]).positions()[0]


def test_dynamic_keys_can_be_a_dimension() -> None:
    both = MultiPartitions(c=DynamicPartitions("customers"), r=StaticPartitions(["n", "s"]))
    assert both.dynamic_names() == ("customers",)
    assert len(both) == 0
    closed = both.at(NOW, lambda name: ("x",))
    assert list(closed.keys()) == ["c=x|r=n", "c=x|r=s"]
    assert both.may_hold("c=new|r=n")
    assert both.position_of("c=x|r=s") == closed.positions()[1]


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_name_is_a_text(name: object) -> None:
    with pytest.raises(DefinitionError, match="partitions-name-invalid"):
        DynamicPartitions(name)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(changes)
def test_what_was_added_and_not_removed_is_there_whoever_wrote_it(history) -> None:
    storage = MemoryStorage()
    writers = [PartitionKeys(storage) for _ in range(2)]
    model: dict[str, None] = {}
    for writer, adds, chosen in history:
        stored = PartitionKeys(storage) if writer == 2 else writers[writer]
        if adds:
            change = stored.add("n", chosen)
            assert change.changed == tuple(dict.fromkeys(key for key in chosen if key not in model))
            model.update(dict.fromkeys(chosen))
        else:
            change = stored.remove("n", chosen)
            assert change.changed == tuple(dict.fromkeys(key for key in chosen if key in model))
            for key in chosen:
                model.pop(key, None)
        assert change.keys == tuple(model)
        for reader in (*writers, PartitionKeys(storage)):
            assert reader.read("n") == tuple(model)


def test_what_changes_nothing_writes_nothing(storage: MemoryStorage) -> None:
    stored = PartitionKeys(storage)
    stored.add("n", [])
    stored.remove("n", ["a"])
    assert paths(storage) == []
    stored.add("n", ["a"])
    stored.add("n", ["a"])
    assert paths(storage) == ["partitions/n/00000000000000000001.json"]


def test_names_do_not_leave_the_folder_or_meet(storage: MemoryStorage) -> None:
    stored = PartitionKeys(storage)
    for name in ("../x", "a/b", "a%2Fb", "~"):
        stored.add(name, [name])
    assert [stored.read(name) for name in ("../x", "a/b", "a%2Fb", "~")] == [
        ("../x",),
        ("a/b",),
        ("a%2Fb",),
        ("~",),
    ]
    assert all(path.count("/") == 2 for path in paths(storage))


class Counting(MemoryStorage):
    """Counts what is read."""

    reads = 0

    def get(self, path: str) -> bytes:
        self.reads += 1
        return super().get(path)


def test_a_long_log_is_read_from_its_last_full_record() -> None:
    storage = Counting()
    writer = PartitionKeys(storage)
    for number in range(200):
        writer.add("n", [str(number)])
    storage.reads = 0
    reader = PartitionKeys(storage)
    assert reader.read("n") == tuple(map(str, range(200)))
    assert storage.reads <= 64
    storage.reads = 0
    reader.read("n")
    assert storage.reads == 0


def test_a_torn_record_burns_its_number_and_says_nothing(storage: MemoryStorage) -> None:
    stored = PartitionKeys(storage)
    stored.add("n", ["a"])
    storage.put_new("partitions/n/00000000000000000002.json", b'{"added": ["b')
    assert stored.read("n") == ("a",)
    assert stored.add("n", ["c"]).keys == ("a", "c")
    assert PartitionKeys(storage).read("n") == ("a", "c")
    assert paths(storage)[-1].endswith("3.json")


def test_a_record_that_is_gone_is_an_error_that_names_it(storage: MemoryStorage) -> None:
    stored = PartitionKeys(storage)
    stored.add("n", ["a"])
    stored.add("n", ["b"])
    storage.delete("partitions/n/00000000000000000001.json")
    with pytest.raises(StorageError, match=r"0001\.json does not exist"):
        PartitionKeys(storage).read("n")


class Raced(MemoryStorage):
    """Lets another writer come first."""

    rival: PartitionKeys | None = None
    times = 1

    def put_new(self, path: str, data: bytes) -> None:
        if self.rival is not None and self.times:
            self.times -= 1
            rival, self.rival = self.rival, None
            rival.add("n", [f"rival {self.times}"])
            self.rival = rival
        super().put_new(path, data)


def test_of_two_writers_the_second_folds_its_change_onto_the_first() -> None:
    storage = Raced()
    stored = PartitionKeys(storage)
    stored.add("n", ["a"])
    storage.rival = PartitionKeys(storage)
    assert stored.add("n", ["b"]).keys == ("a", "rival 0", "b")
    storage.times = 1
    change = stored.add("n", ["rival 0", "c"])
    assert change.changed == ("c",)


def test_a_writer_that_is_always_late_gives_up_and_says_so() -> None:
    storage = Raced()
    storage.rival, storage.times = PartitionKeys(storage), 1000
    with pytest.raises(Exception, match="partitions-contended"):
        PartitionKeys(storage).add("n", ["a"])
    assert "a" not in PartitionKeys(storage).read("n")


def test_writers_in_many_threads_lose_nothing(storage: MemoryStorage) -> None:
    def write(number: int) -> None:
        stored = PartitionKeys(storage)
        for step in range(10):
            stored.add("n", [f"{number}.{step}"])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = PartitionKeys(storage).read("n")
    assert sorted(found) == sorted(f"{number}.{step}" for number in range(4) for step in range(10))
    assert [key for key in found if key.startswith("0.")] == [f"0.{step}" for step in range(10)]


def test_a_store_that_has_the_number_twice_is_not_believed(storage: MemoryStorage) -> None:
    stored = PartitionKeys(storage)
    stored.add("n", ["a"])
    with pytest.raises(ObjectExistsError):
        storage.put_new("partitions/n/00000000000000000001.json", b"x")
    with pytest.raises(NotFoundError):
        DynamicPartitions("n").with_keys(stored.read("n")).ordinal("b")
