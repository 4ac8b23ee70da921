"""Warm processes to fork from."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import tiny
from tests.faults.forks import ForkServer


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ForkServer]]:
    """Two warm processes, one for each core."""
    servers = [ForkServer("tests.faults.tiny") for _ in range(2)]
    names = servers[0].call(tiny.modules, tmp_path_factory.mktemp("warm")).value
    for server in servers:
        server.warm_up(names, tiny.keep_statements)
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder of this test alone, in memory where the system has such a place: hundreds of copies are made there."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="assetline-faults-", dir=memory) as folder:
        os.chmod(folder, 0o755)
        work = Path(folder) / "work"
        work.mkdir()
        yield work


@pytest.fixture
def fork(forks: list[ForkServer]) -> ForkServer:
    """One warm process."""
    return forks[0]
