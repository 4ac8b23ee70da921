"""What a step on Dask costs beyond Dask itself."""

from __future__ import annotations

import time

from assets_core.engine.executor import ReportSink, StepOutcome, StepTask, WorkerJob
from tests.benchmarks.registry import Cost, Result, benchmark, cost_of, within

_STEPS = 10_000
_OPENER = "tests.benchmarks.dask_steps:open_steps"


class _Steps:
    def run(self, task: StepTask, report: ReportSink) -> StepOutcome:
        return StepOutcome(task.step, task.attempt, "succeeded")


def open_steps(job: WorkerJob) -> _Steps:
    return _Steps()


def nothing(_number: int) -> None:
    """What Dask does with no step at all."""


@benchmark
def dask_steps() -> list[Result]:
    """10,000 steps that do nothing on two Dask workers, against `Client.map` of a function that does nothing on the same."""
    from distributed import Client

    from assets_core.executors.dask import DaskExecutor
    from assets_core.executors.dask_cluster import LocalDaskCluster
    from assets_core.executors.dask_options import DaskOptions

    cluster = LocalDaskCluster(2)
    try:
        executor = DaskExecutor(
            WorkerJob("benchmark", __name__, (), {}), 2, DaskOptions(cluster.address), opener=_OPENER
        )
        _run(executor, 200)
        with Client(cluster.address, set_as_default=False) as client:
            client.gather(client.map(nothing, range(200), pure=False))
            bare: list[Cost] = []
            ours: list[Cost] = []
            for _ in range(3):
                bare.append(cost_of(lambda: client.gather(client.map(nothing, range(_STEPS), pure=False))))
                ours.append(cost_of(lambda: _run(executor, _STEPS)))
        executor.close()
    finally:
        cluster.close()
    bare_ms, ours_ms = (min(cost.wall_s for cost in costs) / _STEPS * 1e3 for costs in (bare, ours))
    cpu_ms, bare_cpu_ms = (min(cost.cpu_s for cost in costs) / _STEPS * 1e3 for costs in (ours, bare))
    details = {"ms": ours_ms, "bare_ms": bare_ms, "client_cpu_ms": cpu_ms, "bare_client_cpu_ms": bare_cpu_ms}
    return [within("dask_steps", ours_ms - bare_ms, "ms wall over map", 1.5, **details)]


def _run(executor: object, n: int) -> None:
    from assets_core.executors.dask import DaskExecutor

    assert isinstance(executor, DaskExecutor)
    submitted = ended = 0
    attempt = time.monotonic_ns()
    while ended < n:
        while submitted < n and submitted - ended < executor.capacity:
            executor.submit(
                StepTask("benchmark", submitted, attempt, "nothing", f"{submitted:05d}", 0, "", "", "", {})
            )
            submitted += 1
        for report in executor.poll(1.0):
            if isinstance(report, StepOutcome):
                if report.state != "succeeded":
                    raise RuntimeError(str(report))
                ended += 1
