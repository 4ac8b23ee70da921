"""A store that fails at any one request: what is reported is what is in the chain, and the same command converges."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from assets_core.project.environment import Environment
from assets_core.session import Session
from io_managers.errors import StorageError
from io_managers.storage.base import Storage
from io_managers.storage.faults import Faulty
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage
from io_managers.versions.store import Head, SupersededError, VersionStore
from tests.faults import tiny
from tests.faults.records import content_of, never_sleep, publish, stage, versions_in
from tests.faults.stores import Deaf, Halving, lasting_trouble, lost_answer, passing_trouble
from tests.faults.tiny import ASSETS, Collector, Job, Outcome
from tests.support import figures
from tests.support.invariants import Report, check_reports, check_store, read_chains
from tests.support.projects import memory_environment

Wrap = Callable[[Storage, int], "Faulty | Halving"]

_WRITES = ("put_new", "put", "close", "delete")
KINDS: dict[str, Wrap] = {
    "busy": lambda inner, number: Faulty(inner, number, passing_trouble()),
    "refused": lambda inner, number: Faulty(inner, number, lasting_trouble()),
    "answer lost": lambda inner, number: Faulty(inner, number, lost_answer(), when="after", names=_WRITES),
    "half, answer lost": Halving,
    "half, silent": lambda inner, number: Halving(inner, number, silent=True),
}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = VersionStore.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "sleep", never_sleep)


def run(job: Job, environment: Environment) -> tuple[Outcome, bool]:
    """Carry a job out, and say whether it raised."""
    collector = Collector(job.folder)
    try:
        with Session.open(tiny.make_project(job), environment, read_only=True) as session:
            result = session.materialize(observer=collector)
    except StorageError as error:
        return Outcome(error.code, tuple(collector.reports.values()), collector.errors, text=str(error)), True
    return Outcome(result.status, tuple(collector.reports.values()), collector.errors), False


def told(outcome: Outcome) -> Iterator[Report]:
    """What was reported, but for what was said to be unknown."""
    for report in outcome.reports:
        if outcome.errors[report.asset] != "outcome-unknown":
            yield report


def violations_of_one_fault(store: Storage, wrapped: Storage, folder: Path) -> list[str]:
    """Materialize with the fault, compare what was said with the chain, then again without and compare once more."""
    job = Job(folder, 1)
    environment = memory_environment()
    environment._storage = wrapped
    outcome, raised = run(job, environment)
    found = [str(violation) for violation in check_reports(store, told(outcome))]
    published = {key for (key, _), chain in read_chains(store).items() if chain.valid}
    if raised and published:
        found.append(f"I5 the command raised {outcome.text} after it had published {published}")
    if outcome.ended_well != (published == set(ASSETS)):
        found.append(f"I14 the command ended {outcome.status}; published is {published}")
    done = len(tiny.computed(folder))
    environment._storage = store
    again, _ = run(job, environment)
    if not again.ended_well:
        found.append(f"I10 the same command ended {again.status} {again.text} {again.errors}")
    repeated = {line.split()[0] for line in tiny.computed(folder)[done:]} & published
    if repeated:
        found.append(f"I10 {repeated} were computed again")
    found += [str(violation) for violation in check_reports(store, again.reports)]
    found += [str(violation) for violation in check_store(store)]
    with Session.open(tiny.make_project(job), environment, read_only=True) as session:
        seen = tiny.visible(session)
    if seen != dict.fromkeys(ASSETS, 1):
        found.append(f"I1 readers see {seen} in the end")
    return found


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["memory", "local"])
def test_one_fault_at_any_request_is_reported_as_it_is_and_repaired_by_the_same_command(
    kind: str, place: str, memory_path: Path
) -> None:
    broken, number = [], 0
    while True:
        number += 1
        folder = memory_path / str(number)
        folder.mkdir()
        store = MemoryStorage() if place == "memory" else LocalStorage(folder / "storage", durability="os")
        wrapped = KINDS[kind](store, number)
        found = violations_of_one_fault(store, wrapped, folder)
        if wrapped.seen < number:
            break
        broken += [f"{kind} at request {number}: {violation}" for violation in found]
    points = number - 1
    figures.count(f"one fault: {kind}", points=points, faults=points, violations=len(broken))
    assert broken == []
    assert points > 2


def test_a_lost_answer_is_a_success() -> None:
    store = MemoryStorage()
    versions = versions_in(Faulty(store, 1, lost_answer(), when="after", names=["put_new"]))
    assert publish(versions, b"mine").seq == 1
    assert check_store(store, max_garbage_attempts=0) == []


@pytest.mark.parametrize("lost", range(1, 7))
def test_a_create_that_fails_several_times_is_tried_again_under_the_same_commit(lost: int) -> None:
    class Failing(Faulty):
        def around(self, call: object, action: Callable[[], object]) -> object:  # type: ignore[override]
            if getattr(call, "name", "") == "put_new" and self.seen < lost:
                self.seen += 1
                raise passing_trouble()
            return action()

    store = MemoryStorage()
    assert publish(versions_in(Failing(store, 0, passing_trouble())), b"mine").seq == 1
    assert check_store(store) == []


def test_a_client_that_hides_its_second_try_is_read_back() -> None:
    """Its create took place, the answer was lost, its own second try found the object there."""

    class Retrying(Faulty):
        def put_new(self, path: str, data: bytes) -> None:
            self.inner.put_new(path, data)
            self.inner.put_new(path, data)

    store = MemoryStorage()
    assert publish(versions_in(Retrying(store, 0, lost_answer())), b"mine").seq == 1


def test_an_outcome_that_stays_unknown_is_called_so_and_keeps_the_files_of_what_was_published() -> None:
    store = MemoryStorage()
    versions = versions_in(Deaf(store, "log/"))
    staging = versions.stage("things", None)
    with staging.create("value.bin") as stream:
        stream.write(b"mine")
    draft = replace(
        stage(versions_in(MemoryStorage()), b"mine"),
        attempt_id=staging.folder.rpartition("/")[2],
        files=tuple(staging.files),
    )
    with pytest.raises(StorageError) as caught:
        versions.publish(draft, Head(0))
    assert caught.value.code == "outcome-unknown" and caught.value.retryable
    staging.discard()
    assert content_of(versions_in(store)) == b"mine"
    assert check_store(store) == []


@pytest.mark.parametrize("trouble", [lasting_trouble, passing_trouble])
def test_an_error_while_reading_back_never_hides_what_may_have_been_published(
    trouble: Callable[[], StorageError],
) -> None:
    class Unreadable(Faulty):
        def put_new(self, path: str, data: bytes) -> None:
            self.inner.put_new(path, data)
            raise lost_answer()

        def get(self, path: str) -> bytes:
            raise trouble()

    store = MemoryStorage()
    versions = versions_in(Unreadable(store, 0, lost_answer()))
    draft = stage(versions, b"mine")
    with pytest.raises(StorageError) as caught:
        versions.publish(draft, Head(0))
    assert caught.value.code == "outcome-unknown"


def test_a_create_that_is_refused_at_once_is_a_plain_failure_and_its_files_may_go() -> None:
    store = MemoryStorage()
    versions = versions_in(Faulty(store, 1, lasting_trouble(), names=["put_new"]))
    staging = versions.stage("things", None)
    with staging.create("value.bin") as stream:
        stream.write(b"mine")
    draft = replace(stage(versions, b"x"), attempt_id=staging.folder.rpartition("/")[2])
    with pytest.raises(StorageError) as caught:
        versions.publish(draft, Head(0))
    assert caught.value.code == "storage-full"
    staging.discard()
    assert store.head(f"{staging.folder}/value.bin") is None


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_whose_outcome_stays_unknown_says_so_and_the_next_one_takes_the_version_up(
    tmp_path: Path,
) -> None:
    store = MemoryStorage()
    environment = memory_environment()
    environment._storage = Deaf(store, "log/main/orders")
    outcome, raised = run(Job(tmp_path, 1), environment)
    assert not raised and not outcome.ended_well
    assert outcome.errors["orders"] == "outcome-unknown"
    assert check_store(store) == []
    environment._storage = store
    again, _ = run(Job(tmp_path, 1), environment)
    assert again.ended_well
    assert tiny.computed(tmp_path).count("orders 1") == 1


def test_the_loser_of_a_lost_answer_names_the_winner() -> None:
    store = MemoryStorage()
    base = versions_in(store).head("things", None)
    winner = publish(versions_in(store), b"theirs", base)
    late = versions_in(Faulty(store, 1, lost_answer(), when="before", names=["put_new"]))
    with pytest.raises(SupersededError) as caught:
        publish(late, b"mine", base)
    assert caught.value.winner.commit_id == winner.commit_id
    assert content_of(versions_in(store)) == b"theirs"
