"""From the name of an executor to the executor."""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from assets_core.engine.executor import Executor, StepRunner, WorkerJob
from assets_core.errors import AssetlineError, ConfigError, PluginError
from assets_core.project.config import resolve_secrets
from io_managers.nearest import nearest_names

#: A plug-in is a callable of this shape under the entry point group.
ExecutorFactory = Callable[[WorkerJob, Callable[[], StepRunner], int], Executor]

ENTRY_POINT_GROUP = "assetline.executors"
BUILTIN_KINDS = ("inline", "threads", "processes", "dask")


def open_executor(
    kind: str, job: WorkerJob, runner_factory: Callable[[], StepRunner], workers: int
) -> Executor:
    """Make the executor that the configuration or the command names.

    Args:
        kind: `inline`, `threads`, `processes`, `dask`, or the name of an `assetline.executors` entry point.
        job: Where worker processes find project and environment.
        runner_factory: Makes the runner for steps that run in this process; called only for those.
        workers: How many steps run at once, at least 1; `inline` runs one.

    Raises:
        ConfigError: There is no such executor, or it cannot run this project.
        PluginError: The plug-in of that name is broken.
    """
    if workers < 1:
        raise ConfigError(
            "workers-invalid", f"an executor cannot have {workers} workers.", do="set workers to 1 or more."
        )
    match kind:
        case "inline":
            from assets_core.executors.inline import InlineExecutor

            return InlineExecutor(runner_factory())
        case "threads":
            from assets_core.executors.threads import ThreadsExecutor

            return ThreadsExecutor(runner_factory(), workers)
        case "processes":
            from assets_core.executors.processes import ProcessesExecutor

            _require_importable(job, kind)
            return ProcessesExecutor(job, workers)
        case "dask":
            return _open_dask(job, workers)
        case _:
            return _open_plugin(_find_plugin(kind), job, runner_factory, workers)


def _open_dask(job: WorkerJob, workers: int) -> Executor:
    """On the cluster that the environment names if it is one of Dask, else on one of our own."""
    if find_spec("distributed") is None:
        raise ConfigError(
            "executor-extra-missing",
            "the executor 'dask' needs the package distributed.",
            why="it is not installed with assetline's core.",
            do="pip install 'assetline[dask]'",
        )
    from assets_core.executors.dask import DaskExecutor
    from assets_core.executors.dask_options import parse_dask_options

    _require_importable(job, "dask")
    settings = job.environment.get("executor")
    if not isinstance(settings, Mapping) or settings.get("kind") != "dask":
        settings = {}
    return DaskExecutor(job, workers, parse_dask_options(resolve_secrets(settings)))


def _require_importable(job: WorkerJob, kind: str) -> None:
    if not job.project:
        raise ConfigError(
            "project-not-importable",
            f"the executor {kind!r} cannot run a project that exists only in this process.",
            why="worker processes import the project by its module's name, and this one has none.",
            do="define the project at the top level of a module, or use `--executor threads`.",
        )


def _find_plugin(kind: str) -> EntryPoint:
    plugins = entry_points(group=ENTRY_POINT_GROUP)
    for plugin in plugins:
        if plugin.name == kind:
            return plugin
    known = sorted({*BUILTIN_KINDS, *plugins.names})
    near = nearest_names(kind, known, n=1)
    raise ConfigError(
        "executor-unknown",
        f"there is no executor {kind!r}.",
        why=f"known are {', '.join(known)}.",
        do=f"write {near[0]!r}." if near else "choose one of these, or install the package that brings it.",
    )


def _open_plugin(
    plugin: EntryPoint, job: WorkerJob, runner_factory: Callable[[], StepRunner], workers: int
) -> Executor:
    try:
        factory: ExecutorFactory = plugin.load()
        executor = factory(job, runner_factory, workers)
    except AssetlineError:
        raise
    except Exception as cause:
        raise _broken(plugin, f"{type(cause).__name__}: {cause}") from cause
    missing = [
        name for name in ("capacity", "submit", "poll", "cancel", "close") if not hasattr(executor, name)
    ]
    if missing:
        raise _broken(plugin, f"its {type(executor).__name__} has no {', '.join(missing)}.")
    return executor


def _broken(plugin: EntryPoint, why: str) -> PluginError:
    distribution = plugin.dist.name if plugin.dist is not None else "unknown"
    return PluginError(
        "executor-plugin-broken",
        f"the executor {plugin.name!r} of the distribution {distribution!r} cannot be opened ({plugin.value}).",
        why=why,
        do=f"upgrade or uninstall {distribution!r}, or use another executor.",
    )
