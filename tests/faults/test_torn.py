"""A damaged record is never current and stops nobody; a damaged data file is an error, never wrong data."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets_core.errors import AssetlineError
from assets_core.session import Session
from io_managers.errors import StorageError
from io_managers.storage.memory import MemoryStorage
from io_managers.versions.publication import Publication, TornRecordError
from tests.faults import tiny
from tests.faults.forks import ForkServer
from tests.faults.records import content_of, publish, versions_in
from tests.faults.tiny import Job
from tests.support import figures
from tests.support.invariants import check_store


@pytest.fixture
def storage() -> MemoryStorage:
    """A store with two versions of `things`."""
    made = MemoryStorage()
    for content in (b"first", b"second"):
        publish(versions_in(made), content)
    return made


def damage(storage: MemoryStorage, seq: int, content: bytes) -> None:
    storage.put(versions_in(storage).record_path("things", None, seq), content)


def raw_record(storage: MemoryStorage, seq: int) -> bytes:
    return storage.get(versions_in(storage).record_path("things", None, seq))


def test_a_record_cut_at_any_byte_is_never_current_and_readers_keep_the_version_before(
    storage: MemoryStorage,
) -> None:
    raw = raw_record(storage, 2)
    versions = versions_in(storage)
    for length in range(len(raw)):
        damage(storage, 2, raw[:length])
        head = versions.head("things", None)
        assert (head.seq, head.publication and head.publication.seq) == (2, 1)
        assert content_of(versions) == b"first"
    figures.count("torn record: cut", points=len(raw), faults=len(raw))


@pytest.mark.parametrize("length", [0, 1, 100, -2, -1])
def test_the_next_version_goes_over_a_cut_record_and_burns_its_number(
    storage: MemoryStorage, length: int
) -> None:
    damage(storage, 2, raw_record(storage, 2)[:length])
    versions = versions_in(storage)
    first = versions.require("things", None, 1)
    third = publish(versions, b"third")
    assert (third.seq, third.previous) == (3, first.self_hash)
    assert [item.seq for item in versions.history("things", None)] == [1, 3]
    assert check_store(storage) == []


def test_a_record_that_is_torn_after_the_base_was_read_is_gone_over_too(storage: MemoryStorage) -> None:
    versions = versions_in(storage)
    base = versions.head("things", None)
    for seq in (3, 4, 5):
        damage(storage, seq, b'{"format":1')
    assert publish(versions, b"third", base).seq == 6
    assert content_of(versions) == b"third"
    assert check_store(storage) == []


def flipped(raw: bytes) -> Iterator[bytes]:
    for index in range(len(raw)):
        for bit in range(8):
            yield raw[:index] + bytes([raw[index] ^ 1 << bit]) + raw[index + 1 :]


@pytest.mark.slow
@pytest.mark.faults
def test_no_record_with_any_bit_flipped_is_taken_for_whole(storage: MemoryStorage) -> None:
    cases = 0
    for raw in flipped(raw_record(storage, 2)):
        cases += 1
        with pytest.raises(TornRecordError):
            Publication.from_bytes(raw)
    figures.count("torn record: bit flipped", points=cases, faults=cases)


def test_a_record_with_random_bits_flipped_is_never_current(storage: MemoryStorage) -> None:
    raw = raw_record(storage, 2)
    versions = versions_in(storage)
    for seed in range(200):
        content = bytearray(raw)
        content[random.Random(seed).randrange(len(raw))] ^= 1 << seed % 8
        damage(storage, 2, bytes(content))
        assert content_of(versions) == b"first"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"self":"x"}'])
def test_what_is_no_record_at_all_is_torn(content: bytes) -> None:
    with pytest.raises(TornRecordError):
        Publication.from_bytes(content)


@pytest.mark.parametrize("content", [b"", b"x", b"secon", b"second and more"])
def test_a_data_file_of_another_length_is_damaged(storage: MemoryStorage, content: bytes) -> None:
    versions = versions_in(storage)
    head = versions.head("things", None).publication
    assert head is not None
    storage.put(head.files[0].path, content)
    with pytest.raises(StorageError) as caught:
        content_of(versions)
    assert caught.value.code == "data-damaged" and head.files[0].path in caught.value.what


def test_a_data_file_that_is_gone_is_missing(storage: MemoryStorage) -> None:
    versions = versions_in(storage)
    head = versions.head("things", None).publication
    assert head is not None
    storage.delete(head.files[0].path)
    with pytest.raises(StorageError) as caught:
        content_of(versions)
    assert caught.value.code == "data-missing"


def cut_files(folder: Path) -> list[str]:
    """Cut the newest data files everywhere; what reading or computing on them gave that is not an error in words."""
    wrong = []
    tiny.prepare(folder, (1,))
    for path in sorted((folder / "storage" / "data").rglob("*")):
        if not path.is_file():
            continue
        whole, key = path.read_bytes(), path.relative_to(folder / "storage" / "data").parts[0]
        for length in {0, 1, len(whole) // 2, len(whole) - 1, len(whole) + 1}:
            path.write_bytes((whole + b"\0")[:length])
            with Session.open(tiny.make_project(Job(folder, 1)), tiny.environment(Job(folder, 1))) as session:
                try:
                    wrong.append(f"{key} of {length} bytes was read as {session.load(key)}")
                except AssetlineError as error:
                    if error.code != "data-damaged":
                        wrong.append(f"{key} of {length} bytes: {error.code}")
        path.write_bytes(whole)
    return wrong


@pytest.mark.faults
@pytest.mark.slow
def test_a_cut_data_file_of_any_format_is_an_error_and_never_wrong_rows(
    fork: ForkServer, memory_path: Path
) -> None:
    assert fork.call(cut_files, memory_path).value == []


def tear_known_head(folder: Path) -> tuple[str, object, int]:
    """Tear a record that the database knows: what a reader gets, then after a rebuild, then the next version's number."""
    tiny.prepare(folder, (1, 2))
    record = max((folder / "storage" / "log" / "main" / "raw").rglob("*.json"))
    record.write_bytes(record.read_bytes()[:-1])
    job = Job(folder, 2)
    with Session.open(tiny.make_project(job), tiny.environment(job)) as session:
        try:
            first = str(session.load("raw"))
        except AssetlineError as error:
            first = error.code
    tiny.drop_state(folder)
    with Session.open(tiny.make_project(job), tiny.environment(job)) as session:
        second = session.load("raw")
    outcome = tiny.materialize(job)
    return first, second, next(report.seq for report in outcome.reports if report.asset == "raw")


@pytest.mark.faults
@pytest.mark.slow
def test_a_torn_record_that_the_database_knows_is_an_error_until_the_rebuild(
    fork: ForkServer, memory_path: Path
) -> None:
    first, second, seq = fork.call(tear_known_head, memory_path).value
    assert (first, second, seq) == ("record-missing", {"generation": 1}, 3)
