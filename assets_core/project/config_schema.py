"""What the configuration may say, as pydantic models; imported only when there is a configuration to check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from assets_core.errors import ConfigError
from io_managers.keys import InvalidKeyError, require_asset_key
from io_managers.nearest import nearest_names

KeyPath = tuple[str, ...]

#: Executors whose only setting is the number of workers.
_PLAIN_EXECUTORS = frozenset({"inline", "threads", "processes"})
_MAX_NAMED = 5


class StorageModel(BaseModel):
    """`storage`: a URL, or a table with `url` and the options of the storage's library."""

    model_config = ConfigDict(extra="allow")

    url: str | None = None


class ExecutorModel(BaseModel):
    """`executor`: a kind, or a table with `kind` and its settings."""

    model_config = ConfigDict(extra="allow")

    kind: str = "inline"
    workers: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _refuse_unknown(self) -> ExecutorModel:
        if self.kind in _PLAIN_EXECUTORS and self.model_extra:
            raise PydanticCustomError("unknown_below", "{key}", {"key": sorted(self.model_extra)[0]})
        return self

    def settings(self) -> dict[str, Any]:
        """As a table: `workers` only when given."""
        return self.model_dump(exclude_none=True)


class EnvironmentModel(BaseModel):
    """`[env.NAME]`."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    storage: StorageModel | None = None
    state: str | None = None
    executor: ExecutorModel = ExecutorModel()
    durability: Literal["fsync", "os"] = "fsync"
    resources: dict[str, dict[str, Any]] = {}
    checks: dict[str, Any] = {}

    @field_validator("storage", mode="before")
    @classmethod
    def _storage_from_text(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @field_validator("executor", mode="before")
    @classmethod
    def _executor_from_text(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value


class ConfigModel(BaseModel):
    """The whole configuration."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    project: str | None = None
    default_env: str = "dev"
    search_paths: list[str] | None = None
    env: dict[str, EnvironmentModel] = {}
    config: dict[str, dict[str, Any]] = {}

    @field_validator("config")
    @classmethod
    def _asset_keys(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for key in value:
            try:
                require_asset_key(key)
            except InvalidKeyError:
                raise PydanticCustomError(
                    "asset_key", "'{key}' cannot be the key of an asset", {"key": key}
                ) from None
        return value


def validate_config(
    raw: dict[str, Any], file: Path | None, overrides: Sequence[tuple[KeyPath, str]]
) -> ConfigModel:
    """The configuration as a model.

    Args:
        raw: As parsed, overrides applied.
        file: Where it comes from, None when from environment variables alone.
        overrides: Paths that environment variables have set, with the variables' names.

    Raises:
        ConfigError: `config-unknown-key` or `config-invalid`; the first problem in full, then the others. Values are
            never shown: they may be secrets.
    """
    try:
        return ConfigModel.model_validate(raw)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
    lines = [_describe(problem, file, overrides) for problem in problems]
    first_is_unknown = _unknown_key(problems[0]) is not None
    what, why = lines[0]
    others = [text for text, _ in lines[1 : 1 + _MAX_NAMED]]
    if len(lines) > 1 + _MAX_NAMED:
        others.append(f"and {len(lines) - 1 - _MAX_NAMED} more.")
    raise ConfigError(
        "config-unknown-key" if first_is_unknown else "config-invalid",
        what,
        why=" ".join([why, *([f"Also: {' '.join(others)}"] if others else [])]).strip(),
        do="correct the key, or remove it." if first_is_unknown else "correct the value.",
    )


def _unknown_key(problem: ErrorDetails) -> KeyPath | None:
    """The path of the unknown key a problem is about, None for another problem."""
    location = tuple(str(part) for part in problem["loc"])
    if problem["type"] == "unknown_below":
        return (*location, str(problem["ctx"]["key"]))
    return location if problem["type"] == "extra_forbidden" else None


def _describe(
    problem: ErrorDetails, file: Path | None, overrides: Sequence[tuple[KeyPath, str]]
) -> tuple[str, str]:
    """What is wrong and where, and why."""
    unknown = _unknown_key(problem)
    location = unknown or tuple(str(part) for part in problem["loc"])
    source = _source(location, file, overrides)
    if unknown is not None:
        known = _known_keys(unknown[:-1])
        nearest = nearest_names(unknown[-1], known, n=1)
        why = f"known keys: {', '.join(known)}" + (f"; nearest: {nearest[0]}." if nearest else ".")
        return f"unknown key {unknown[-1]!r} in {_table(unknown[:-1], file)}{source}.", why
    message = problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(location)}{source}: {message[:1].lower()}{message[1:]}.", ""


def _source(location: KeyPath, file: Path | None, overrides: Sequence[tuple[KeyPath, str]]) -> str:
    for path, variable in overrides:
        if location[: len(path)] == path or path[: len(location)] == location:
            return f", set by the environment variable {variable}"
    return f" of {file}" if file is not None else ""


def _table(path: KeyPath, file: Path | None) -> str:
    prefix = ("tool", "assetline") if file is not None and file.name == "pyproject.toml" else ()
    full = ".".join((*prefix, *path))
    return f"[{full}]" if full else "the top level"


def _known_keys(table: KeyPath) -> list[str]:
    model: type[BaseModel] = ConfigModel
    if len(table) == 2:
        model = EnvironmentModel
    elif len(table) > 2:
        model = ExecutorModel
    return sorted(model.model_fields)
