"""From a storage URL and the options of the configuration to the arguments of the client."""

import re
from typing import Any

from io_managers.errors import StorageError
from io_managers.nearest import nearest_names
from io_managers.storage.paths import require_path

__all__ = ["OPTIONS", "client_arguments", "parse_s3_url"]

#: What a remote store can be told.
OPTIONS = (
    "addressing_style",
    "anon",
    "ca_bundle",
    "connect_timeout_s",
    "endpoint_url",
    "key",
    "profile",
    "read_timeout_s",
    "region",
    "s3_additional_kwargs",
    "secret",
    "token",
)

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 60.0
_S3_URL = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(?P<prefix>[^?#]*))?")


def parse_s3_url(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`, the prefix without slashes around it.

    Raises:
        StorageError: `storage-url-invalid`; credentials in the URL are refused and not repeated.
    """
    match = _S3_URL.fullmatch(url)
    if match is None:
        shown = "the URL given" if "@" in url else repr(url[:200])
        raise StorageError(
            "storage-url-invalid",
            f"{shown} is not the address of a bucket.",
            why="it must be s3://bucket or s3://bucket/prefix, without credentials, query or fragment.",
            do="correct the URL; keys go into the options `key` and `secret`, or into the environment.",
        )
    prefix = (match["prefix"] or "").strip("/")
    return match["bucket"], require_path(prefix) if prefix else ""


def client_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments for `s3fs.S3FileSystem`: each request is sent once, with bounded patience.

    Raises:
        StorageError: `storage-option-unknown`, or `storage-options-incomplete` for a key without its secret.
    """
    for name in options:
        if name not in OPTIONS:
            near = nearest_names(name, OPTIONS, 1)
            raise StorageError(
                "storage-option-unknown",
                f"a store in a bucket has no option {name!r}.",
                why=f"the options are {', '.join(OPTIONS)}.",
                do=f"write {near[0]!r} instead." if near else "remove it from the configuration.",
            )
    if bool(options.get("key")) != bool(options.get("secret")):
        raise StorageError(
            "storage-options-incomplete",
            "the options `key` and `secret` go together.",
            why=f"only `{'key' if options.get('key') else 'secret'}` is set.",
            do="set both, or neither to use the environment's credentials.",
        )
    endpoint = options.get("endpoint_url")
    style = options.get("addressing_style") or ("path" if endpoint else "auto")
    client: dict[str, Any] = {}
    if region := options.get("region") or ("us-east-1" if endpoint else None):
        client["region_name"] = region
    if bundle := options.get("ca_bundle"):
        client["verify"] = bundle
    arguments: dict[str, Any] = {
        "client_kwargs": client,
        "config_kwargs": {
            "connect_timeout": float(options.get("connect_timeout_s", _CONNECT_TIMEOUT_S)),
            "read_timeout": float(options.get("read_timeout_s", _READ_TIMEOUT_S)),
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "max_pool_connections": 50,
            "s3": {"addressing_style": style},
        },
        "cache_regions": True,
        "anon": bool(options.get("anon", False)),
    }
    for name in ("endpoint_url", "key", "secret", "token", "profile", "s3_additional_kwargs"):
        if options.get(name):
            arguments[name] = options[name]
    return arguments
