"""Servers for the tests that need a real one: started once a session (and test worker), and only when used."""

from collections.abc import Iterator

import pytest

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
