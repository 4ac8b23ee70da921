"""Trying everything that a run needs, one by one, before a run has to find out."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assets_core.errors import AssetlineError
from assets_core.project.config import resolve_secrets
from assets_core.project.environment import Environment
from assets_core.project.project import load_project

if TYPE_CHECKING:
    from assets_core.project.config import ProjectSettings

_LOW_DISK_BYTES = 1 << 30
_IMPORT_TIMEOUT_S = 120
_IN_PROCESS = ("inline", "threads")


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        detail: What was found; when not `ok` what is wrong.
        fix: What to do about it; "" when `ok`.
    """

    what: str
    ok: bool
    detail: str
    fix: str = ""


def examine(settings: ProjectSettings, env: str | None, project: str | None) -> Iterator[Finding]:
    """Try versions, secrets, project, storage, state, disk and executor of one environment.

    The storage is proved with the full probe, which writes and removes small objects below its root. A part that
    fails does not keep the others from being tried.

    Args:
        settings: The configuration.
        env: Name of the environment, None for the default.
        project: Reference of the project; None when none is configured.

    Raises:
        ConfigError: `environment-not-found`.
    """
    environment = Environment.from_settings(settings, env)
    yield Finding("python", ok=True, detail=f"{platform.python_version()} at {sys.executable}")
    yield from _try("secrets", lambda: _secrets(environment))
    yield from _try("project", lambda: _project(project, settings))
    yield from _storage(environment)
    yield from _try("state", lambda: _state(environment))
    yield _disk(environment)
    yield from _try("executor", lambda: _executor(environment, project))


def _try(what: str, action: Callable[[], str]) -> Iterator[Finding]:
    try:
        yield Finding(what, ok=True, detail=action())
    except AssetlineError as error:
        detail = f"{error.what} {error.why}".strip()
        yield Finding(what, ok=False, detail=detail, fix=error.do)


def _secrets(environment: Environment) -> str:
    settings = environment.settings
    parts = (settings.storage_url, settings.storage_options, settings.state_url, settings.resources)
    count = sum(str(part).count("${") for part in parts)
    for part in parts:
        resolve_secrets(part)
    return f"{count} references resolve" if count else "none are referred to"


def _project(project: str | None, settings: ProjectSettings) -> str:
    if project is None:
        return "none is configured"
    found = load_project(project, settings.search_paths)
    return f"{found.name}: {len(found.assets)} assets"


def _storage(environment: Environment) -> Iterator[Finding]:
    from io_managers.storage.probe import probe_storage

    try:
        storage = environment.storage
        for result in probe_storage(storage):
            yield Finding(f"storage: {result.what}", result.ok, result.detail, result.fix)
    except AssetlineError as error:
        yield Finding("storage", ok=False, detail=f"{error.what} {error.why}".strip(), fix=error.do)


def _state(environment: Environment) -> str:
    from assets_core.state.store import StateStore

    with StateStore.open(environment.state_url) as state:
        runs = state.runs(limit=1)
    return f"opened; the newest run is {runs[0].run_id}" if runs else "opened; no run yet"


def _disk(environment: Environment) -> Finding:
    place = environment.settings.root
    for prefix in ("file://", "sqlite:///"):
        for url in (environment.settings.storage_url, environment.settings.state_url):
            if url.startswith(prefix):
                place = Path(url.removeprefix(prefix))
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    return Finding(
        "disk",
        free >= _LOW_DISK_BYTES,
        f"{free / (1 << 30):.1f} GiB free",
        "" if free >= _LOW_DISK_BYTES else "make room: less than 1 GiB is left where storage or state live.",
    )


def _executor(environment: Environment, project: str | None) -> str:
    kind = str(environment.executor.get("kind", "inline"))
    if kind in _IN_PROCESS or project is None:
        return f"{kind} runs in the command's own process"
    program = (
        "import sys; from assets_core.project.project import load_project; "
        "print(len(load_project(sys.argv[1], sys.argv[2:]).assets))"
    )
    command = [sys.executable, "-c", program, project, *environment.search_paths]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_TIMEOUT_S, check=False)
        trouble = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired:
        trouble = [f"importing the project took more than {_IMPORT_TIMEOUT_S} s."]
    if trouble:
        from assets_core.errors import ConfigError

        raise ConfigError(
            "worker-cannot-import",
            f"a new process cannot import the project {project!r}.",
            why=" ".join(trouble),
            do="set search_paths in the configuration to the folders that hold the project's modules.",
        )
    return f"{kind}: a new process imports the project"
