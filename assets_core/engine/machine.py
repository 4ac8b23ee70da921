"""The scheduler: every decision of a run, without clock, I/O or threads.

`RunMachine` is told what happened (`start`, `on`) and answers with what to do. The runner feeds it and
carries out its commands; the simulator does the same in virtual time. The states of a step:

    state       meaning                                                goes on to
    pending     waits for upstream steps                               queued, skipped, cancelled
    queued      ready, waits for a free place                          running, skipped, failed, cancelled
    running     its current attempt is with the executor               retrying, or any end but skipped
    retrying    failed, waits for the time of its next attempt         queued, failed, cancelled
    succeeded   published                                              (an end)
    unchanged   ran, the data is the same, nothing to publish          (an end)
    failed      the last attempt failed or its worker was lost         (an end)
    blocked     a check kept the data from being published             (an end)
    skipped     will not run because of how other steps ended          (an end)
    cancelled   called off                                             (an end)
    superseded  somebody else published first                          (an end)

What decides:

* A step is ready when all its upstream steps ended `succeeded` or `unchanged`. When one ends in another
  way, every step downstream of it is `skipped`: a blocked step stops its downstream and nothing else.
  Over a soft edge a step only waits: it goes on however the upstream step ended.
* Of the ready steps, the one with the longest chain of steps below it goes first (the critical path);
  among equals the one that the plan names first.
* A failed try is repeated while the step's `Retry` has attempts left and the error is retryable. A try
  whose worker was lost counts as a failed one: a step without retries that kills its worker is not run
  twice.
* `superseded` is a failure of the run, not of the data: the step's base moved under it, so that what lies
  downstream must be planned again. It is not retried.
* Unless the run keeps going, the first step that ends failed or superseded stops it: running steps finish
  and are not tried again, steps that failed and wait for their next attempt have failed, all others are
  skipped.
* Cancelling calls off everything that is not running. Running steps finish, or with `kill` are asked to
  stop.
* An end is final. Outcomes of older attempts and of steps that are not running are ignored, so that
  reports may come twice, late, or both.
"""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, Literal, get_args

from assets_core.definition.policies import NO_RETRY, Retry
from assets_core.engine.executor import OutcomeState
from assets_core.errors import InternalError

StepState = Literal[
    "pending",
    "queued",
    "running",
    "retrying",
    "succeeded",
    "unchanged",
    "failed",
    "blocked",
    "skipped",
    "cancelled",
    "superseded",
]
RunStatus = Literal["succeeded", "failed", "blocked", "cancelled"]

STEP_STATES: Final[tuple[StepState, ...]] = get_args(StepState)

#: The legal transitions; a state that is not named here is an end.
TRANSITIONS: Final[dict[StepState, frozenset[StepState]]] = {
    "pending": frozenset({"queued", "skipped", "cancelled"}),
    "queued": frozenset({"running", "skipped", "failed", "cancelled"}),
    "running": frozenset(
        {"retrying", "succeeded", "unchanged", "failed", "blocked", "cancelled", "superseded"}
    ),
    "retrying": frozenset({"queued", "failed", "cancelled"}),
}

# States are single bytes in one bytearray: a run of a million steps stays small, and all waiting steps can
# be ended at once by translating the bytes.
(
    _PENDING,
    _QUEUED,
    _RUNNING,
    _RETRYING,
    _SUCCEEDED,
    _UNCHANGED,
    _FAILED,
    _BLOCKED,
    _SKIPPED,
    _CANCELLED,
    _SUPERSEDED,
) = range(len(STEP_STATES))
_CODES: Final[dict[str, int]] = {state: code for code, state in enumerate(STEP_STATES)}
_NEXT: Final[tuple[frozenset[int], ...]] = tuple(
    frozenset(_CODES[after] for after in TRANSITIONS.get(state, ())) for state in STEP_STATES
)


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A try of a step ended; `retryable` says whether a retry can help when it failed or was lost."""

    step: int
    attempt: int
    state: OutcomeState
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The time asked for by `WakeAt` may have come; harmless at any other time."""


