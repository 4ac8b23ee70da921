"""The configuration: `[tool.assetline]` of a pyproject.toml, or assetline.toml, and `ASSETLINE_*` over both.

An environment variable names a setting by its path, in capitals, with two underscores between the parts:
`ASSETLINE_PROJECT`, `ASSETLINE_DEFAULT_ENV`, `ASSETLINE_ENV__DEV__STORAGE`, `ASSETLINE_ENV__DEV__EXECUTOR__WORKERS`.
A part is the existing key that it equals without regard to case and to `-` or `_`, else a new key in small letters.
Its value is read as TOML when it is a number, true, false, an array, a table or quoted, else taken as text.

A text may refer to a secret: `${env:NAME}` an environment variable, `${file:PATH}` the content of a file without its
last line end; `$${` stands for a plain `${`. References stay references until `resolve_secrets`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

from assets_core.errors import ConfigError
from assets_core.project.overrides import Override, apply_override, parse_overrides
from assets_core.project.secret_references import anchor_references, resolve_text

if TYPE_CHECKING:
    from assets_core.project.config_schema import ConfigModel, EnvironmentModel

T = TypeVar("T")
Durability = Literal["fsync", "os"]

DEFAULT_ENVIRONMENT = "dev"
_OWN_FILE, _SHARED_FILE = "assetline.toml", "pyproject.toml"
_USER_INFO = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True, repr=False)
class EnvironmentSettings:
    """One environment as configured, secret references in place.

    Attributes:
        root: Folder that relative paths start from.
        storage_url: `file://...` with an absolute path, `s3://...` or `memory://...`.
        storage_options: For the storage's library.
        state_url: `sqlite:///...` with an absolute path.
        executor: `kind`, and what that kind of executor takes.
        durability: `fsync`, or `os`: survives a killed process, not a power cut.
        resources: Settings of resources by name.
        checks: Settings of checks.
    """

    name: str
    root: Path
    storage_url: str
    state_url: str
    storage_options: dict[str, Any] = field(default_factory=dict)
    executor: dict[str, Any] = field(default_factory=lambda: {"kind": "inline"})
    durability: Durability = "fsync"
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Without options and credentials."""
        return (
            f"EnvironmentSettings({self.name!r}, storage={redact_url(self.storage_url)!r}, "
            f"state={redact_url(self.state_url)!r}, executor={self.executor.get('kind')!r})"
        )


@dataclass(frozen=True)
class ProjectSettings:
    """The whole configuration.

    Attributes:
        project: `module` or `module:attribute`, None when not configured.
        environments: By name; `dev` is always there.
        config: Run configuration by asset key, secret references in place.
        root: Folder of the configuration file, or the starting folder when there is none.
        search_paths: Absolute folders in which the project's modules are found.
        file: The configuration file, None when there is none.
    """

    project: str | None
    default_env: str
    environments: dict[str, EnvironmentSettings]
    config: dict[str, dict[str, Any]] = field(repr=False)
    root: Path
    search_paths: tuple[str, ...]
    file: Path | None


