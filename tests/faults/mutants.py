"""The protocol with one thing wrong: each mutant replaces a piece of a function's source in a forked process.

A check is a function of a folder that gives the violations it finds; the sound protocol gives none.
"""

import inspect
import json
import os
import shutil
import textwrap
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from assets_core.errors import StateError
from assets_core.state.store import StateStore
from io_managers.errors import StorageError
from io_managers.storage.faults import Faulty
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage
from io_managers.versions.store import Head, SupersededError
from tests.faults import tiny
from tests.faults.records import content_of, publish, stage, versions_in
from tests.faults.stores import Deaf, Halving, lost_answer
from tests.faults.tiny import ASSETS, Job
from tests.support.invariants import check_reports, check_store


@dataclass(frozen=True)
class Mutant:
    """One thing wrong.

    Attributes:
        place: `module:Class.function` or `module:function`.
        old: The piece of source that is replaced; it occurs exactly once.
        check: What must notice it.
    """

    name: str
    place: str
    old: str
    new: str
    check: Callable[[Path], list[str]]

    def apply(self) -> None:
        """Put the changed function in the place of the sound one, for the rest of this process's life."""
        module_name, _, path = self.place.partition(":")
        module = import_module(module_name)
        *owners, name = path.split(".")
        owner: Any = module
        for part in owners:
            owner = getattr(owner, part)
        source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
        if source.count(self.old) != 1:
            raise AssertionError(f"{self.place} has {source.count(self.old)} times {self.old!r}")
        made: dict[str, Any] = {}
        source = "from __future__ import annotations\n" + source.replace(self.old, self.new)
        exec(compile(source, module.__file__ or "", "exec"), module.__dict__, made)
        setattr(owner, name, made[name])


def run_check(check: Callable[[Path], list[str]], folder: Path, mutant: Mutant | None) -> list[str]:
    """What a check finds with a mutant, or without; an error that is no violation in words counts too.

    In the folder the first generation has been materialized soundly.
    """
    tiny.prepare(folder, (1,))
    if mutant is None:
        return check(folder)
    mutant.apply()
    try:
        return check(folder)
    except Exception as error:  # noqa: BLE001 - a mutant may break anything; that it is noticed is what counts
        return [f"{type(error).__name__}: {error}"]


# -- checks ------------------------------------------------------------------------------------------------------


def check_same_base(folder: Path) -> list[str]:
    """Two writers with one base: one wins, the other learns who, nothing is replaced."""
    storage = LocalStorage(folder / "race", durability="os")
    versions = versions_in(storage)
    publish(versions, b"before")
    base = versions.head("things", None)
    first = publish(versions, b"first", base)
    found = []
    try:
        publish(versions, b"second", base)
        found.append("I3 both writers with one base won")
    except SupersededError as signal:
        if signal.winner.commit_id != first.commit_id:
            found.append("I5 the loser names somebody else")
    if content_of(versions) != b"first":
        found.append(f"I4 readers see {content_of(versions)!r}")
    return found + [str(violation) for violation in check_store(storage)]


def check_lost_answer(folder: Path) -> list[str]:
    """A create whose answer is lost is a success."""
    store = MemoryStorage()
    try:
        publish(versions_in(Faulty(store, 1, lost_answer(), when="after", names=["put_new"])), b"mine")
    except (SupersededError, StorageError) as error:
        return [f"I5 reported as {type(error).__name__}, and it is in the chain"]
    return [str(violation) for violation in check_store(store)]


def check_unanswered_create(folder: Path) -> list[str]:
    """A create that never arrived is sent again."""
    store = MemoryStorage()
    mine = publish(versions_in(Faulty(store, 1, lost_answer(), names=["put_new"])), b"mine")
    return (
        [] if content_of(versions_in(store)) == b"mine" else [f"I5 v{mine.seq} was reported and is not there"]
    )


def check_unknown_outcome(folder: Path) -> list[str]:
    """What may have been published keeps its files."""
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
    try:
        versions.publish(draft, Head(0))
    except StorageError:
        staging.discard()
    return [str(violation) for violation in check_store(store)]


def check_torn_head(folder: Path) -> list[str]:
    """A cut record, and one with other content, is not current; the next goes over it."""
    store = MemoryStorage()
    versions = versions_in(store)
    for content in (b"first", b"second"):
        publish(versions, content)
    path = versions.record_path("things", None, 2)
    whole = store.get(path)
    found = []
    for raw in (whole[:-1], whole.replace(b'"rows":null', b'"rows":1234')):
        store.put(path, raw)
        head = versions.head("things", None)
        if head.seq != 2 or head.publication is None or head.publication.seq != 1:
            found.append(f"I1 the head is {head}")
    publish(versions, b"third")
    if content_of(versions) != b"third":
        found.append("I10 nothing can be published over it")
    return found + [str(violation) for violation in check_store(store)]