@dataclass(frozen=True, slots=True)
class CapacityChanged:
    """So many steps may run at once from now on; those that run go on though they are more."""

    capacity: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Stop the run: let running steps finish, or with `kill` stop them too. May come twice, first without."""

    kill: bool = False


@dataclass(frozen=True, slots=True)
class StartStep:
    """Submit this attempt to the executor."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelStep:
    """Ask the executor to stop this attempt; its outcome is still awaited."""

    step: int
    attempt: int


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `TimePassed` at this time or later, by the clock of `now`; replaces an earlier `WakeAt`."""

    time: float


@dataclass(frozen=True, slots=True)
class FinishRun:
    """Every step has ended; the last command of a run."""

    status: RunStatus


Event = StepEnded | TimePassed | CancelRequested | CapacityChanged
Command = StartStep | CancelStep | WakeAt | FinishRun


@dataclass(frozen=True, slots=True)
class StepGraph:
    """Which steps each step waits for, compactly; a step comes after all its upstream steps.

    Attributes:
        indptr: Shape (n + 1,): the upstream steps of step `s` are `indices[indptr[s]:indptr[s + 1]]`.
        indices: Upstream steps of all steps, one after the other.
        soft: For each of `indices` 1 when the step goes on however that upstream step ends, 0 when it must end well;
            empty when all must.
    """

    indptr: Sequence[int]
    indices: Sequence[int]
    soft: Sequence[int] = b""

    @classmethod
    def from_upstream(cls, upstream: Iterable[Iterable[int]]) -> "StepGraph":
        """The graph of steps 0, 1, 2, ... given the upstream steps of each."""
        indptr, indices = array("q", [0]), array("i")
        for steps in upstream:
            indices.extend(steps)
            indptr.append(len(indices))
        return cls(indptr, indices)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def upstream(self, step: int) -> Sequence[int]:
        """The steps that one step waits for."""
        return self.indices[self.indptr[step] : self.indptr[step + 1]]

    def reversed(self) -> "StepGraph":
        """The same edges seen from above: `upstream(step)` of the result are the steps below."""
        ends = array("q", bytes(8 * (len(self) + 1)))
        for above in self.indices:
            ends[above + 1] += 1
        total = 0
        for step, count in enumerate(ends):
            total += count
            ends[step] = total
        place = ends[:]
        below = array("i", bytes(4 * len(self.indices)))
        soft = bytearray(len(self.soft))
        for step in range(len(self)):
            for edge in range(self.indptr[step], self.indptr[step + 1]):
                above = self.indices[edge]
                below[place[above]] = step
                if soft:
                    soft[place[above]] = self.soft[edge]
                place[above] += 1
        return StepGraph(ends, below, soft)

    def heights(self) -> "array[int]":
        """Shape (n,): the number of steps on the longest chain below each step.

        Raises:
            InternalError: A step does not come after all its upstream steps, or one does not exist.
        """
        heights = array("i", bytes(4 * len(self)))
        for step in range(len(self) - 1, -1, -1):
            least = heights[step] + 1
            for above in self.upstream(step):
                if not 0 <= above < step:
                    raise InternalError(
                        "steps-out-of-order",
                        f"step {step} waits for step {above}, which does not come before it.",
                        do="report this with the project's asset graph; a plan lists upstream steps first.",
                    )
                if heights[above] < least:
                    heights[above] = least
        return heights


def backoff_s(policy: Retry, attempt: int, chance: float) -> float:
    """Seconds to wait after `attempt` failed; `chance` in [0, 1) takes its share of the jitter away."""
    try:
        wait = min(policy.delay_s * policy.factor ** (attempt - 1), policy.max_delay_s)
    except OverflowError:
        wait = policy.max_delay_s
    return wait * (1.0 - policy.jitter * chance)


class RunMachine:
    """All decisions of one run; see the module's text for the rules.

    Args:
        graph: The steps and what they wait for.
        capacity: How many steps may run at once, at least 1.
        policies: The retry policies that occur.
        policy_of: For each step an index into `policies`; None when all steps have the first.
        keep_going: Whether to go on with independent steps after one has failed.
        rng: Source of the jitter; give a seeded one to repeat a run.

    Raises:
        InternalError: The graph is not in topological order, or a parameter is out of its range.
    """

    def __init__(
        self,
        graph: StepGraph,
        *,
        capacity: int,
        policies: Sequence[Retry] = (NO_RETRY,),
        policy_of: Sequence[int] | None = None,
        keep_going: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        n = len(graph)
        if capacity < 1 or (policy_of is not None and len(policy_of) != n):
            raise InternalError(
                "machine-arguments",
                f"a run of {n} steps cannot be made with capacity {capacity} and "
                f"{n if policy_of is None else len(policy_of)} policy indexes.",
                do="report this; the capacity is at least 1, and each step has one policy.",
            )
        self._n = n
        self._capacity = capacity
        self._policies = tuple(policies)
        self._policy_of = bytes(n) if policy_of is None else policy_of
        self._keep_going = keep_going
        self._rng = rng or random.Random()
        self._heights = graph.heights()
        self._top = max(self._heights, default=0)
        self._below = graph.reversed()
        self._waits_for = array(
            "i", (end - start for start, end in zip(graph.indptr, graph.indptr[1:], strict=False))
        )
        self._states = bytearray(n)
        self._attempts = array("i", bytes(4 * n))
        self._counts = [n] + [0] * (len(STEP_STATES) - 1)
        self._ready: list[int] = []  # heap of ranks, see `_rank`
        self._retries: list[tuple[float, int]] = []  # heap of (time, step)
        self._wake: float | None = None
        self._is_stopping = False
        self._is_killing = False
        self._is_finished = False

    # ------------------------------------------------------------------ what happened

    def start(self, now: float) -> list[Command]:
        """Begin; `now` is seconds on any clock that `on` uses too."""
        for step, waits_for in enumerate(self._waits_for):
            if not waits_for:
                self._move(step, _QUEUED)
                self._ready.append(self._rank(step))
        heapify(self._ready)
        return self._decide(now, [])

    def on(self, event: Event, now: float) -> list[Command]:
        """Take in one event; the commands are to be carried out in their order."""
        commands: list[Command] = []
        if self._is_finished:
            return commands
        if isinstance(event, StepEnded):
            if self._is_current(event.step, event.attempt):
                self._on_ended(event, now)
        elif isinstance(event, CancelRequested):
            self._on_cancel(event.kill, commands)
        elif isinstance(event, CapacityChanged):
            self._capacity = max(1, event.capacity)
        return self._decide(now, commands)

    # ------------------------------------------------------------------ what is known

    def __len__(self) -> int:
        return self._n

    def state(self, step: int) -> StepState:
        """Where a step stands."""
        return STEP_STATES[self._states[step]]

    def attempt(self, step: int) -> int:
        """The number of the current or last attempt, 0 before the first."""
        return self._attempts[step]

    def counts(self) -> dict[StepState, int]:
        """How many steps are in each state; states without steps are left out."""
        return {state: count for state, count in zip(STEP_STATES, self._counts, strict=True) if count}

    def steps_in(self, state: StepState) -> Iterator[int]:
        """The steps that are in a state now, ascending."""
        code = _CODES[state]
        step = self._states.find(code)
        while step >= 0:
            yield step
            step = self._states.find(code, step + 1)

    @property
    def status(self) -> RunStatus:
        """The status of the run if it ended now, from the states of its steps alone."""
        if self._counts[_FAILED] or self._counts[_SUPERSEDED]:
            return "failed"
        if self._counts[_CANCELLED]:
            return "cancelled"
        return "blocked" if self._counts[_BLOCKED] else "succeeded"

    # ------------------------------------------------------------------ decisions

    def _is_current(self, step: int, attempt: int) -> bool:
        """Whether an outcome is of the attempt that runs now; all others are late or double."""
        return 0 <= step < self._n and self._states[step] == _RUNNING and self._attempts[step] == attempt

    def _on_ended(self, event: StepEnded, now: float) -> None:
        step, state = event.step, event.state
        if state == "succeeded" or state == "unchanged":
            self._move(step, _CODES[state])
            self._release_below(step)
            return
        if state == "lost" and self._is_killing:
            state = "cancelled"
        if state == "lost" or state == "failed":
            if event.retryable and self._may_retry(step):
                self._retry_later(step, now)
                return
            state = "failed"
        self._move(step, _CODES[state])
        self._skip_below(step)
        if not self._keep_going and (state == "failed" or state == "superseded"):
            self._stop()

    def _on_cancel(self, kill: bool, commands: list[Command]) -> None:  # noqa: FBT001 - the event's own field
        self._is_stopping = True
        self._end_waiting({_PENDING: _CANCELLED, _QUEUED: _CANCELLED, _RETRYING: _CANCELLED})
        if kill:
            self._is_killing = True
            commands += [CancelStep(step, self._attempts[step]) for step in self.steps_in("running")]

    def _decide(self, now: float, commands: list[Command]) -> list[Command]:
        """What follows from the states: release due retries, fill free places, announce the end."""
        self._release_due(now)
        self._fill_places(commands)
        self._ask_to_wake(commands)
        if self._is_done():
            self._is_finished = True
            commands.append(FinishRun(self.status))
        return commands

    def _release_below(self, step: int) -> None:
        """Queue the steps for which `step` was the last they waited for."""
        for below in self._below.upstream(step):
            self._release(below)

    def _release(self, step: int) -> None:
        self._waits_for[step] -= 1
        if not self._waits_for[step] and self._states[step] == _PENDING:
            self._queue(step)

    def _skip_below(self, step: int) -> None:
        """Skip everything that needs `step`, however far; what can do without it need not wait for it any more."""
        graph = self._below
        reached = [step]
        while reached:
            above = reached.pop()
            for edge in range(graph.indptr[above], graph.indptr[above + 1]):
                below = graph.indices[edge]
                if graph.soft and graph.soft[edge]:
                    self._release(below)
                elif self._states[below] == _PENDING:
                    self._move(below, _SKIPPED)
                    reached.append(below)

    def _stop(self) -> None:
        """Start nothing any more; what has failed once will not get its next attempt."""
        self._is_stopping = True
        for rank in self._ready:
            if self._attempts[rank % self._n]:
                self._move(rank % self._n, _FAILED)
        self._end_waiting({_PENDING: _SKIPPED, _QUEUED: _SKIPPED, _RETRYING: _FAILED})

    def _may_retry(self, step: int) -> bool:
        policy = self._policies[self._policy_of[step]]
        return not self._is_stopping and self._attempts[step] < policy.max_attempts

    def _retry_later(self, step: int, now: float) -> None:
        policy = self._policies[self._policy_of[step]]
        self._move(step, _RETRYING)
        wait = backoff_s(policy, self._attempts[step], self._rng.random())
        heappush(self._retries, (now + wait, step))

    def _release_due(self, now: float) -> None:
        while self._retries and self._retries[0][0] <= now:
            self._queue(heappop(self._retries)[1])

    def _fill_places(self, commands: list[Command]) -> None:
        ready, attempts = self._ready, self._attempts
        while ready and self._counts[_RUNNING] < self._capacity:
            step = heappop(ready) % self._n
            attempts[step] += 1
            self._move(step, _RUNNING)
            commands.append(StartStep(step, attempts[step]))

    def _ask_to_wake(self, commands: list[Command]) -> None:
        wake = self._retries[0][0] if self._retries else None
        if wake is not None and wake != self._wake:
            commands.append(WakeAt(wake))
        self._wake = wake

    def _is_done(self) -> bool:
        counts = self._counts
        return not (counts[_RUNNING] or counts[_QUEUED] or counts[_PENDING] or counts[_RETRYING])

    # ------------------------------------------------------------------ bookkeeping

    def _rank(self, step: int) -> int:
        """One number that orders by height, then by step, and holds the step: `rank % n`."""
        return (self._top - self._heights[step]) * self._n + step

    def _queue(self, step: int) -> None:
        self._move(step, _QUEUED)
        heappush(self._ready, self._rank(step))

    def _move(self, step: int, state: int) -> None:
        """The one place where the state of a single step changes."""
        before = self._states[step]
        if state not in _NEXT[before]:
            raise InternalError(
                "illegal-transition",
                f"step {step} cannot go from {STEP_STATES[before]} to {STEP_STATES[state]}.",
                do="report this with the log of the run.",
            )
        self._states[step] = state
        self._counts[before] -= 1
        self._counts[state] += 1

    def _end_waiting(self, ends: dict[int, int]) -> None:
        """End all steps that are not running at once, each by the state it is in."""
        table = bytearray(range(256))
        for before, after in ends.items():
            table[before] = after
            self._counts[after] += self._counts[before]
            self._counts[before] = 0
        # In place and in one go: a run of a million steps is called off in a millisecond.
        self._states[:] = self._states.translate(table)
        self._ready.clear()
        self._retries.clear()
