"""One environment: where data, state and work are."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from assets_core.errors import InternalError
from assets_core.project.config import (
    Durability,
    EnvironmentSettings,
    ProjectSettings,
    absolute_url,
    load_settings,
    redact_url,
    require_environment,
    resolve_secrets,
)

if TYPE_CHECKING:
    from io_managers.storage.base import Storage


class Environment:
    """Settings of one environment, and the storage opened from them when it is first asked for.

    It crosses process borders by `to_dict`, secret references still in place: a worker resolves them where it runs.

    Attributes:
        settings: As configured.
        search_paths: Folders in which the project's modules are found.
    """

    def __init__(self, settings: EnvironmentSettings, search_paths: tuple[str, ...] = ()) -> None:
        self.settings = settings
        self.search_paths = search_paths
        self._storage: Storage | None = None
        self._is_trusted = False
        self._lock = threading.RLock()
        self._remove: weakref.finalize[..., Environment] | None = None

    @classmethod
    def default(cls) -> Environment:
        """The default environment of the configuration found from the working directory upward.

        Raises:
            ConfigError: The configuration is wrong.
        """
        return cls.from_settings(load_settings())

    @classmethod
    def from_settings(cls, settings: ProjectSettings, name: str | None = None) -> Environment:
        """An environment of the configuration; None for its default.

        Raises:
            ConfigError: `environment-not-found`, naming the nearest.
        """
        chosen = require_environment(
            settings.environments, settings.default_env if name is None else name, "--env"
        )
        return cls(chosen, settings.search_paths)

    @classmethod
    def in_folder(cls, folder: Path, *, durability: Durability = "fsync") -> Environment:
        """An environment made in code: storage and state in one folder, steps run inline."""
        root = folder.resolve()
        settings = EnvironmentSettings(
            name=root.name,
            root=root,
            storage_url=f"file://{root / 'storage'}",
            state_url=f"sqlite:///{root / 'state.db'}",
            durability=durability,
        )
        return cls(settings, (str(Path.cwd()),))

    @classmethod
    def ephemeral(cls, folder: Path | None = None) -> Environment:
        """A throw-away environment in a new temporary folder (below `folder`, if given).

        The folder is removed by `close`, at the end of a `with` block, or at the latest when the process that made
        it forgets the environment or ends.
        """
        root = Path(tempfile.mkdtemp(prefix="assetline-", dir=folder))
        environment = cls.in_folder(root, durability="os")
        environment._remove = weakref.finalize(environment, _remove_folder, root, os.getpid())
        return environment

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.settings.name

    @property
    def state_url(self) -> str:
        """URL of the state database, path absolute, secrets resolved: not to be shown."""
        return absolute_url(resolve_secrets(self.settings.state_url), self.settings.root)

    @property
    def executor(self) -> Mapping[str, Any]:
        """`kind`, `workers` if given, and what else that kind takes; secret references in place."""
        return self.settings.executor

    @property
    def durability(self) -> Durability:
        """`fsync` or `os`."""
        return self.settings.durability

    @property
    def resources(self) -> Mapping[str, dict[str, Any]]:
        """Settings of resources by name; secret references in place."""
        return self.settings.resources

    @property
    def checks(self) -> Mapping[str, Any]:
        """Settings of checks."""
        return self.settings.checks

    @property
    def storage(self) -> Storage:
        """The storage, opened once.

        Raises:
            ConfigError: A secret is missing.
            StorageError: It cannot be opened.
        """
        with self._lock:
            if self._storage is None:
                from io_managers.storage.opening import open_storage

                settings = self.settings
                self._storage = open_storage(
                    absolute_url(resolve_secrets(settings.storage_url), settings.root),
                    options=resolve_secrets(settings.storage_options),
                    durability=settings.durability,
                )
            return self._storage

    def require_trusted_storage(self) -> Storage:
        """The storage, once it has proved that it keeps what the publish protocol needs; it writes to do so.

        Raises:
            StorageError: `store-untrusted`, naming the defect, or as `storage`.
        """
        with self._lock:
            storage = self.storage
            if not self._is_trusted:
                from io_managers.storage.probe import require_trusted

                require_trusted(storage)
                self._is_trusted = True
            return storage

    def to_dict(self) -> dict[str, object]:
        """Plain values from which `from_dict` makes the same environment, secret references in place."""
        return {
            **asdict(self.settings),
            "root": str(self.settings.root),
            "search_paths": list(self.search_paths),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Environment:
        """The inverse of `to_dict`; an ephemeral environment stays the property of the one that made it."""
        fields: dict[str, Any] = dict(values)
        try:
            search_paths = tuple(fields.pop("search_paths"))
            settings = EnvironmentSettings(**{**fields, "root": Path(fields["root"])})
        except (KeyError, TypeError) as error:
            raise InternalError(
                "environment-dict-bad",
                "an environment could not be restored from its values.",
                why=f"{error}.",
                do="please report this; another version of assetline may have made them.",
            ) from error
        return cls(settings, search_paths)

    def close(self) -> None:
        """Let go of the storage; an ephemeral environment removes its folder."""
        with self._lock:
            self._storage = None
            self._is_trusted = False
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Environment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        return Environment.from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        return f"Environment({self.name!r}, storage={redact_url(self.settings.storage_url)!r})"


def _remove_folder(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child inherits the finalizer, not the folder
        shutil.rmtree(folder, ignore_errors=True)
