"""The store in a bucket: failures by their cause, real servers, multipart uploads, secrets, forks."""

import gc
import io
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectMissingError
from io_managers.storage.remote import RemoteStorage
from io_managers.storage.remote_errors import answer_of, remote_failure
from tests.support.profiles import scale
from tests.support.servers import S3Root, S3Server, free_ports


class ClientError(Exception):
    """Shaped like the client's, without needing it."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


def wrapped(cause: Exception, outer: Exception | None = None) -> Exception:
    try:
        try:
            raise cause
        except Exception as inner:
            raise (outer or OSError(22, "invalid argument")) from inner
    except Exception as error:  # noqa: BLE001
        return error


def classify(error: Exception, action: Any = "write") -> StorageError:
    return remote_failure(error, action, "log/a", "s3://b/p", "http://store")


@pytest.mark.parametrize(
    ("status", "code", "expected", "retryable"),
    [
        (403, "AccessDenied", "storage-access-denied", False),
        (403, "InvalidAccessKeyId", "storage-access-denied", False),
        (401, "Unauthorized", "storage-access-denied", False),
        (400, "ExpiredToken", "storage-access-denied", False),
        (404, "NoSuchBucket", "bucket-missing", False),
        (301, "PermanentRedirect", "storage-region-wrong", False),
        (507, "InsufficientStorage", "storage-full", False),
        (500, "InternalError", "outcome-unknown", True),
        (502, "", "outcome-unknown", True),
        (503, "SlowDown", "outcome-unknown", True),
        (429, "TooManyRequests", "outcome-unknown", True),
        (400, "RequestTimeout", "outcome-unknown", True),
        (501, "NotImplemented", "outcome-unknown", True),
        (400, "InvalidRequest", "storage-refused", False),
    ],
)
def test_an_answer_is_classified_by_its_status_whatever_wraps_it(
    status: int, code: str, expected: str, retryable: bool
) -> None:
    for error in (
        ClientError(status, code),
        wrapped(ClientError(status, code)),
        wrapped(wrapped(ClientError(status, code))),
    ):
        failure = classify(error)
        assert (failure.code, failure.retryable) == (expected, retryable)
        assert "s3://b/p" in failure.what
        assert failure.do


def _named(name: str, base: type[Exception] = Exception) -> Exception:
    return cast(Exception, type(name, (base,), {})("no luck"))


@pytest.mark.parametrize(
    ("name", "expected", "retryable"),
    [
        ("NoCredentialsError", "storage-access-denied", False),
        ("ProfileNotFound", "storage-access-denied", False),
        ("EndpointConnectionError", "storage-unreachable", True),
        ("ConnectTimeoutError", "storage-unreachable", True),
        ("ReadTimeoutError", "outcome-unknown", True),
        ("ConnectionClosedError", "outcome-unknown", True),
        ("SSLError", "storage-certificate", False),
        ("ParamValidationError", "storage-refused", False),
    ],
)
def test_a_missing_answer_is_classified_by_whether_the_request_was_sent(
    name: str, expected: str, retryable: bool
) -> None:
    failure = classify(wrapped(_named(name)))
    assert (failure.code, failure.retryable) == (expected, retryable)


def test_a_read_has_no_unknown_outcome() -> None:
    for error in (ClientError(500, "InternalError"), _named("ReadTimeoutError")):
        failure = classify(error, "read")
        assert (failure.code, failure.retryable) == ("storage-unreachable", True)


def test_the_answer_is_found_in_a_context_that_was_not_declared_a_cause() -> None:
    try:
        try:
            raise ClientError(412, "PreconditionFailed")
        except ClientError:
            raise OSError(22, "invalid argument")  # noqa: B904
    except OSError as error:
        answer = answer_of(error)
    assert answer is not None
    assert answer.status == 412


@pytest.mark.s3
def test_credentials_are_in_no_text(moto: S3Server) -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:1",
        "key": "AKIACANARY",
        "secret": "canary-secret",
        "token": "canary-token",
    }
    storage = RemoteStorage("s3://bucket/prefix", options)
    with pytest.raises(StorageError) as caught:
        storage.put_new("a", b"x")
    texts = [storage.url, repr(storage), str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert not [text for text in texts if "canary" in text.lower()]


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_unreachable_endpoint_is_given_up_and_can_be_tried_again() -> None:
    (port,) = free_ports(1)
    storage = RemoteStorage(
        "s3://bucket", {"endpoint_url": f"http://127.0.0.1:{port}", "key": "k", "secret": "secret"}
    )
    for call in (
        lambda: storage.get("a"),
        lambda: storage.put_new("a", b"x"),
        lambda: list(storage.list("")),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == ("storage-unreachable", True)
        assert str(port) in caught.value.why


@pytest.mark.s3
def test_an_endpoint_that_never_answers_leaves_the_outcome_of_a_write_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = {
            "endpoint_url": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "key": "k",
            "secret": "secret",
            "connect_timeout_s": 0.1,
            "read_timeout_s": 0.1,
        }
        storage = RemoteStorage("s3://bucket", options)
        with pytest.raises(StorageError) as caught:
            storage.put_new("a", b"x")
    assert (caught.value.code, caught.value.retryable) == ("outcome-unknown", True)


@pytest.fixture(
    params=[
        pytest.param("s3_root", marks=pytest.mark.s3),
        pytest.param("seaweed_root", marks=[pytest.mark.s3, pytest.mark.slow]),
    ]
)
def root(request: pytest.FixtureRequest) -> Iterator[S3Root]:
    yield request.getfixturevalue(request.param)


@pytest.fixture
def storage(root: S3Root) -> RemoteStorage:
    return RemoteStorage(root.url, root.options)


def test_a_bucket_that_does_not_exist_is_named(storage: RemoteStorage, root: S3Root) -> None:
    missing = RemoteStorage("s3://no-such-bucket-here/p", root.options)
    for call in (lambda: missing.get("a"), lambda: list(missing.list("")), lambda: missing.open_read("a")):
        with pytest.raises(StorageError, match="no-such-bucket-here") as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == ("bucket-missing", False)


@pytest.mark.s3
@pytest.mark.slow
def test_a_wrong_secret_is_refused_and_said_so(seaweed_root: S3Root) -> None:
    storage = RemoteStorage(seaweed_root.url, {**seaweed_root.options, "secret": "not-the-secret"})
    for call in (
        lambda: storage.put_new("a", b"x"),
        lambda: storage.get("a"),
        lambda: storage.head("a"),
        lambda: storage.list_names(""),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert (caught.value.code, caught.value.retryable) == ("storage-access-denied", False)
        assert "not-the-secret" not in str(caught.value)


@pytest.mark.slow
def test_a_large_object_is_uploaded_in_parts_and_read_by_ranges(storage: RemoteStorage) -> None:
    chunk = bytes(range(256)) * 4096
    with storage.open_write("data/large") as stream:
        for number in range(10):
            stream.write(number.to_bytes(4) + chunk)
    size = 10 * (len(chunk) + 4)
    info = storage.head("data/large")
    assert info is not None
    assert info.size_bytes == size
    with storage.open_read("data/large") as reader:
        assert isinstance(reader, io.BufferedReader)
        for number in (9, 0, 5, 8):
            reader.seek(number * (len(chunk) + 4))
            assert reader.read(4) == number.to_bytes(4)
            assert reader.read(len(chunk)) == chunk
        reader.seek(0)
        assert len(reader.read()) == size
        assert reader.read(1) == b""


def test_an_upload_that_is_given_up_leaves_neither_object_nor_parts(
    storage: RemoteStorage, root: S3Root
) -> None:
    stream = storage.open_write("data/given-up")
    stream.write(b"x" * (9 << 20))
    assert storage.head("data/given-up") is None
    stream.abort()  # type: ignore[attr-defined]
    assert list(storage.list("")) == []
    assert storage.delete_abandoned(storage.now() + 60) == 0


@pytest.mark.s3
@pytest.mark.slow
def test_an_upload_whose_process_died_is_unseen_and_can_be_removed(seaweed_root: S3Root) -> None:
    storage = RemoteStorage(seaweed_root.url, seaweed_root.options)
    storage._require("write", "x", "create_multipart_upload", Key=storage._base + "data/dead")
    assert list(storage.list("")) == []
    assert storage.delete_abandoned(storage.now() - 3600) == 0
    assert storage.delete_abandoned(storage.now() + 60) == 1


@pytest.mark.slow
def test_a_listing_goes_on_past_its_first_page(
    storage: RemoteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    page = scale(50)  # the page of a soak is the server's own, of a thousand
    ask = storage._request

    def ask_for_pages(action: Any, what: str, method: str, **arguments: Any) -> Any:
        if method == "list_objects_v2":
            arguments.setdefault("MaxKeys", page)
            requests.append(what)
        return ask(action, what, method, **arguments)

    requests: list[str] = []
    monkeypatch.setattr(storage, "_request", ask_for_pages)
    folders = [f"{number:04d}" for number in range(2 * page + 3)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda folder: storage.put(f"many/{folder}/x", b"x"), folders))
    assert [info.path for info in storage.list("many")] == [f"many/{folder}/x" for folder in folders]
    assert storage.list_names("many") == folders
    assert len(requests) == 6


def test_other_readers_find_the_objects_through_the_file_system(storage: RemoteStorage) -> None:
    storage.put("d/a%2Fb/x", b"seen")
    assert storage.filesystem.cat_file(storage.full_path("d/a%2Fb/x")) == b"seen"


def test_two_connections_see_each_others_objects(storage: RemoteStorage) -> None:
    other = storage.reconnected()
    storage.put_new("a", b"1")
    with pytest.raises(ObjectExistsError):
        other.put_new("a", b"2")
    assert other.get("a") == b"1"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.s3
def test_a_forked_process_makes_connections_of_its_own(s3_root: S3Root) -> None:
    storage = RemoteStorage(s3_root.url, s3_root.options)
    storage.put("parent", b"1")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            storage.put_new("child", storage.get("parent"))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert storage.get("child") == b"1"


def test_an_object_that_vanishes_while_it_is_read_is_an_error_not_a_short_read(
    storage: RemoteStorage,
) -> None:
    with storage.open_write("d/x") as stream:
        stream.write(b"x" * (10 << 20))
    reader = storage.open_read("d/x")
    storage.delete("d/x")
    reader.seek(9 << 20)
    with pytest.raises((StorageError, ObjectMissingError)):
        reader.read(100)
    del reader
    gc.collect()
