"""What a failed request to an object store means: read from its cause, never from the exception's class alone.

The same refused condition arrives as `FileExistsError` from one server and as a bare `OSError` from another;
what both carry, somewhere in the chain of causes, is the status of the answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from io_managers.errors import StorageError

__all__ = ["Answer", "answer_of", "remote_failure"]

Action = Literal["read", "write", "delete", "list"]

_DENIED = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
    }
)
_NO_CREDENTIALS = frozenset(
    {
        "CredentialRetrievalError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)
_NOT_SENT = frozenset(
    {
        "ClientConnectorError",
        "ConnectTimeoutError",
        "EndpointConnectionError",
        "ProxyConnectionError",
        "gaierror",
    }
)
_BAD_TLS = frozenset({"ClientConnectorCertificateError", "ClientSSLError", "SSLError"})
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})
_WRONG_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)
_SLOW_DOWN = frozenset({"RequestTimeout", "SlowDown", "Throttling", "TooManyRequests"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: HTTP `status`, its error `code` and `message`, both possibly empty."""

    status: int
    code: str
    message: str

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.status), self.code, self.message) if part)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and everything that led to it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [current.__context__, current.__cause__]


def answer_of(error: BaseException) -> Answer | None:
    """The server's answer that an exception stems from, None when there was none."""
    for cause in _chain(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            said = response.get("Error", {})
            code = str(said.get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if not status and code.isdigit():
                status = int(code)
            return Answer(int(status), "" if code.isdigit() else code, str(said.get("Message", "")))
    return None


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(kind.__name__ for cause in _chain(error) for kind in type(cause).__mro__)


def remote_failure(error: BaseException, action: Action, what: str, url: str, endpoint: str) -> StorageError:
    """The error for a request that failed.

    Args:
        error: As the client raised it.
        action: What was asked for.
        what: The path or folder it was about.
        url: The store's root, without credentials.
        endpoint: Whom we talked to, for the reader.
    """
    answer = answer_of(error)
    title = f"could not {action} {what or 'the root'} in {url}."
    if answer is None:
        return _unanswered(error, action, title, endpoint)
    why = f"{endpoint} answered {answer}."
    if answer.code == "NoSuchBucket":
        return StorageError(
            "bucket-missing",
            title,
            why=why,
            do="create the bucket, or correct its name in the configuration.",
        )
    if answer.code in _WRONG_REGION or answer.status in {301, 307}:
        return StorageError(
            "storage-region-wrong", title, why=why, do="set the option `region` to the bucket's region."
        )
    if answer.status in {401, 403} or answer.code in _DENIED:
        return StorageError(
            "storage-access-denied",
            title,
            why=why,
            do="check the key and secret and that they may get, put, delete and list below that prefix.",
        )
    if answer.code in _FULL or answer.status == 507:
        return StorageError(
            "storage-full", title, why=why, do="free space in the store or raise its quota, then run again."
        )
    if answer.status >= 500 or answer.status in {408, 429} or answer.code in _SLOW_DOWN:
        return _unknown(action, title, why)
    return StorageError(
        "storage-refused", title, why=why, do="run `assetline doctor`, which tells what this store cannot do."
    )


def _unanswered(error: BaseException, action: Action, title: str, endpoint: str) -> StorageError:
    names = _names(error)
    why = f"{endpoint} gave no answer: {type(error).__name__}: {error}".rstrip(".") + "."
    if names & _NO_CREDENTIALS:
        return StorageError(
            "storage-access-denied",
            title,
            why=f"no usable credentials: {error}".rstrip(".") + ".",
            do="set the options `key` and `secret`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if names & _BAD_TLS:
        return StorageError(
            "storage-certificate", title, why=why, do="set the option `ca_bundle`, or correct `endpoint_url`."
        )
    if (
        names & {"ParamValidationError", "InvalidEndpoint", "ValueError", "TypeError"}
        and not names & _NOT_SENT
    ):
        return StorageError(
            "storage-refused", title, why=why, do="check the storage options in the configuration."
        )
    if names & _NOT_SENT:
        return StorageError(
            "storage-unreachable",
            title,
            why=why,
            do="check the network and the option `endpoint_url`, then run again.",
            retryable=True,
        )
    return _unknown(action, title, why)


def _unknown(action: Action, title: str, why: str) -> StorageError:
    """A request that may or may not have taken effect, which matters only when it was to change something."""
    if action in {"read", "list"}:
        return StorageError(
            "storage-unreachable",
            title,
            why=why,
            do="wait for the store to recover, then run again.",
            retryable=True,
        )
    return StorageError(
        "outcome-unknown",
        title,
        why=why,
        do="run again: what was written is found, and written again only if it is absent.",
        left="at most one complete object.",
        retryable=True,
    )
