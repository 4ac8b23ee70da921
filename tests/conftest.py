"""How hard the tests look, where they may connect to, and the servers for those that need a real one.

A server is started once a session (and test worker), and only when used.
"""

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import pytest

from tests.support import figures
from tests.support.dask import DaskServer, serve_dask
from tests.support.loopback import only_loopback
from tests.support.profiles import profile_name, register
from tests.support.servers import (
    S3Root,
    S3Server,
    fresh_root,
    make_bucket,
    serve_moto,
    serve_rclone,
    serve_seaweed,
)

_BUCKET = "assetline-tests"

register()


def pytest_report_header() -> str:
    """Say which profile is in force."""
    return f"assetline profile: {profile_name()}"


@pytest.fixture(scope="session", autouse=True)
def _stay_on_this_machine() -> Iterator[None]:
    """No test connects to another machine."""
    with only_loopback():
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """A moto server with a bucket."""
    with serve_moto() as server:
        make_bucket(server, _BUCKET)
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A SeaweedFS server with a bucket."""
    with serve_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        make_bucket(server, _BUCKET)
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An rclone server with a bucket; it ignores conditions."""
    with serve_rclone(tmp_path_factory.mktemp("rclone") / "root") as server:
        make_bucket(server, _BUCKET)
        yield server


@pytest.fixture
def s3_root(moto: S3Server) -> S3Root:
    """An empty place on moto, for this test alone."""
    return fresh_root(moto, _BUCKET)


@pytest.fixture
def seaweed_root(seaweed: S3Server) -> S3Root:
    """An empty place on SeaweedFS, for this test alone."""
    return fresh_root(seaweed, _BUCKET)


@pytest.fixture
def rclone_root(rclone: S3Server) -> S3Root:
    """An empty place on rclone, for this test alone."""
    return fresh_root(rclone, _BUCKET)


@pytest.fixture(scope="session")
def dask_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskServer]:
    """A Dask scheduler with two workers that no test kills."""
    with serve_dask(tmp_path_factory.mktemp("dask")) as server:
        yield server


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a test worker: hand the figures of the campaigns over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = [astuple(figure) for figure in figures.FIGURES.values()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Bring the figures of the test workers together."""
    for name, points, faults, violations in getattr(node, "workeroutput", {}).get("figures", ()):
        figures.count(name, points=points, faults=faults, violations=violations)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of the campaigns."""
    lines = figures.table()
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)
