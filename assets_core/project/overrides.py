"""`ASSETLINE_*` environment variables as settings; the rule stands in `assets_core.project.config`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assets_core.errors import ConfigError
from io_managers.nearest import nearest_names

_PREFIX = "ASSETLINE_"
_SETTINGS = ("project", "default_env", "search_paths", "env", "config")
#: Settings that may be a text where their table has more than one key.
_SHORT_FORMS = {"storage": "url", "executor": "kind"}
_SCALAR = re.compile(r"true|false|[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NEAR_ENOUGH = 0.8


@dataclass(frozen=True)
class Override:
    """One variable: the parts of its name in small letters, and its value."""

    variable: str
    parts: tuple[str, ...]
    value: Any


def parse_overrides(environ: Mapping[str, str]) -> list[Override]:
    """The overrides of an environment, shorter paths first; other variables with the prefix are left alone.

    Raises:
        ConfigError: `override-unknown`: a name is nearly that of a setting; `override-invalid`: not TOML.
    """
    found = []
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX):
            continue
        parts = tuple(variable.removeprefix(_PREFIX).lower().split("__"))
        if parts[0] in _SETTINGS and all(parts):
            found.append(Override(variable, parts, _parse_value(variable, environ[variable])))
            continue
        nearest = nearest_names(parts[0], _SETTINGS, n=1, cutoff=_NEAR_ENOUGH)
        if nearest:
            name = "__".join([_PREFIX + nearest[0].upper(), *(part.upper() for part in parts[1:] if part)])
            raise ConfigError(
                "override-unknown",
                f"the environment variable {variable} names no setting.",
                why=f"settings begin with {', '.join(_PREFIX + name.upper() for name in _SETTINGS)}.",
                do=f"did you mean {name}?",
            )
    return sorted(found, key=lambda override: len(override.parts))


def apply_override(settings: dict[str, Any], override: Override) -> tuple[str, ...]:
    """Set the value in place and return the path of keys at which it stands now.

    Raises:
        ConfigError: `override-invalid`: a part of the path is not a table.
    """
    table, path = settings, []
    for part in override.parts[:-1]:
        key = _existing_key(table, part)
        path.append(key)
        below = table.setdefault(key, {})
        if isinstance(below, str) and key in _SHORT_FORMS:
            below = table[key] = {_SHORT_FORMS[key]: below}
        if not isinstance(below, dict):
            raise ConfigError(
                "override-invalid",
                f"the environment variable {override.variable} cannot be applied.",
                why=f"{'.'.join(path)} is not a table in the configuration.",
                do=f"correct the name, or unset {override.variable}.",
            )
        table = below
    key = _existing_key(table, override.parts[-1])
    table[key] = override.value
    return (*path, key)


def _existing_key(table: Mapping[str, Any], part: str) -> str:
    return next((key for key in table if key.lower().replace("-", "_") == part), part)


def _parse_value(variable: str, text: str) -> Any:
    stripped = text.strip()
    if not _SCALAR.fullmatch(stripped) and stripped[:1] not in ("[", "{", '"', "'"):
        return text
    try:
        parsed = tomllib.loads(f"value = {stripped}")
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            "override-invalid",
            f"the environment variable {variable} cannot be read.",
            why="it begins like a TOML array, table or quoted text, but is none.",
            do="correct it; a text may be quoted.",
        ) from error
    return parsed["value"] if len(parsed) == 1 else text
