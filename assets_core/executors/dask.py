"""Steps on a Dask cluster: an existing one, or one of our own on this machine.

submit -> backlog -> poll: _dispatch -> worker -> _receive -> _take -> reports
                              ^                      |- Gone -> _bury -> `lost`, what had not begun goes elsewhere
                              `----- TakenBack ------'

Each step is one Dask future that only the worker chosen here may run, so that Dask never runs it again by itself when
that worker dies. What a worker was sent beyond its threads can be taken back as long as it has not begun.
"""

import contextlib
import logging
import math
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Iterable
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from assets_core.engine.executor import Report, StepError, StepOutcome, StepStarted, StepTask, WorkerJob
from assets_core.errors import AssetlineError, ConfigError, WorkerLostError
from assets_core.executors.dask_cluster import LocalDaskCluster
from assets_core.executors.dask_link import (
    Counted,
    DaskLink,
    Gone,
    Joined,
    Message,
    Refused,
    Said,
    TakenBack,
)
from assets_core.executors.dask_options import DaskOptions
from assets_core.executors.dask_work import Place, Work, judged, running_mean, unreadable
from assets_core.executors.reporting import ended, label, step_error, timed_out

if TYPE_CHECKING:
    from distributed import Future

_log = logging.getLogger("assetline")

_LONGEST_WAIT_S = 3600.0
_LOOK_EVERY_S = 0.5
_DOUBTS_AT_MOST = 4
_MOVES_AT_MOST = 3
#: Steps that wait at a worker for this long go to another one that has nothing to do.
_SHARE_AFTER_S = 0.05
#: A worker is sent as many steps ahead as it takes to keep it busy for this long: a round trip and more.
_BUSY_FOR_S = 0.03
_DEPTH_AT_LEAST, _DEPTH_AT_MOST = 2, 16
_ABANDONED = (
    "its code may go on until it is back in Python; it will not publish, or what it publishes is a version."
)