def check_torn_meanwhile(folder: Path) -> list[str]:
    """A record that is torn after the base was read burns its number."""
    store = MemoryStorage()
    versions = versions_in(store)
    publish(versions, b"first")
    base = versions.head("things", None)
    store.put(versions.record_path("things", None, 2), b'{"format":1')
    mine = publish(versions, b"third", base)
    found = [] if mine.seq == 3 and content_of(versions) == b"third" else [f"I3 v{mine.seq} was published"]
    return found + [str(violation) for violation in check_store(store)]


def check_chain(folder: Path) -> list[str]:
    """Three versions in a row are a chain."""
    store = MemoryStorage()
    for content in (b"a", b"b", b"c"):
        publish(versions_in(store), content)
    return [str(violation) for violation in check_store(store)]


def check_short_file(folder: Path) -> list[str]:
    """A store that silently cuts a file gets nothing published."""
    store = MemoryStorage()
    with suppress(StorageError):
        publish(versions_in(Halving(store, 1, silent=True)), b"content")
    return [str(violation) for violation in check_store(store)]


def check_damaged_file(folder: Path) -> list[str]:
    """A data file that was cut later is never read."""
    store = MemoryStorage()
    versions = versions_in(store)
    path = publish(versions, b"content").files[0].path
    store.put(path, b"cont")
    try:
        return [f"I1 a cut file was read as {content_of(versions)!r}"]
    except StorageError:
        return []


def check_gate(folder: Path) -> list[str]:
    """A failed check keeps data from readers, and from the chain."""
    job = Job(folder, 2, passes=False)
    storage, outcome = tiny.environment(job).storage, tiny.materialize(job)
    found = [str(violation) for violation in check_store(storage, gates=tiny.GATES)]
    found += [str(violation) for violation in check_reports(storage, outcome.reports)]
    seen = tiny.what_is_known(job).seen
    return found + ([] if seen["orders"] == 1 else [f"I2 readers see {seen}"])


def killed_between_publishing_and_recording(folder: Path) -> list[str]:
    """A process of another run publishes and dies; database and log must agree at the next command."""
    job = Job(folder, 2)
    pid = os.fork()
    if not pid:
        StateStore.record = lambda *_: os._exit(1)  # type: ignore[method-assign]
        tiny.materialize(job)
        os._exit(0)
    os.waitpid(pid, 0)
    return tiny.verify(job, dict.fromkeys(ASSETS, 1))


def check_repeated(folder: Path) -> list[str]:
    """The same command computes nothing again, also when the database and the marks of the runs are gone."""
    tiny.drop_state(folder)
    shutil.rmtree(folder / "storage" / "runs")
    found = (
        [] if tiny.what_is_known(Job(folder, 1)).seen == dict.fromkeys(ASSETS, 1) else ["I7 nothing is seen"]
    )
    before = len(tiny.computed(folder))
    tiny.materialize(Job(folder, 1))
    more = tiny.computed(folder)[before:]
    return [*found, f"I10 {more} were computed again"] if more else found


def check_error_while_running(folder: Path) -> list[str]:
    """The database refuses a batch in the middle: what was published is found afterwards."""
    record, calls = StateStore.record, []

    def refuse(self: StateStore, batch: Any) -> None:
        calls.append(batch)
        if len(calls) == 1:
            raise StateError("state-disk", "the disk is full.", do="make room.")
        record(self, batch)

    StateStore.record = refuse  # type: ignore[method-assign]
    job = Job(folder, 2)
    tiny.materialize(job)
    return tiny.verify(job, dict.fromkeys(ASSETS, 1), 0)


def check_marks(folder: Path) -> list[str]:
    """A run that another database carried out is learnt of from its mark."""
    here, elsewhere = Job(folder, 2), Job(folder / "elsewhere", 2)
    elsewhere.folder.mkdir()
    (elsewhere.folder / "storage").symlink_to(folder / "storage")
    tiny.what_is_known(elsewhere)
    tiny.materialize(elsewhere)
    seen = tiny.what_is_known(here).seen
    return [] if seen == dict.fromkeys(ASSETS, 2) else [f"I7 the other database sees {json.dumps(seen)}"]


_STORE, _STAGING = "io_managers.versions.store:VersionStore", "io_managers.versions.staging"
_RECORD, _RUNS = "io_managers.versions.publication:Publication", "io_managers.versions.runs:RunMarks"
_SYNC, _LOCAL = "assets_core.state.sync", "io_managers.storage.local:LocalStorage"
_STEP = "assets_core.engine.step:ProjectStepRunner"

