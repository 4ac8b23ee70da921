"""References to secrets inside configured texts: `${env:NAME}`, `${file:PATH}`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from assets_core.errors import ConfigError
from io_managers.nearest import nearest_names

T = TypeVar("T")

_REFERENCE = re.compile(r"\$(?P<escape>\$)?\{(?P<scheme>[A-Za-z_][\w-]*):(?P<name>[^}]*)\}")
_SCHEMES = ("env", "file")


def resolve_text(text: str) -> str:
    """The text with its references replaced by what they refer to.

    Raises:
        ConfigError: A reference leads nowhere.
    """
    return _REFERENCE.sub(_resolve, text) if "${" in text else text


def anchor_references(value: T, root: Path) -> T:
    """The value with the relative path of every `${file:PATH}` in it taken from `root`."""
    anchored: Any = value
    if isinstance(value, str):
        anchored = _REFERENCE.sub(lambda match: _anchor(match, root), value) if "${file:" in value else value
    elif isinstance(value, Mapping):
        anchored = {name: anchor_references(item, root) for name, item in value.items()}
    elif isinstance(value, list | tuple):
        anchored = type(value)([anchor_references(item, root) for item in value])
    return cast("T", anchored)


def _anchor(match: re.Match[str], root: Path) -> str:
    if match["escape"] or match["scheme"] != "file":
        return match[0]
    return f"${{file:{root / Path(match['name']).expanduser()}}}"


def _resolve(match: re.Match[str]) -> str:
    reference, name = match[0], match["name"]
    if match["escape"]:
        return reference[1:]
    match match["scheme"]:
        case "env":
            value = os.environ.get(name)
            if value is None:
                raise ConfigError(
                    "secret-missing",
                    f"the environment variable {name} is not set.",
                    why=f"the configuration refers to it as {reference}.",
                    do=f"export {name}=... and run again.",
                )
            return value
        case "file":
            return _read_secret(Path(name), reference)
        case scheme:
            nearest = nearest_names(scheme, _SCHEMES, n=1)
            raise ConfigError(
                "secret-scheme-unknown",
                f"the secret reference {reference} is of an unknown kind.",
                why=f"known kinds: {', '.join(_SCHEMES)}" + (f"; nearest: {nearest[0]}." if nearest else "."),
                do="correct the reference, or write $${ for a plain ${.",
            )


def _read_secret(path: Path, reference: str) -> str:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise ConfigError(
            "secret-missing" if missing else "secret-unreadable",
            f"the secret file {path} {'does not exist' if missing else 'cannot be read'}.",
            why=f"the configuration refers to it as {reference}.",
            do="write the secret into that file, or correct the path.",
        ) from error
    return text.removesuffix("\n").removesuffix("\r")
