"""Processes to be killed by the hundred: forked from one warm process that has imported everything.

The test process itself may hold threads and open databases, which must not be forked; the warm one does not.
"""

import ctypes
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ended:
    """How a forked process ended: its exit code (minus the signal that killed it) and what its function returned."""

    code: int
    value: Any

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL


class ForkError(RuntimeError):
    """The function of a forked process raised; the text is its traceback."""


class ForkServer:
    """Runs module-level functions in processes of their own, each a fork of the warm process.

    Args:
        modules: What the warm process imports at the start.
    """

    def __init__(self, *modules: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forks", str(theirs.fileno()), *modules],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._socket = ours
        self._stream = ours.makefile("rwb")

    def start(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Begin a call and give the process's id."""
        return int(self._ask("start", function, arguments))

    def wait(self, pid: int) -> Ended:
        """The end of a started process.

        Raises:
            ForkError: Its function raised.
        """
        code, raw = self._ask("wait", pid)
        if not raw:
            return Ended(code, None)
        went_well, value = pickle.loads(raw)
        if not went_well:
            raise ForkError(value)
        return Ended(code, value)

    def wait_stopped(self, pid: int) -> bool:
        """Wait until a started process is stopped (True) or has ended (False)."""
        return bool(self._ask("stopped", pid))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Ended:
        """Run a function in a process to its end."""
        return self.wait(self.start(function, *arguments))

    def warm_up(self, names: list[str], *functions: Callable[[], None]) -> None:
        """Import modules and call functions in the warm process, so that the forked ones need not."""
        self._ask("load", names, functions)

    def close(self) -> None:
        """End the warm process and what it forked."""
        self._stream.close()
        self._socket.close()
        self._process.wait(30)

    def _ask(self, *message: Any) -> Any:
        pickle.dump(message, self._stream)
        self._stream.flush()
        return pickle.load(self._stream)


class _Server:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._results: dict[int, int] = {}
        self._ended: dict[int, int] = {}

    def serve(self) -> None:
        stream = self._connection.makefile("rwb")
        while True:
            try:
                verb, *arguments = pickle.load(stream)
            except EOFError:
                break
            pickle.dump(getattr(self, verb)(*arguments), stream)
            stream.flush()
        for pid in self._results:
            os.kill(pid, signal.SIGKILL)

    def load(self, names: list[str], functions: tuple[Callable[[], None], ...]) -> None:
        for name in names:
            with suppress(ImportError):
                import_module(name)
        for function in functions:
            function()
        gc.collect()
        gc.freeze()  # what is never collected is never copied into the forks

    def start(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
        result, into = os.pipe()
        pid = os.fork()
        if not pid:
            self._connection.close()
            os.close(result)
            _run(function, arguments, into)
        os.close(into)
        self._results[pid] = result
        return pid

    def wait(self, pid: int) -> tuple[int, bytes]:
        with os.fdopen(self._results.pop(pid), "rb") as result:
            raw = result.read()
        status = self._ended.pop(pid, None)
        if status is None:
            status = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(status), raw

    def stopped(self, pid: int) -> bool:
        status = os.waitpid(pid, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            self._ended[pid] = status
        return os.WIFSTOPPED(status)


def _run(function: Callable[..., Any], arguments: tuple[Any, ...], into: int) -> None:
    """The life of a forked process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        result = (True, function(*arguments))
    except BaseException:  # noqa: BLE001 - it travels as text, whatever it is
        result = (False, traceback.format_exc())
    with os.fdopen(into, "wb") as stream:
        stream.write(pickle.dumps(result))
    os._exit(0)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        import_module(name)
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
