"""Whole runs in virtual time: checks the scheduler's promises over seeded histories, and predicts runs.

`simulate` plays executor, clock and user against a `RunMachine`: steps take their time, fail, lose their
workers, report twice, report late, wake-ups come early, and somebody may cancel. Beside the machine stands
`_Witness`, a plain bookkeeper that knows only the rules; it raises `BrokenPromiseError` when machine and
rules part:

* a step starts only after all its upstream steps ended well (over a soft edge: ended), and ready steps
  start as soon as there is a place, those with the longest chain below them first;
* never two live attempts of a step, attempts count 1, 2, 3 up to the policy's bound, a retry waits at
  least its time;
* never more live attempts than the capacity; nothing starts after a cancel or a stop;
* an end is final, every step ends, and how it ended, the counts and the run's status are what the rules
  say.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Literal

from assets_core.definition.policies import NO_RETRY, Retry
from assets_core.engine.executor import OutcomeState
from assets_core.engine.machine import (
    CancelRequested,
    CancelStep,
    Command,
    Event,
    FinishRun,
    RunMachine,
    RunStatus,
    StartStep,
    StepEnded,
    StepGraph,
    StepState,
    TimePassed,
    WakeAt,
    backoff_s,
)

_LIMIT_EVENTS_PER_STEP = 200


class BrokenPromiseError(AssertionError):
    """The machine did what the rules forbid, or did not do what they demand."""


@dataclass(frozen=True)
class Chances:
    """How likely things go wrong, each between 0 and 1; all 0 is a perfect world.

    Attributes:
        fail: A try fails.
        permanent: A failure is one that no retry can help.
        lose: The worker of a try is lost.
        block: A check keeps the data from being published.
        supersede: Somebody else publishes first.
        unchanged: A good step finds nothing to publish.
        duplicate: An outcome is reported twice.
        late: An attempt that was reported lost reports its true outcome after all.
        early_wake: A wake-up comes before its time, too.
    """

    fail: float = 0.0
    permanent: float = 0.0
    lose: float = 0.0
    block: float = 0.0
    supersede: float = 0.0
    unchanged: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    early_wake: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """One world for one run.

    Attributes:
        durations_s: Shape (n,): how long a try of each step takes.
        cancels: (time, kill) of each request to cancel.
        seed: Decides every chance.
    """

    graph: StepGraph
    durations_s: Sequence[float]
    capacity: int
    policies: tuple[Retry, ...] = (NO_RETRY,)
    policy_of: Sequence[int] | None = None
    keep_going: bool = False
    chances: Chances = field(default_factory=Chances)
    cancels: tuple[tuple[float, bool], ...] = ()
    seed: int = 0

    def policy(self, step: int) -> Retry:
        """The retry policy of one step."""
        return self.policies[0 if self.policy_of is None else self.policy_of[step]]

    def machine(self, machine_type: Callable[..., RunMachine] = RunMachine) -> RunMachine:
        """A machine for this world."""
        return machine_type(
            self.graph,
            capacity=self.capacity,
            policies=self.policies,
            policy_of=self.policy_of,
            keep_going=self.keep_going,
            rng=random.Random(self.seed),
        )


@dataclass(frozen=True)
class SimulatedRun:
    """What a simulated run came to.

    Attributes:
        makespan_s: Virtual seconds from start to end.
        busy_s: Virtual seconds of work, summed over all attempts.
        attempts: Tries in all.
    """

    status: RunStatus
    makespan_s: float
    busy_s: float
    attempts: int
    counts: dict[StepState, int]


def random_scenario(seed: int, *, max_steps: int = 14) -> Scenario:
    """A small world of random steps and random trouble; the same for the same seed."""
    rng = random.Random(seed)
    n = rng.randint(1, max_steps)
    density = rng.choice((0.0, 0.1, 0.25, 0.6))
    graph = StepGraph.from_upstream([s for s in range(step) if rng.random() < density] for step in range(n))
    softness = rng.choice((0.0, 0.0, 0.3))
    graph = replace(graph, soft=bytes(rng.random() < softness for _ in graph.indices))
    trouble = rng.choice((0.0, 0.05, 0.3))
    chances = Chances(
        fail=trouble * rng.random(),
        permanent=rng.choice((0.0, 0.3)),
        lose=trouble * rng.random(),
        block=trouble * rng.random() / 2,
        supersede=trouble * rng.random() / 4,
        unchanged=rng.choice((0.0, 0.3)),
        duplicate=rng.choice((0.0, 0.3)),
        late=rng.choice((0.0, 0.5)),
        early_wake=rng.choice((0.0, 0.5)),
    )
    first = rng.uniform(0.0, 20.0)
    cancels = rng.choice(
        ((), (), (), ((first, False),), ((first, True),), ((first, False), (first + rng.random(), True)))
    )
    return Scenario(
        graph,
        durations_s=[rng.choice((0.0, 1.0, rng.expovariate(0.3))) for _ in range(n)],
        capacity=rng.choice((1, 2, 3, n)),
        policies=(NO_RETRY, Retry(max_attempts=3, delay="1s", jitter=0.5), Retry(2, delay=0, jitter=0.0)),
        policy_of=bytes(rng.randrange(3) for _ in range(n)),
        keep_going=rng.random() < 0.5,
        chances=chances,
        cancels=cancels,
        seed=seed,
    )


def simulate(scenario: Scenario, machine_type: Callable[..., RunMachine] = RunMachine) -> SimulatedRun:
    """Play one run to its end and check every promise on the way.

    Raises:
        BrokenPromiseError: The machine broke a rule; the message names it and the scenario's seed.
    """
    return _World(scenario, scenario.machine(machine_type)).play()


def predict(scenario: Scenario) -> SimulatedRun:
    """Play one run without the checks, for scenarios of many steps."""
    return _World(scenario, scenario.machine(), watch=False).play()


class _World:
    """Executor, clock and user in one: carries out commands in virtual time."""

    def __init__(self, scenario: Scenario, machine: RunMachine, *, watch: bool = True) -> None:
        self._scenario = scenario
        self._machine = machine
        self._rng = random.Random(f"world {scenario.seed}")
        self._now = 0.0
        self._n_sent = 0
        self._coming: list[tuple[float, int, Event]] = []
        self._wake: float | None = None
        self._witness = _Witness(scenario, machine) if watch else None
        self._status: RunStatus | None = None
        self._busy_s = 0.0
        self._attempts = 0

    def play(self) -> SimulatedRun:
        scenario = self._scenario
        for time, kill in scenario.cancels:
            self._send(time, CancelRequested(kill))
        self._carry_out(None, self._machine.start(self._now))
        ended_at = self._now
        left = _LIMIT_EVENTS_PER_STEP * (len(scenario.graph) + 1)
        while (event := self._next_event()) is not None and left:
            left -= 1
            was_open = self._status is None
            self._carry_out(event, self._machine.on(event, self._now))
            if was_open:
                ended_at = self._now
        if self._status is None:
            raise BrokenPromiseError(
                f"seed {scenario.seed}: the run never finished: {self._machine.counts()}"
            )
        return SimulatedRun(self._status, ended_at, self._busy_s, self._attempts, self._machine.counts())

    def _send(self, time: float, event: Event) -> None:
        heappush(self._coming, (time, self._n_sent, event))
        self._n_sent += 1

    def _next_event(self) -> Event | None:
        wake = self._wake
        if wake is not None and (not self._coming or wake <= self._coming[0][0]):
            self._now, self._wake = max(self._now, wake), None
            return TimePassed()
        if not self._coming:
            return None
        time, _, event = heappop(self._coming)
        self._now = max(self._now, time)
        return event

    def _carry_out(self, event: Event | None, commands: list[Command]) -> None:
        if self._witness is not None:
            self._witness.observe(event, commands, self._now)
        for command in commands:
            match command:
                case StartStep(step, attempt):
                    self._start(step, attempt)
                case CancelStep(step, attempt):
                    self._stop(step, attempt)
                case WakeAt(time):
                    self._wake = time
                    if self._rng.random() < self._scenario.chances.early_wake:
                        self._send(self._now + (time - self._now) * self._rng.random(), TimePassed())
                case FinishRun(status):
                    self._status = status

    def _start(self, step: int, attempt: int) -> None:
        rng, chances = self._rng, self._scenario.chances
        took = self._scenario.durations_s[step]
        self._attempts += 1
        self._busy_s += took
        outcome = self._outcome(step, attempt)
        self._send(self._now + took, outcome)
        if rng.random() < chances.duplicate:
            self._send(self._now + took + rng.choice((0.0, rng.uniform(0.0, 5.0))), outcome)
        if outcome.state == "lost" and rng.random() < chances.late:
            self._send(self._now + took + rng.uniform(0.0, 8.0), StepEnded(step, attempt, "succeeded"))

    def _outcome(self, step: int, attempt: int) -> StepEnded:
        rng, chances = self._rng, self._scenario.chances
        states: list[tuple[float, OutcomeState]] = [
            (chances.fail, "failed"),
            (chances.lose, "lost"),
            (chances.block, "blocked"),
            (chances.supersede, "superseded"),
            (chances.unchanged, "unchanged"),
        ]
        for chance, state in states:
            if rng.random() < chance:
                return StepEnded(step, attempt, state, retryable=rng.random() >= chances.permanent)
        return StepEnded(step, attempt, "succeeded")

    def _stop(self, step: int, attempt: int) -> None:
        """A step that is asked to stop ends soon: cancelled, its worker killed, or with what it reached."""
        state: OutcomeState = self._rng.choice(("cancelled", "lost", "succeeded"))
        self._send(self._now + self._rng.uniform(0.0, 0.5), StepEnded(step, attempt, state))


Belief = Literal["waiting", "live", "retrying"] | StepState


class _Witness:
    """Follows a run with the simplest bookkeeping there is and compares."""

    def __init__(self, scenario: Scenario, machine: RunMachine) -> None:
        n = len(scenario.graph)
        self._scenario = scenario
        self._machine = machine
        graph = scenario.graph
        soft = graph.soft or bytes(len(graph.indices))
        self._upstream = [tuple(graph.upstream(step)) for step in range(n)]
        self._is_soft = [tuple(soft[graph.indptr[step] : graph.indptr[step + 1]]) for step in range(n)]
        self._heights = _heights(self._upstream)
        self._belief: list[Belief] = ["waiting"] * n
        self._attempts = [0] * n
        self._not_before = [0.0] * n
        self._due_by = [0.0] * n
        self._is_closed = False
        self._is_killing = False
        self._is_finished = False

    def observe(self, event: Event | None, commands: list[Command], now: float) -> None:
        self._require(not (self._is_finished and commands), f"commands after the end: {commands}")
        if isinstance(event, StepEnded):
            self._ended(event, now)
        elif isinstance(event, CancelRequested) and not self._is_finished:
            self._close(waiting="cancelled", retrying="cancelled")
            self._is_killing = self._is_killing or event.kill
            if event.kill:
                self._require_all_stopped(commands)
        self._spread()
        for command in commands:
            if isinstance(command, StartStep):
                self._started(command, now)
            elif isinstance(command, FinishRun):
                self._finished(command)
        self._require_nothing_idle(now)
        self._require_agreement()

    def _require(self, holds: bool, message: str) -> None:  # noqa: FBT001 - reads as an assertion
        if not holds:
            raise BrokenPromiseError(f"seed {self._scenario.seed}: {message}")

    def _ended(self, event: StepEnded, now: float) -> None:
        step, state = event.step, event.state
        if self._belief[step] != "live" or event.attempt != self._attempts[step]:
            return
        if state == "lost" and self._is_killing:
            state = "cancelled"
        if state == "lost" or state == "failed":
            policy = self._scenario.policy(step)
            if event.retryable and not self._is_closed and event.attempt < policy.max_attempts:
                self._belief[step] = "retrying"
                self._not_before[step] = now + backoff_s(policy, event.attempt, 1.0)
                self._due_by[step] = now + backoff_s(policy, event.attempt, 0.0)
                return
            state = "failed"
        self._belief[step] = state
        if state in ("failed", "superseded") and not self._scenario.keep_going:
            self._spread()
            self._close(waiting="skipped", retrying="failed")

    def _close(self, *, waiting: StepState, retrying: StepState) -> None:
        self._is_closed = True
        ends: dict[Belief, Belief] = {"waiting": waiting, "retrying": retrying}
        self._belief = [ends.get(belief, belief) for belief in self._belief]

    def _spread(self) -> None:
        """Skip what lies below steps that ended badly; upstream steps come first, so one pass is enough."""
        for step, belief in enumerate(self._belief):
            if belief == "waiting" and any(
                self._is_bad(above) and not soft for above, soft in self._above(step)
            ):
                self._belief[step] = "skipped"

    def _above(self, step: int) -> Iterator[tuple[int, int]]:
        return zip(self._upstream[step], self._is_soft[step], strict=True)

    def _is_bad(self, step: int) -> bool:
        return self._belief[step] in ("failed", "blocked", "superseded", "skipped", "cancelled")

    def _is_ready(self, step: int) -> bool:
        return self._belief[step] == "waiting" and all(
            self._belief[above] in ("succeeded", "unchanged") or (soft and self._is_bad(above))
            for above, soft in self._above(step)
        )

    def _started(self, command: StartStep, now: float) -> None:
        step = command.step
        self._require(not self._is_closed, f"step {step} started after the run was stopped")
        self._require(
            self._is_ready(step) or self._belief[step] == "retrying",
            f"step {step} started while {self._belief[step]}, upstream {self._upstream[step]}",
        )
        if self._belief[step] == "retrying":
            self._require(now >= self._not_before[step], f"step {step} was tried again too early")
        else:
            higher = [s for s in range(step) if self._is_ready(s) and self._heights[s] >= self._heights[step]]
            higher += [s for s in range(step, len(self._belief)) if self._ranks_above(s, step)]
            self._require(not higher, f"step {step} started before {higher}, which more depends on")
        self._attempts[step] += 1
        self._require(command.attempt == self._attempts[step], f"attempt {command.attempt} of step {step}")
        bound = self._scenario.policy(step).max_attempts
        self._require(command.attempt <= bound, f"step {step} tried {command.attempt} times, {bound} allowed")
        self._belief[step] = "live"
        n_live = self._belief.count("live")
        self._require(n_live <= self._scenario.capacity, f"{n_live} steps live")

    def _ranks_above(self, other: int, step: int) -> bool:
        return self._is_ready(other) and self._heights[other] > self._heights[step]

    def _finished(self, command: FinishRun) -> None:
        self._is_finished = True
        for belief in ("waiting", "live", "retrying"):
            self._require(belief not in self._belief, f"the run finished with steps still {belief}")
        self._require(command.status == self._status(), f"the run's status is {command.status}")

    def _status(self) -> RunStatus:
        ends = set(self._belief)
        if ends & {"failed", "superseded"}:
            return "failed"
        if "cancelled" in ends:
            return "cancelled"
        return "blocked" if "blocked" in ends else "succeeded"

    def _require_all_stopped(self, commands: list[Command]) -> None:
        live = {(s, self._attempts[s]) for s, belief in enumerate(self._belief) if belief == "live"}
        asked = {(c.step, c.attempt) for c in commands if isinstance(c, CancelStep)}
        self._require(asked == live, f"{live} were live, {asked} were asked to stop")

    def _require_nothing_idle(self, now: float) -> None:
        """No free place while a step could use it."""
        if self._belief.count("live") >= self._scenario.capacity or self._is_closed:
            return
        for step, belief in enumerate(self._belief):
            self._require(not self._is_ready(step), f"step {step} is ready and not started")
            if belief == "retrying":
                self._require(now < self._due_by[step], f"step {step} is not tried again")

    def _require_agreement(self) -> None:
        """What the machine says of each step is what was seen."""
        names: dict[Belief, tuple[StepState, ...]] = {
            "waiting": ("pending", "queued"),
            "live": ("running",),
            "retrying": ("retrying", "queued"),
        }
        counts: dict[StepState, int] = {}
        for step, belief in enumerate(self._belief):
            state = self._machine.state(step)
            expected = names.get(belief, (belief,))
            self._require(state in expected, f"step {step} is {state}, by the rules {belief}")
            self._require(self._machine.attempt(step) == self._attempts[step], f"attempt of step {step}")
            counts[state] = counts.get(state, 0) + 1
        self._require(counts == self._machine.counts(), f"counts are {self._machine.counts()}, not {counts}")


def _heights(upstream: Sequence[Sequence[int]]) -> list[int]:
    heights = [0] * len(upstream)
    for step in range(len(upstream) - 1, -1, -1):
        for above in upstream[step]:
            heights[above] = max(heights[above], heights[step] + 1)
    return heights
