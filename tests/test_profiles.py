"""What the profiles promise, and that no test leaves the machine."""

import asyncio
import re
import socket

import pytest
from hypothesis import settings

from tests.support.loopback import NetworkBlockedError, is_local
from tests.support.profiles import VARIABLE, profile_name, scale


@pytest.mark.parametrize(("profile", "seeds"), [("", 40), ("ci", 40), ("soak", 800), ("fast", 10)])
def test_a_profile_decides_how_many_seeds_are_tried(
    monkeypatch: pytest.MonkeyPatch, profile: str, seeds: int
) -> None:
    monkeypatch.setenv(VARIABLE, profile)
    assert scale(40) == seeds
    assert scale(1) >= 1


def test_a_profile_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "sok")
    with pytest.raises(ValueError, match="'sok'; it can be fast, ci, soak"):
        profile_name()


def test_each_profile_is_registered_without_a_deadline() -> None:
    for name in ("fast", "ci", "soak"):
        profile = settings.get_profile(name)
        assert (profile.deadline, profile.print_blob, profile.derandomize) == (None, True, name != "soak")
    assert settings.get_current_profile_name() == profile_name()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_a_connection_to_another_machine_is_refused_by_name(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one, pytest.raises(NetworkBlockedError, match=re.escape(f"{host} port 80")):
        one.connect((host, 80))
    with socket.socket(family) as other, pytest.raises(NetworkBlockedError, match=r"127\.0\.0\.1 only"):
        other.connect_ex((host, 80))


def test_libraries_cannot_leave_either() -> None:
    with pytest.raises(NetworkBlockedError):
        asyncio.run(asyncio.open_connection("192.0.2.1", 80))


def test_the_loopback_can_be_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()
    assert all(map(is_local, [("::1", 1, 0, 0), ("localhost", 1), "/tmp/socket", ("127.8.8.8", 1)]))
    assert not any(map(is_local, [("example.invalid", 1), ("::ffff:192.0.2.1", 1, 0, 0)]))
