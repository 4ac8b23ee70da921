"""The coordinator's connection to a Dask scheduler.

Dask's client lives in an event loop of its own thread. Everything it hears becomes a message in one queue, and every
question is asked without waiting for the answer, so that whoever drives the executor never waits for a worker.
"""

import asyncio
import contextlib
import pickle
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from distributed import Client, Future

from assets_core.engine.executor import StepTask, WorkerJob
from assets_core.errors import AssetlineError, ConfigError
from assets_core.executors.dask_site import join, leave, own_versions, run_step, take_back

_CONNECT_WITHIN_S = 8.0
_CLOSE_WITHIN_S = 3.0
_ROSTER_EVERY_S = 3.0
#: Schedulers keep the last events of every topic for ever: few topics serve all runs.
_N_TOPICS = 4


@dataclass(frozen=True, slots=True)
class Counted:
    """The scheduler has this many workers."""

    workers: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker takes part; `says` is what `join` gives."""

    address: str
    token: str
    says: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker cannot take part."""

    address: str
    error: AssetlineError


@dataclass(frozen=True, slots=True)
class Gone:
    """The scheduler has lost a worker."""

    address: str


@dataclass(frozen=True, slots=True)
class Said:
    """Pickled reports of one worker, each with the number of its step."""

    token: str
    reports: Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Which steps a worker has not begun and never will; None when it gave no answer."""

    token: str
    asked: tuple[int, ...]
    taken: tuple[int, ...] | None


Message = Counted | Joined | Refused | Gone | Said | TakenBack


class DaskLink:
    """A connection that brings in every worker of the cluster, those that come later too.

    Args:
        address: Of the scheduler.
        job: What workers need to open project and environment.
        opener: `module:function` that makes their `StepRunner`.
        inbox: Where messages go.

    Raises:
        ConfigError: `dask-unreachable`.
    """

    def __init__(self, address: str, job: WorkerJob, opener: str, inbox: "SimpleQueue[Message]") -> None:
        self.address = address
        self._opener = opener
        self._job = pickle.dumps(job)
        self._inbox = inbox
        self._name = uuid.uuid4().hex
        self._topic = f"assetline-{zlib.crc32(self._name.encode()) % _N_TOPICS}"
        self._greeted: set[str] = set()
        self._watch_task: asyncio.Task[None] | None = None
        self._n_joins = 0
        self._client = _connect(address)
        self._client.subscribe_topic(self._topic, self._on_reports)
        self._client.subscribe_topic("all", self._on_cluster_event)
        self._client.loop.add_callback(self._watch)

    @property
    def is_open(self) -> bool:
        """Whether the scheduler is there."""
        return bool(self._client.status == "running")

    def send(
        self,
        address: str,
        token: str,
        floor: int,
        tasks: Sequence[tuple[int, StepTask]],
        resources: dict[str, float],
    ) -> list["Future[None]"]:
        """Have a worker, and no other, run steps.

        Args:
            address: Of the worker.
            token: Under which it joined.
            floor: No number below it will be asked about.
            tasks: Steps with their numbers.
            resources: What each of them takes.
        """
        futures: list[Future[None]] = self._client.map(
            run_step,
            [number for number, _ in tasks],
            [pickle.dumps(task) for _, task in tasks],
            key=[(f"{task.asset}-{self._name[:8]}", number) for number, task in tasks],
            workers=[address],
            allow_other_workers=False,
            retries=0,
            pure=False,
            resources=resources or None,
            token=token,
            floor=floor,
        )
        return futures

    def summon(self, resources: dict[str, float]) -> "Future[Any]":
        """A task without work that any suitable worker may run: a cluster that grows on demand sees it."""
        key = f"assetline-wants-workers-{uuid.uuid4().hex}"
        future: Future[Any] = self._client.submit(
            own_versions, key=key, pure=False, resources=resources or None
        )
        return future

    def ask_back(self, address: str, token: str, numbers: Sequence[int], *, interrupt: bool) -> None:
        """Ask a worker not to begin steps, and with `interrupt` to stop those it has begun."""
        asked = tuple(numbers)

        async def ask() -> None:
            answer = await self._call(address, take_back, token, asked, interrupt=interrupt)
            taken = None if isinstance(answer, Exception) else tuple(answer)
            self._inbox.put(TakenBack(token, asked, taken))

        self._client.loop.add_callback(ask)

    def say_goodbye(self, tokens: dict[str, str], *, interrupt: bool) -> None:
        """Tell workers, tokens by address, that the run is over; waits a moment for their runners to close."""

        async def tell() -> None:
            calls = [
                self._call(address, leave, token, interrupt=interrupt) for address, token in tokens.items()
            ]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*calls), _CLOSE_WITHIN_S)

        if tokens and self.is_open:
            with contextlib.suppress(Exception):
                self._client.sync(tell)

    def close(self) -> None:
        """End the connection; the scheduler forgets what has not begun."""
        if self._watch_task is not None:
            self._client.loop.add_callback(self._watch_task.cancel)
        with contextlib.suppress(Exception):  # a scheduler that has gone is none of our business any more
            for topic in (self._topic, "all"):
                self._client.unsubscribe_topic(topic)
            self._client.close(timeout=_CLOSE_WITHIN_S)

    # ------------------------------------------------------------------ in the client's loop

    async def _call(self, address: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A worker's answer, or the exception in its place."""
        try:
            answers = await self._client.run(function, *args, workers=[address], on_error="return", **kwargs)
            return answers.get(address, ConnectionError(f"no answer from {address}"))
        except Exception as cause:  # noqa: BLE001 - whatever Dask raises: the question was not answered
            return cause

    def _on_reports(self, event: tuple[float, Any]) -> None:
        token, reports = event[1]
        if token.startswith(self._name):
            self._inbox.put(Said(token, reports))

    async def _on_cluster_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if not isinstance(message, dict):
            return
        if message.get("action") == "remove-worker":
            self._forget(message["worker"])
        elif message.get("action") == "add-worker":
            self._greet(message["worker"])

    async def _watch(self) -> None:
        """Look through the roster from time to time: an event may have been missed."""
        self._watch_task = asyncio.current_task()
        absent: set[str] = set()
        while self.is_open:
            with contextlib.suppress(OSError):
                roster = set(await self._client.nthreads())
                for address in roster:
                    self._greet(address)
                before, absent = absent, self._greeted - roster
                for address in absent & before:
                    self._forget(address)
                self._inbox.put(Counted(len(roster)))
            await asyncio.sleep(_ROSTER_EVERY_S)

    def _forget(self, address: str) -> None:
        if address in self._greeted:
            self._greeted.discard(address)
            self._inbox.put(Gone(address))

    def _greet(self, address: str) -> None:
        if address not in self._greeted:
            self._greeted.add(address)
            self._n_joins += 1
            asyncio.get_running_loop().create_task(self._have_join(address, f"{self._name}-{self._n_joins}"))

    async def _have_join(self, address: str, token: str) -> None:
        says = await self._call(address, join, token, self._topic, self._opener, self._job)
        if isinstance(says, OSError):
            return  # it has gone again, or the roster will bring it back
        if isinstance(says, Exception):
            self._inbox.put(Refused(address, _unprepared(address, says)))
            return
        ours = own_versions()
        theirs = {name: says[name] for name in ours}
        if ours == theirs:
            self._inbox.put(Joined(address, token, says))
        else:
            self._inbox.put(Refused(address, _mismatch(address, ours, theirs)))