class DaskExecutor:
    """Runs steps on the workers of a Dask cluster, as many at once as they have threads.

    Args:
        job: Where workers find project and environment.
        workers: Number of worker processes of a cluster of our own; an existing cluster has its own number.
        options: Which cluster, and what a step takes of its resources.
        opener: `module:function` that makes a worker's `StepRunner` from the job.
        grace_s: How long a step that is stopped may take to clean up before it is given up.

    Raises:
        ConfigError: The scheduler cannot be reached, has no suitable worker, or a worker has other versions.
        PluginError: A cluster of our own cannot be started.
    """

    def __init__(
        self,
        job: WorkerJob,
        workers: int,
        options: DaskOptions | None = None,
        *,
        opener: str = "assets_core.executors.dask_site:open_checked_runner",
        grace_s: float = 2.0,
    ) -> None:
        self._options = options or DaskOptions()
        self._needs = dict(self._options.resources)
        self._grace_s = grace_s
        self._numbers = count(1)
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._places: dict[str, Place] = {}
        self._by_token: dict[str, Place] = {}
        self._live: dict[tuple[int, int], Work] = {}
        self._timed: set[Work] = set()
        self._backlog: deque[Work] = deque()
        self._reports: list[Report] = []
        self._mean_s: float | None = None
        self._looked_at = time.monotonic()
        self._starved_since: float | None = None
        self._summons: Future[Any] | None = None
        self._gone: StepError | None = None
        self._is_closing = False
        self._cluster: LocalDaskCluster | None = None
        address = self._options.address
        if address is None:
            amounts = {**dict.fromkeys(self._options.labels, 1.0), **self._needs}
            self._cluster = LocalDaskCluster(workers, amounts)
            address = self._cluster.address
        try:
            self._link = DaskLink(address, job, opener, self._inbox)
        except BaseException:
            self._end_cluster(kill=True)
            raise
        try:
            self._await_workers(workers if self._cluster is not None else 1)
        except BaseException:
            self.close(kill=True)
            raise

    @property
    def capacity(self) -> int:
        """For each thread of the cluster the step it runs and those that wait at its worker, more the shorter they are."""
        return max(1, sum(place.n_slots for place in self._places.values()) * self._depth)

    def submit(self, task: StepTask) -> None:
        """Keep the step until the next `poll` sends all that were submitted."""
        work = self._live[task.step, task.attempt] = Work(next(self._numbers), task)
        self._backlog.append(work)

    def poll(self, timeout_s: float) -> list[Report]:
        """Reports that have arrived, waiting up to `timeout_s` for the first."""
        end = time.monotonic() + min(timeout_s, _LONGEST_WAIT_S)
        while True:
            self._dispatch()
            self._receive(0.0 if self._reports else max(0.0, min(end, self._next_look()) - time.monotonic()))
            self._look_after()
            if self._reports or time.monotonic() >= end:
                self._dispatch()
                reports, self._reports = self._reports, []
                return reports

    def cancel(self, step: int, attempt: int) -> None:
        """Take the step back, or interrupt it in its worker."""
        work = self._live.get((step, attempt))
        if work is None or work.verdict is not None:
            return
        if work.place is None:
            self._backlog.remove(work)
            self._end(work, ended(work.task, "cancelled", None))
        else:
            self._stop(work.place, work, ended(work.task, "cancelled", work.began))

    def close(self, *, kill: bool = False) -> None:
        """Let the workers go after their current steps; with `kill` interrupt these and do not wait."""
        self._is_closing = True
        self._backlog.clear()
        for place in self._places.values():
            if not kill and (unbegun := place.unbegun()):
                self._ask_back(place, unbegun)
        while not kill and any(place.works for place in self._places.values()) and self._gone is None:
            self._receive(max(0.0, self._next_look() - time.monotonic()))
            self._look_after()
        tokens = {place.address: place.token for place in self._places.values()}
        self._link.say_goodbye(tokens, interrupt=kill)
        self._summons = None
        self._live.clear()
        self._timed.clear()
        self._link.close()
        self._end_cluster(kill=kill)
        self._places.clear()
        self._by_token.clear()

    # ------------------------------------------------------------------ steps out

    @property
    def _depth(self) -> int:
        """How many steps a thread is given at once."""
        if self._mean_s is None:
            return _DEPTH_AT_LEAST
        ahead = math.ceil(_BUSY_FOR_S / max(self._mean_s, 1e-6))
        return min(max(1 + ahead, _DEPTH_AT_LEAST), _DEPTH_AT_MOST)

    def _dispatch(self) -> None:
        """Send waiting steps where fewest wait; one message a worker, however many they are."""
        if not self._backlog or self._is_closing or self._gone is not None:
            return
        batches: dict[str, list[Work]] = {}
        for level in range(1, self._depth + 1):
            for place in self._places.values():
                room = min(level * place.n_slots - len(place.works), len(self._backlog))
                for _ in range(room):
                    work = self._backlog.popleft()
                    place.works[work.number] = work
                    batches.setdefault(place.address, []).append(work)
        for address, works in batches.items():
            self._send(self._places[address], works)

    def _send(self, place: Place, works: list[Work]) -> None:
        tasks = [(work.number, work.task) for work in works]
        floor = min(place.works)
        now = time.monotonic()
        try:
            futures = self._link.send(place.address, place.token, floor, tasks, self._needs)
        except Exception as cause:  # noqa: BLE001 - the client has closed itself, in one of several ways
            self._lose_all(f"{type(cause).__name__}: {cause}")
            return
        for work, future in zip(works, futures, strict=True):
            work.place, work.future, work.sent_at = place, future, now

    def _ask_back(self, place: Place, works: Iterable[Work], *, interrupt: bool = False) -> None:
        numbers = [work.number for work in works]
        place.is_asked = place.is_asked or not interrupt
        self._link.ask_back(place.address, place.token, numbers, interrupt=interrupt)

    def _stop(self, place: Place, work: Work, verdict: StepOutcome) -> None:
        """End a step in its worker; an outcome that is on its way counts more than the verdict."""
        work.verdict = verdict
        work.give_up_at = time.monotonic() + self._grace_s
        self._timed.add(work)
        self._ask_back(place, [work], interrupt=True)

    # ------------------------------------------------------------------ messages in

    def _receive(self, wait_s: float) -> None:
        try:
            self._take(self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait())
            while True:
                self._take(self._inbox.get_nowait())
        except Empty:
            return

    def _take(self, message: Message) -> None:
        match message:
            case Said(token, reports):
                place = self._by_token.get(token)
                for number, data in reports if place is not None else ():
                    self._hear(place, number, data)  # type: ignore[arg-type]  # not None: there would be no reports
            case TakenBack(token, _, taken):
                if (place := self._by_token.get(token)) is not None:
                    self._take_home(place, taken)
            case Joined(address, token, says):
                self._admit(address, token, says)
            case Gone(address):
                if (place := self._places.pop(address, None)) is not None:
                    self._bury(place)
            case Refused(_, error):
                _log.warning("%s", error)
            case Counted():
                pass

    def _hear(self, place: Place, number: int, data: bytes) -> None:
        work = place.works.get(number)
        try:
            report: Report = pickle.loads(data)
        except Exception as cause:  # noqa: BLE001 - unpickling runs the code of whatever was sent
            if work is None:
                return
            report = unreadable(work, cause)
        if isinstance(report, StepOutcome):
            place.given_up.discard(number)
            if work is not None:
                self._mean_s = running_mean(self._mean_s, report.duration_s)
                self._end(work, judged(work, report))
        elif work is not None:
            if isinstance(report, StepStarted):
                work.began = time.monotonic()
                if work.task.timeout_s is not None:
                    self._timed.add(work)
            self._reports.append(report)

    def _take_home(self, place: Place, taken: tuple[int, ...] | None) -> None:
        place.is_asked = False
        for number in reversed(taken or ()):
            work = place.works.get(number)
            if work is None:
                continue
            if self._is_closing or work.verdict is not None:
                self._end(work, ended(work.task, "cancelled", None))
            else:
                self._requeue(work)

    def _requeue(self, work: Work) -> None:
        if work.place is not None:
            work.place.works.pop(work.number, None)
        work.place, work.future, work.number, work.doubts = None, None, next(self._numbers), 0
        self._backlog.appendleft(work)

    def _end(self, work: Work, outcome: StepOutcome) -> None:
        if work.place is not None:
            work.place.works.pop(work.number, None)
        work.future = None  # forgotten by Dask too
        self._timed.discard(work)
        self._live.pop((work.task.step, work.task.attempt), None)
        self._reports.append(outcome)

    # ------------------------------------------------------------------ what goes wrong

    def _next_look(self) -> float:
        """When to look after things though nothing has arrived."""
        dues = [work.due for work in self._timed]
        wait_s = _LOOK_EVERY_S
        if any(not place.works and place.n_slots for place in self._places.values()):
            wait_s = (
                _SHARE_AFTER_S if any(len(place.works) > 1 for place in self._places.values()) else wait_s
            )
        return min([time.monotonic() + wait_s, *dues])

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._gone is not None or not self._link.is_open:
            self._lose_all("the connection to it broke.")
        for work in [work for work in self._timed if work.due <= now]:
            self._overdue(work)
        self._share_out(now)
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._doubt()
            self._mind_starvation(now)

    def _overdue(self, work: Work) -> None:
        place = work.place
        if place is None:
            return
        if work.verdict is None:
            verdict = timed_out(work.task, work.began or 0.0, left=_ABANDONED)
            self._stop(place, work, verdict)
            return
        self._end(work, work.verdict)
        if work.began is not None:
            place.given_up.add(work.number)
            if self._cluster is not None:  # ours alone, one thread: end it, and another one comes
                with contextlib.suppress(ProcessLookupError):
                    os.kill(place.pid, signal.SIGKILL)

    def _share_out(self, now: float) -> None:
        """When a worker has nothing to do, let it have what waits at another one that is busy."""
        if self._backlog or self._is_closing:
            return
        room = sum(place.n_slots for place in self._places.values() if not place.works)
        if not room:
            return
        for place in self._places.values():
            if place.is_asked or len(place.works) <= 1:
                continue
            late = [work for work in place.unbegun() if now - work.sent_at > _SHARE_AFTER_S]
            if late and any(work.began is not None for work in place.works.values()):
                self._ask_back(place, late[-room:])

    def _doubt(self) -> None:
        """Settle steps whose futures Dask has ended in its own way: cancelled, failed, or without a word."""
        for work in list(self._live.values()):
            future = work.future
            work.doubts = work.doubts + 1 if future is not None and future.status != "pending" else 0
            if future is None or work.doubts < _DOUBTS_AT_MOST:
                continue
            why = f"Dask says that its future is {future.status}."
            if future.status == "error":
                cause = future.exception(timeout=1)  # type: ignore[no-untyped-call]
                why = f"Dask reports {type(cause).__name__}: {cause}"
            self._end(work, work.verdict or self._lost(work, why, "look at the log of the Dask worker."))

    def _bury(self, place: Place) -> None:
        """A worker has gone: settle the steps that it had begun, and let others have those it had not."""
        del self._by_token[place.token]
        for work in reversed(list(place.works.values())):
            if work.verdict is not None:
                self._end(work, work.verdict)
            elif work.began is None and work.moves < _MOVES_AT_MOST and not self._is_closing:
                work.moves += 1
                self._requeue(work)
            else:
                why = f"the scheduler has lost the Dask worker at {place.address} (process {place.pid})."
                do = "look at that worker's log: out of memory, a crash in native code, or its machine is gone."
                self._end(work, self._lost(work, why, do))

    def _lose_all(self, why: str) -> None:
        """The scheduler has gone, and with it every step."""
        if self._gone is None:
            error = WorkerLostError(
                "dask-scheduler-lost",
                f"the Dask scheduler at {self._link.address} has gone.",
                why=why,
                do="start it again, then run the command again.",
                left="steps that ran may still publish; the next run finds what they published.",
            )
            self._gone = step_error(error, retryable=False)
        self._backlog.clear()
        for work in list(self._live.values()):
            self._end(work, ended(work.task, "lost", work.began, self._gone))

    def _lost(self, work: Work, why: str, do: str) -> StepOutcome:
        error = WorkerLostError(
            "worker-lost",
            f"the Dask worker that had {label(work.task)} did not bring it to an end.",
            why=f"{why} Attempt {work.task.attempt} had run for "
            f"{time.monotonic() - (work.began or time.monotonic()):.1f} s.",
            do=do,
            left="no version was published, or it was and the next attempt will find it.",
        )
        return ended(work.task, "lost", work.began, step_error(error))

    # ------------------------------------------------------------------ workers

    def _admit(self, address: str, token: str, says: dict[str, Any]) -> None:
        """A worker has joined: it runs as many steps as its threads and its resources allow."""
        has: dict[str, float] = says["resources"]
        if any(name not in has for name in (*self._needs, *self._options.labels)):
            return
        threads = min([says["threads"], *(int(has[name] / amount) for name, amount in self._needs.items())])
        if threads >= 1:
            place = Place(address, token, threads, says["pid"])
            self._places[address] = self._by_token[token] = place

    def _await_workers(self, wanted: int) -> None:
        """Wait until the workers that the scheduler knows have joined, and at least one that suits."""
        n_known, n_answers = None, 0
        deadline = time.monotonic() + self._options.wait_s
        while n_known is None or n_answers < n_known or len(self._places) < wanted:
            wait_s = deadline - time.monotonic()
            if wait_s <= 0 and self._places:
                return
            if not self._link.is_open:
                self._lose_all("the connection to it broke.")
            if wait_s <= 0 or self._gone is not None:
                raise self._no_workers(n_known or 0)
            with contextlib.suppress(Empty):
                message = self._inbox.get(timeout=min(wait_s, _LOOK_EVERY_S))
                if isinstance(message, Refused):
                    raise message.error
                n_answers += isinstance(message, Joined)
                if isinstance(message, Counted):
                    n_known = message.workers
                    if n_answers >= n_known and not self._places and self._summons is None:
                        self._summons = self._link.summon(self._needs)
                self._take(message)
        self._summons = None

    def _mind_starvation(self, now: float) -> None:
        """Steps wait and there is no worker: call for one, and do not wait for ever."""
        if not self._backlog or any(place.n_slots for place in self._places.values()):
            self._starved_since = self._summons = None
            return
        if self._starved_since is None:
            self._starved_since = now
            self._summons = self._link.summon(self._needs)
        elif now - self._starved_since > self._options.wait_s:
            error = step_error(self._no_workers(len(self._places)))
            for work in list(self._backlog):
                self._end(work, ended(work.task, "lost", None, error))
            self._backlog.clear()

    def _no_workers(self, n_known: int) -> AssetlineError:
        needs = [f"{name}={amount:g}" for name, amount in self._needs.items()] + list(self._options.labels)
        return ConfigError(
            "dask-no-workers",
            f"the Dask cluster at {self._link.address} has no worker for the steps.",
            why=f"{n_known} workers are known; after {self._options.wait_s:g} s none "
            + (f"has {', '.join(needs)}." if needs else "was free."),
            do="start workers (`dask worker ADDRESS"
            + (f' --resources "{" ".join(needs)}"' if needs else "")
            + "`), or correct the executor's settings.",
        )

    def _end_cluster(self, *, kill: bool) -> None:
        if self._cluster is not None:
            self._cluster.close(kill=kill)
            self._cluster = None