def find_config(start: Path) -> Path | None:
    """The nearest configuration file from a folder upward.

    Raises:
        ConfigError: `config-syntax`, or `config-ambiguous`: two files of one folder have settings.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        own, shared = folder / _OWN_FILE, folder / _SHARED_FILE
        has_own = own.is_file()
        if shared.is_file() and _has_section(shared):
            if has_own:
                raise ConfigError(
                    "config-ambiguous",
                    f"{folder} has two configurations.",
                    why=f"{_OWN_FILE} is there, and {_SHARED_FILE} has a table [tool.assetline].",
                    do="move the settings of one into the other.",
                )
            return shared
        if has_own:
            return own
    return None


def load_settings(start: Path | None = None, environ: Mapping[str, str] | None = None) -> ProjectSettings:
    """Find, read and validate the configuration; without any, the defaults.

    Args:
        start: Folder to search from, upward; None for the working directory.
        environ: Where `ASSETLINE_*` variables are looked up; None for the process's environment.

    Raises:
        ConfigError: The file cannot be parsed or has unknown keys or wrong values; all of them are named.
    """
    start = Path.cwd() if start is None else start.absolute()
    overrides = parse_overrides(os.environ if environ is None else environ)
    file = find_config(start)
    root = start if file is None else file.parent
    if file is None and not overrides:
        environment = _default_environment(DEFAULT_ENVIRONMENT, root)
        environments = {environment.name: environment}
        return ProjectSettings(None, DEFAULT_ENVIRONMENT, environments, {}, root, (str(root),), None)
    raw: dict[str, Any] = {} if file is None else _read(file)
    origins = [(apply_override(raw, override), override) for override in overrides]
    return _build(raw, root, file, origins)


def resolve_secrets(value: T) -> T:
    """The value with every secret reference in its texts replaced, in lists and tables too.

    Raises:
        ConfigError: `secret-missing`, `secret-unreadable` or `secret-scheme-unknown`, naming the reference.
    """
    resolved: Any = value
    if isinstance(value, str):
        resolved = resolve_text(value)
    elif isinstance(value, Mapping):
        resolved = {name: resolve_secrets(item) for name, item in value.items()}
    elif isinstance(value, list | tuple):
        resolved = type(value)([resolve_secrets(item) for item in value])
    return cast("T", resolved)


def absolute_url(url: str, root: Path) -> str:
    """The URL with a relative file path in it taken from `root`; a bare path becomes `file://`."""
    for prefix in ("sqlite:///", "file://"):
        if url.startswith(prefix):
            path = url.removeprefix(prefix)
            return f"{prefix}{root / Path(path).expanduser()}" if path else url
    if not url or "://" in url or url.startswith("${"):  # a reference is of a kind only when it is resolved
        return url
    return f"file://{root / Path(url).expanduser()}"


def redact_url(url: str) -> str:
    """The URL without user, password and query."""
    return _USER_INFO.sub("***@", url.partition("?")[0])


def _has_section(file: Path) -> bool:
    try:
        raw = file.read_bytes()
    except OSError:
        return False  # somebody else's file: it is ours only if it says so
    return b"assetline" in raw and "assetline" in _parse(file, raw).get("tool", {})


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            "config-unreadable",
            f"{file} cannot be read.",
            why=f"{error.strerror or error}.",
            do="make the file readable.",
        ) from error
    body = _parse(file, raw)
    found = body if file.name == _OWN_FILE else body["tool"]["assetline"]
    if not isinstance(found, dict):
        raise ConfigError(
            "config-invalid", f"tool.assetline in {file} is not a table.", do="write [tool.assetline]."
        )
    return found


def _parse(file: Path, raw: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            "config-syntax", f"{file} is not valid TOML.", why=f"{error}.", do="mend the file at that place."
        ) from error


class TopLevel(NamedTuple):
    """A configuration that only names things; the same as its pydantic model, without the cost of importing that."""

    project: str | None = None
    default_env: str = "dev"
    search_paths: list[str] | None = None


def _says_only_names(raw: Mapping[str, Any]) -> bool:
    """Whether there is nothing to check but that texts are texts: true of the smallest configurations, and of none."""
    if not raw.keys() <= {"project", "default_env", "search_paths"}:
        return False
    paths = raw.get("search_paths", [])
    texts = [value for name, value in raw.items() if name != "search_paths"]
    return isinstance(paths, list) and all(type(value) is str for value in [*texts, *paths])


def _build(
    raw: dict[str, Any], root: Path, file: Path | None, origins: Sequence[tuple[tuple[str, ...], Override]]
) -> ProjectSettings:
    config: TopLevel | ConfigModel
    environments: dict[str, EnvironmentSettings] = {}
    run_config: Mapping[str, Any] = {}
    if _says_only_names(raw):
        config = TopLevel(**raw)
    else:
        from assets_core.project.config_schema import validate_config

        config = validate_config(raw, file, [(path, override.variable) for path, override in origins])
        environments = {name: _build_environment(name, model, root) for name, model in config.env.items()}
        run_config = config.config
    if DEFAULT_ENVIRONMENT not in environments:
        environments[DEFAULT_ENVIRONMENT] = _default_environment(DEFAULT_ENVIRONMENT, root)
    require_environment(environments, config.default_env, "default_env in the configuration")
    return ProjectSettings(
        project=config.project,
        default_env=config.default_env,
        environments=environments,
        config=anchor_references(dict(run_config), root),
        root=root,
        search_paths=_search_paths(config, root),
        file=file,
    )


def require_environment(
    environments: Mapping[str, EnvironmentSettings], name: str, asker: str
) -> EnvironmentSettings:
    """The environment of that name.

    Raises:
        ConfigError: `environment-not-found`, naming the nearest.
    """
    found = environments.get(name)
    if found is not None:
        return found
    from io_managers.nearest import nearest_names

    nearest = nearest_names(name, environments, n=1)
    raise ConfigError(
        "environment-not-found",
        f"there is no environment {name!r}.",
        why=f"{asker} names it; configured: {', '.join(sorted(environments))}"
        + (f"; nearest: {nearest[0]}." if nearest else "."),
        do=f"name one of these, or write a table [env.{name}] into the configuration.",
    )


def _search_paths(config: TopLevel | ConfigModel, root: Path) -> tuple[str, ...]:
    if config.search_paths is None:
        return (str(root),)
    return tuple(os.path.normpath(root / path) for path in config.search_paths)


def _default_environment(name: str, root: Path) -> EnvironmentSettings:
    """`.assetline/storage` and `.assetline/state.db` for dev; a folder of its own below for every other name."""
    folder = ".assetline" if name == DEFAULT_ENVIRONMENT else f".assetline/{name}"
    return EnvironmentSettings(
        name=name,
        root=root,
        storage_url=absolute_url(f"file://{folder}/storage", root),
        state_url=absolute_url(f"sqlite:///{folder}/state.db", root),
    )


def _build_environment(name: str, model: EnvironmentModel, root: Path) -> EnvironmentSettings:
    default = _default_environment(name, root)
    storage = model.storage
    return EnvironmentSettings(
        name=name,
        root=root,
        storage_url=default.storage_url
        if storage is None
        else _anchored_url(storage.url, default.storage_url, root),
        state_url=_anchored_url(model.state, default.state_url, root),
        storage_options=anchor_references({} if storage is None else dict(storage.model_extra or {}), root),
        executor=anchor_references(model.executor.settings(), root),
        durability=model.durability,
        resources=anchor_references(model.resources, root),
        checks=anchor_references(model.checks, root),
    )


def _anchored_url(url: str | None, default: str, root: Path) -> str:
    return default if url is None else absolute_url(anchor_references(url, root), root)