def _connect(address: str) -> Any:
    """A client; typed `Any` because most of its methods have no types."""
    try:
        return Client(  # type: ignore[no-untyped-call]
            address, timeout=_CONNECT_WITHIN_S, set_as_default=False, name="assetline"
        )
    except Exception as cause:
        raise ConfigError(
            "dask-unreachable",
            f"no Dask scheduler could be reached at {address}.",
            why=f"{type(cause).__name__}: {cause}",
            do="start it (`dask scheduler`), or correct `address` in the environment's `executor`.",
            left="nothing: no step was begun.",
        ) from cause


def _unprepared(address: str, cause: Exception) -> ConfigError:
    return ConfigError(
        "dask-worker-unprepared",
        f"the Dask worker at {address} cannot run steps.",
        why=f"{type(cause).__name__}: {cause}",
        do="install assetline there, in the version that is used here, and restart the worker.",
    )


def _mismatch(address: str, ours: dict[str, Any], theirs: dict[str, Any]) -> ConfigError:
    def listed(versions: dict[str, Any]) -> str:
        return " and ".join(f"{name} {value}" for name, value in sorted(versions.items()))

    return ConfigError(
        "dask-versions-differ",
        f"the Dask worker at {address} runs other versions than this process.",
        why=f"it has {listed(theirs)}; here are {listed(ours)}.",
        do="install the same versions on both sides and restart the worker.",
    )
