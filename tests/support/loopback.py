"""No test leaves the machine: sockets connect to the loopback, or say who tried what."""

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class NetworkBlockedError(RuntimeError):
    """A test tried to leave the machine. No OSError: code that retries those would hide it."""


def is_local(address: Any) -> bool:
    """Whether a socket address is on this machine: a Unix socket's path, or the loopback."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def only_loopback() -> Iterator[None]:
    """Refuse every connection of this process to another machine, for as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if not is_local(address):
            raise NetworkBlockedError(
                f"a test tried to connect to {address[0]} port {address[1]}: tests reach 127.0.0.1 only; "
                "start a server of tests/support/servers.py, or use the memory storage"
            )
        return connect(self, address)

    return guarded