MUTANTS = [
    Mutant(
        "the number comes from a fresh listing",
        f"{_STORE}.publish",
        "seq=base.seq + 1, previous=base.self_hash",
        "seq=self.head(draft.asset, draft.partition).seq + 1, previous=base.self_hash",
        check_same_base,
    ),
    Mutant(
        "a create replaces",
        f"{_STORE}.publish",
        "self.storage.put_new(",
        "self.storage.put(",
        check_same_base,
    ),
    Mutant(
        "a local create replaces",
        f"{_LOCAL}.put_new",
        "os.link(temp, final)",
        "os.replace(temp, final)",
        check_same_base,
    ),
    Mutant(
        "what is there is not read back",
        f"{_STORE}.publish",
        "if found.commit_id == sealed.commit_id:",
        "if False:",
        check_lost_answer,
    ),
    Mutant(
        "whoever is there is taken for us",
        f"{_STORE}.publish",
        "if found.commit_id == sealed.commit_id:",
        "if True:",
        check_same_base,
    ),
    Mutant(
        "an unknown outcome is a failure",
        f"{_STORE}.publish",
        "if trouble is None and not error.retryable",
        "if True or not error.retryable",
        check_lost_answer,
    ),
    Mutant(
        "an unknown outcome is a success",
        f"{_STORE}.publish",
        "            trouble = error\n        else:",
        "            return sealed\n        else:",
        check_unanswered_create,
    ),
    Mutant(
        "files of an unknown outcome are discarded",
        f"{_STAGING}:Staging.discard",
        "if self._attempt_id in self._unsettled:",
        "if False:",
        check_unknown_outcome,
    ),
    Mutant(
        "the record's hash is not verified",
        f"{_RECORD}.from_bytes",
        'or _digest(head + "}") != tail[:64]',
        "",
        check_torn_head,
    ),
    Mutant(
        "a torn record ends the search", f"{_STORE}.head", "continue", "return Head(top)", check_torn_head
    ),
    Mutant(
        "a burnt number is not passed over",
        f"{_STORE}.head",
        "return Head(top, publication.self_hash, publication)",
        "return Head(seq, publication.self_hash, publication)",
        check_torn_head,
    ),
    Mutant(
        "a torn record is replaced",
        f"{_STORE}.publish",
        "sealed, raw = draft.seal(seq=sealed.seq + 1, previous=base.self_hash, commit_id=commit_id)\n",
        "self.storage.put(self.record_path(sealed.asset, sealed.partition, sealed.seq), raw)\n",
        check_torn_meanwhile,
    ),
    Mutant(
        "`previous` is not set",
        f"{_STORE}.publish",
        "seq=base.seq + 1, previous=base.self_hash",
        'seq=base.seq + 1, previous=""',
        check_chain,
    ),
    Mutant(
        "staged files are not verified",
        f"{_STAGING}:Staging.verify",
        "info is None or info.size_bytes != file.size_bytes",
        "False",
        check_short_file,
    ),
    Mutant(
        "sizes are not looked at when reading",
        f"{_STAGING}:StoredFiles._require_whole",
        "info.size_bytes != file.size_bytes",
        "False",
        check_damaged_file,
    ),
    Mutant(
        "the audit is left out",
        f"{_STEP}._audit",
        "checks = self.project.checks_for(asset.key)",
        "return ()",
        check_gate,
    ),
    Mutant(
        "a record is published before the audit",
        f"{_STEP}._audit",
        "source = staging.source()",
        "source = staging.source(); self.versions.publish(_draft(task, staging, manager, None, ()), "
        "self.versions.head(task.asset, task.partition))",
        check_gate,
    ),
    Mutant(
        "no run is marked as begun",
        f"{_RUNS}.open",
        "self._storage.put_new(",
        "(lambda *_: None)(",
        killed_between_publishing_and_recording,
    ),
    Mutant(
        "open runs are not read",
        f"{_SYNC}:synchronize",
        "marks.open_ids()",
        "[]",
        killed_between_publishing_and_recording,
    ),
    Mutant(
        "what open runs published is not adopted",
        f"{_SYNC}:synchronize",
        "[*map(marks.read, done), *waiting.values()]",
        "[*map(marks.read, done)]",
        killed_between_publishing_and_recording,
    ),
    Mutant(
        "runs of dead processes stay open",
        f"{_SYNC}:synchronize",
        "state.interrupt_run(run_id, ended_at)",
        "pass",
        killed_between_publishing_and_recording,
    ),
    Mutant(
        "runs of other databases are not read",
        f"{_SYNC}:synchronize",
        "marks.done_ids()",
        "[]",
        check_marks,
    ),
    Mutant(
        "a new database does not read the log",
        f"{_SYNC}:synchronize",
        "if state.is_new:\n        found = read_log",
        "if False:\n        found = read_log",
        check_repeated,
    ),
    Mutant(
        "a run that broke off closes its mark",
        "assets_core.running:Launcher._break_off",
        "self.state.finish_run(",
        "RunMarks(self.environment.storage).close(RunMarks(self.environment.storage).read(run_id)); self.state.finish_run(",
        check_error_while_running,
    ),
]
