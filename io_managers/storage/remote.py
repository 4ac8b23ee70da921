"""A store in a bucket, over s3fs.

Each request is sent once by the client and repeated here, where it is known which may be: everything but an exclusive
create. (The HTTP library below may still resend a request whose connection was closed under it, so a create can find
its own object and report it as existing; the publish protocol reads back by commit id and so sees that it won.)
"""

import asyncio
import builtins
import io
import os
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectInfo, ObjectMissingError
from io_managers.storage.paths import require_data, require_folder, require_path
from io_managers.storage.remote_errors import Action, answer_of, remote_failure
from io_managers.storage.remote_options import client_arguments, parse_s3_url
from io_managers.storage.streams import ObjectWriter

__all__ = ["RemoteStorage"]

_ATTEMPTS = 3
_FIRST_WAIT_S = 0.2
_PART_BYTES = 8 * 1024 * 1024
_PARTS_PER_SIZE = (
    1000  # then parts double: 10,000 of them, the most a store takes, reach past its largest object
)
_WHOLE_BYTES = 8 * 1024 * 1024
_SLOWEST_BYTES_PER_S = 64 * 1024
_READ_AHEAD_BYTES = 4 * 1024 * 1024


class RemoteStorage:
    """Objects below a prefix of a bucket.

    Args:
        url: `s3://bucket` or `s3://bucket/prefix`.
        options: `endpoint_url`, `key`, `secret`, `token`, `profile`, `region`, `anon`, `addressing_style`, `ca_bundle`,
            `connect_timeout_s`, `read_timeout_s`, `s3_additional_kwargs` (for each request, such as encryption); all
            optional. Without keys the environment's usual ones are used.

    Raises:
        StorageError: The URL or an option is wrong, or s3fs is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self._bucket, prefix = parse_s3_url(url)
        self._base = f"{prefix}/" if prefix else ""
        self._url = f"s3://{self._bucket}/{prefix}" if prefix else f"s3://{self._bucket}"
        self._arguments = client_arguments(dict(options or {}))
        self._secrets = [
            str(self._arguments[name]) for name in ("secret", "token", "key") if self._arguments.get(name)
        ]
        self._endpoint = str(self._arguments.get("endpoint_url") or "S3")
        self._lock = threading.Lock()
        self._client: Any = None
        self._filesystem: Any = None
        self._pid = os.getpid()
        import s3fs  # noqa: F401 - missing, it must be missing here and not in the middle of a run

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return self._url

    def __repr__(self) -> str:
        return f"RemoteStorage({self._url!r})"

    @property
    def filesystem(self) -> Any:
        """The fsspec file system, for readers that take one (`pyarrow.dataset`, pandas)."""
        with self._lock:
            self._forget_after_fork()
            if self._filesystem is None:
                self._filesystem = self._connect()
            return self._filesystem

    def full_path(self, path: str) -> str:
        """Where an object is in `filesystem`: `bucket/prefix/path`."""
        return f"{self._bucket}/{self._base}{require_path(path)}"

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object whole, or raise `ObjectExistsError`; of racing callers exactly one succeeds."""
        require_path(path)
        require_data(data)
        try:
            self._request(
                "write", path, "put_object", once=True, Key=self._base + path, Body=data, IfNoneMatch="*"
            )
        except _AnsweredError as error:
            if error.status in {409, 412}:
                raise ObjectExistsError(path) from None
            raise error.failure from None

    def put(self, path: str, data: bytes) -> None:
        """Write an object whole, replacing what was there."""
        require_path(path)
        self._require("write", path, "put_object", Key=self._base + path, Body=data)

    def get(self, path: str) -> bytes:
        """Read an object, or raise `ObjectMissingError`."""
        require_path(path)
        return self._fetch(path)[0]

    def head(self, path: str) -> ObjectInfo | None:
        """What is at the path, or None."""
        require_path(path)
        try:
            answer = self._request("read", path, "head_object", Key=self._base + path)
        except _AnsweredError as error:
            if error.status == 404 and error.failure.code != "bucket-missing":
                return None
            raise error.failure from None
        return ObjectInfo(path, int(answer["ContentLength"]), _epoch(answer["LastModified"]))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below a folder, sorted by path; nothing is fetched before the first is asked for.

        The whole listing is held in memory, about 300 bytes an object: some servers list `a/x` before `a-b`, so
        its order is only known at its end.
        """
        folder = require_folder(prefix)
        return self._walk(folder)

    def list_names(self, folder: str) -> builtins.list[str]:
        """Sorted names directly in a folder."""
        folder = require_folder(folder)
        start = len(self._base) + (len(folder) + 1 if folder else 0)
        names: set[str] = set()
        for page in self._pages(folder, Delimiter="/"):
            names.update(item["Key"][start:] for item in page.get("Contents", ()))
            names.update(item["Prefix"][start:].removesuffix("/") for item in page.get("CommonPrefixes", ()))
        return sorted(name for name in names if name and not name.endswith("/"))

    def delete(self, path: str) -> None:
        """Remove an object; no error when it is absent."""
        require_path(path)
        try:
            self._request("delete", path, "delete_object", Key=self._base + path)
        except _AnsweredError as error:
            if error.status != 404 or error.failure.code == "bucket-missing":
                raise error.failure from None

    def now(self) -> float:
        """The store's clock, epoch seconds, by the whole second."""
        answer = self._require("list", "", "list_objects_v2", Prefix=self._base, MaxKeys=1)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()

    def open_write(self, path: str) -> BinaryIO:
        """Stream a new object; it appears whole when closed, and not at all before."""
        return cast(BinaryIO, _RemoteWriter(self, require_path(path)))

    def open_read(self, path: str) -> BinaryIO:
        """A seekable reader, or `ObjectMissingError`; an object of up to 8 MiB is read at once."""
        require_path(path)
        first, size = self._fetch(path, 0, _WHOLE_BYTES)
        if len(first) >= size:
            return io.BytesIO(first)
        return io.BufferedReader(_RangeReader(self, path, first, size), _READ_AHEAD_BYTES)

    def local_path(self, path: str) -> Path | None:
        """None."""
        require_path(path)
        return None

    def reconnected(self) -> "RemoteStorage":
        """The same root through connections of its own."""
        other = RemoteStorage.__new__(RemoteStorage)
        other.__dict__.update(self.__dict__)
        other._lock = threading.Lock()
        other._client = other._filesystem = None
        return other

    def delete_abandoned(self, older_than: float) -> int:
        """Give up unfinished uploads that killed processes left, and say how many.

        Args:
            older_than: Epoch seconds by the store's clock; younger uploads may still be in use and stay.
        """
        removed = 0
        marker: dict[str, Any] = {}
        while True:
            page = self._require("list", "", "list_multipart_uploads", Prefix=self._base, **marker)
            for upload in page.get("Uploads", ()):
                if _epoch(upload["Initiated"]) < older_than:
                    self._abort_upload(upload["Key"], upload["UploadId"])
                    removed += 1
            if not page.get("IsTruncated"):
                return removed
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _abort_upload(self, key: str, upload_id: str) -> None:
        try:
            self._request("delete", key, "abort_multipart_upload", Key=key, UploadId=upload_id)
        except _AnsweredError as error:
            if error.status != 404:
                raise error.failure from None

    def _walk(self, folder: str) -> Iterator[ObjectInfo]:
        start = len(self._base)
        found = [
            ObjectInfo(item["Key"][start:], int(item["Size"]), _epoch(item["LastModified"]))
            for page in self._pages(folder)
            for item in page.get("Contents", ())
            if not item["Key"].endswith("/")  # the marks that some tools set for empty folders
        ]
        found.sort(key=lambda info: info.path)
        yield from found

    def _pages(self, folder: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        prefix = f"{self._base}{folder}/" if folder else self._base
        while True:
            page = self._require("list", folder, "list_objects_v2", Prefix=prefix, **arguments)
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _fetch(self, path: str, start: int = 0, length: int | None = None) -> tuple[bytes, int]:
        """Bytes of an object from `start`, as many as there are up to `length`, and the size of the whole.

        Raises:
            ObjectMissingError: There is no such object.
        """
        arguments: dict[str, Any] = {} if length is None else {"Range": f"bytes={start}-{start + length - 1}"}
        try:
            answer = self._request("read", path, "get_object", Key=self._base + path, **arguments)
        except _AnsweredError as error:
            if error.status == 404 and error.failure.code != "bucket-missing":
                raise ObjectMissingError(path) from None
            if error.status == 416:  # no byte there: an empty object, or the end of one
                return b"", start
            raise error.failure from None
        data = cast(bytes, answer["Body"])
        total = str(answer.get("ContentRange", "")).rpartition("/")[2]
        return data, int(total) if total.isdigit() else len(data)

    def _require(self, action: Action, what: str, method: str, **arguments: Any) -> Mapping[str, Any]:
        """The answer to a request, for callers to whom every refusal is a failure."""
        try:
            return self._request(action, what, method, **arguments)
        except _AnsweredError as error:
            raise error.failure from None

    def _request(
        self, action: Action, what: str, method: str, *, once: bool = False, **arguments: Any
    ) -> Mapping[str, Any]:
        """Send a request, again when that can help, and return the answer with its body read.

        Raises:
            _AnsweredError: The store refused.
            StorageError: There was no answer, or none that tells.
        """
        from fsspec.asyn import sync

        for attempt in range(1 if once else _ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))
            client = self._connected()
            try:
                return cast(
                    Mapping[str, Any],
                    sync(client.loop, _send, client, method, {"Bucket": self._bucket, **arguments}),
                )
            except Exception as error:  # noqa: BLE001 - whatever the layers below raise becomes one of ours, always
                failure = self._without_secrets(
                    remote_failure(error, action, what, self._url, self._endpoint)
                )
                answer = answer_of(error)
            if not failure.retryable:
                break
        if answer is not None and not failure.retryable:
            raise _AnsweredError(answer.status, failure)
        raise failure from None

    def _without_secrets(self, failure: StorageError) -> StorageError:
        for secret in self._secrets:
            failure.why = failure.why.replace(secret, "***")
        failure.args = (failure.code, failure.what, failure.why, failure.do, failure.left)
        return failure

    def _connected(self) -> Any:
        with self._lock:
            self._forget_after_fork()
            if self._client is None:
                self._client = self._connect()
                self._client.retries = 1
            return self._client

    def _connect(self) -> Any:
        import s3fs

        return s3fs.S3FileSystem(**self._arguments, use_listings_cache=False, skip_instance_cache=True)

    def _forget_after_fork(self) -> None:
        """Drop connections that a parent process made: its event loop does not run in this one."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._client = self._filesystem = None


class _AnsweredError(Exception):
    """The store refused: HTTP `status`, and the `failure` to raise unless the caller expected it."""

    def __init__(self, status: int, failure: StorageError) -> None:
        super().__init__(status)
        self.status = status
        self.failure = failure


async def _send(client: Any, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    # The client's own timeout does not cover waiting for the leave to send a body, so there is one around it.
    config = client.config_kwargs
    patience_s = config["connect_timeout"] + config["read_timeout"]
    patience_s += len(arguments.get("Body", b"")) / _SLOWEST_BYTES_PER_S
    answer = dict(await asyncio.wait_for(client._call_s3(method, **arguments), patience_s))
    if "Body" in answer:
        async with answer["Body"] as body:
            answer["Body"] = await body.read()
    return answer


def _epoch(moment: datetime) -> float:
    return moment.timestamp()


class _RangeReader(io.RawIOBase):
    """Reads an object by ranges; its first bytes are known from opening it."""

    def __init__(self, storage: RemoteStorage, path: str, first: bytes, size: int) -> None:
        super().__init__()
        self._storage = storage
        self._path = path
        self._first = memoryview(first)
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError("negative position")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        wanted = min(len(target), self._size - self._position)
        if wanted <= 0:
            return 0
        end = self._position + wanted
        if end <= len(self._first):
            target[:wanted] = self._first[self._position : end]
        else:
            data, _ = self._storage._fetch(self._path, self._position, wanted)
            if len(data) != wanted:
                raise StorageError(
                    "data-damaged",
                    f"{self._path} in {self._storage.url} changed or was cut while it was read.",
                    why=f"{wanted} bytes were asked for at {self._position} of {self._size}, {len(data)} came.",
                    do="run again; if it happens again, check the store with `assetline doctor`.",
                    retryable=True,
                )
            target[:wanted] = data
        self._position = end
        return wanted


class _RemoteWriter(ObjectWriter):
    """Uploads an object: a small one at once when closed, a large one in parts that nobody sees before."""

    def __init__(self, storage: RemoteStorage, path: str) -> None:
        super().__init__(path, buffer_bytes=_PART_BYTES)
        self._storage = storage
        self._key = storage._base + path
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []

    def _emit(self, data: bytes | bytearray | memoryview) -> None:
        if not self._upload_id:
            answer = self._storage._require("write", self.path, "create_multipart_upload", Key=self._key)
            self._upload_id = answer["UploadId"]
        number = len(self._parts) + 1
        answer = self._storage._require(
            "write",
            self.path,
            "upload_part",
            Key=self._key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=bytes(data),
        )
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        self._parts.append(
            part | {name: value for name, value in answer.items() if name.startswith("ChecksumCRC")}
        )
        self._limit = _PART_BYTES << (number // _PARTS_PER_SIZE)

    def _finish(self, rest: bytearray) -> None:
        if not self._upload_id:
            self._storage._require("write", self.path, "put_object", Key=self._key, Body=bytes(rest))
            return
        if rest:
            self._emit(rest)
        self._storage._require(
            "write",
            self.path,
            "complete_multipart_upload",
            Key=self._key,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._parts},
        )

    def _discard(self) -> None:
        upload_id, self._upload_id = self._upload_id, ""
        if upload_id:
            try:
                self._storage._abort_upload(self._key, upload_id)
            except StorageError:  # unfinished parts stay, unseen, until `delete_abandoned`
                return
