"""From a name to an executor."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from assets_core.engine.executor import StepRunner, WorkerJob
from assets_core.errors import ConfigError, PluginError
from assets_core.executors import opening
from assets_core.executors.inline import InlineExecutor
from assets_core.executors.opening import open_executor
from assets_core.executors.processes import ProcessesExecutor
from assets_core.executors.threads import ThreadsExecutor
from tests.assets_core.executor_steps import Steps
from tests.assets_core.test_executors import JOB

HERE = "tests.assets_core.test_executors_opening"


class Elsewhere(InlineExecutor):
    pass


def make_elsewhere(job: WorkerJob, runner_factory: object, workers: int) -> InlineExecutor:
    return Elsewhere(runner_factory())  # type: ignore[operator]


def make_nothing_useful(job: WorkerJob, runner_factory: object, workers: int) -> object:
    return object()


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        EntryPoint(name, value, opening.ENTRY_POINT_GROUP)
        for name, value in [
            ("elsewhere", f"{HERE}:make_elsewhere"),
            ("useless", f"{HERE}:make_nothing_useful"),
            ("gone", "a_module_that_is_not_there:make"),
        ]
    )
    monkeypatch.setattr(opening, "entry_points", lambda group: points.select(group=group))


@pytest.mark.parametrize(
    ("kind", "type_", "capacity"),
    [("inline", InlineExecutor, 1), ("threads", ThreadsExecutor, 3), ("processes", ProcessesExecutor, 6)],
)
def test_the_builtin_executors_are_opened_by_name(kind: str, type_: type, capacity: int) -> None:
    executor = open_executor(kind, JOB, Steps, 3)
    assert isinstance(executor, type_)
    assert executor.capacity == capacity
    executor.close(kill=True)


def test_a_project_without_a_module_cannot_go_to_processes() -> None:
    def unused() -> StepRunner:
        raise AssertionError

    with pytest.raises(ConfigError, match="project-not-importable"):
        open_executor("processes", WorkerJob("r", "", (), {}), unused, 2)


def test_no_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot have 0 workers"):
        open_executor("threads", JOB, Steps, 0)


@pytest.mark.parametrize(("wrong", "near"), [("proceses", "processes"), ("elsewere", "elsewhere")])
def test_an_unknown_name_is_answered_with_the_nearest(plugins: None, wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"executor-unknown(.|\n)*write '{near}'"):
        open_executor(wrong, JOB, Steps, 1)


def test_a_plug_in_is_opened_by_its_name(plugins: None) -> None:
    assert isinstance(open_executor("elsewhere", JOB, Steps, 1), Elsewhere)


def test_a_plug_in_that_cannot_be_imported_says_where_it_comes_from(plugins: None) -> None:
    with pytest.raises(PluginError, match=r"executor-plugin-broken(.|\n)*a_module_that_is_not_there"):
        open_executor("gone", JOB, Steps, 1)


def test_a_plug_in_of_the_wrong_shape_is_refused(plugins: None) -> None:
    with pytest.raises(PluginError, match="has no capacity, submit, poll, cancel, close"):
        open_executor("useless", JOB, Steps, 1)
