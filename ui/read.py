"""Read models that every face shows: plain dicts and lists in the JSON shapes that scripts rely on.

Times are ISO 8601 texts in UTC, durations are seconds, sizes are bytes. Fields may be added, none is renamed.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.definition.check_outcome import CheckOutcome
    from assets_core.definition.contract import ColumnRule
    from assets_core.definition.partitions.base import StoredKeys
    from assets_core.loading import VersionRow
    from assets_core.planning.explain import Explanation
    from assets_core.planning.plan import Plan, PlannedGroup
    from assets_core.project.project import Project
    from assets_core.running import RunResult
    from assets_core.state.rows import RunRow, StepRow
    from assets_core.status import AssetStatus

Row = dict[str, Any]


def build_time(value: dt.datetime | float | str | None) -> str | None:
    """An ISO 8601 text in UTC from an aware time, epoch seconds or such a text; None and 0 give None."""
    if not value:
        return None
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    elif not isinstance(value, dt.datetime):
        value = dt.datetime.fromtimestamp(value, dt.UTC)
    return value.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def build_asset(asset: Asset, project: Project, now: dt.datetime, stored: StoredKeys | None = None) -> Row:
    """One element of `list`; partitions are counted as of `now`, dynamic ones by what `stored` gives."""
    partitions = None
    if asset.partitions is not None:
        partitions = {"kind": asset.partitions.kind, "count": len(asset.partitions.at(now, stored))}
    return {
        "key": asset.key,
        "kind": asset.kind,
        "group": asset.group,
        "partitions": partitions,
        "deps": list(dict.fromkeys([*(item.asset for item in asset.inputs), *asset.deps])),
        "checks": [check.name for check in project.checks_for(asset.key)],
        "tags": dict(asset.tags),
        "description": asset.description or "",
        "owner": asset.owner,
        "source": str(asset.source),
    }


def build_asset_detail(
    asset: Asset,
    project: Project,
    now: dt.datetime,
    config: Mapping[str, Any],
    stored: StoredKeys | None = None,
) -> Row:
    """`show`: an element of `list` and everything else that is declared of the asset.

    Args:
        asset: The asset.
        project: Its project.
        now: When open-ended partitions are closed.
        config: The asset's configured values.
        stored: Gives the keys of dynamic partitions.
    """
    row = build_asset(asset, project, now, stored)
    if asset.partitions is not None:
        partitions = asset.partitions.at(now, stored)
        count = len(partitions)
        row["partitions"] |= {
            "signature": partitions.signature(),
            "first": partitions.key(0) if count else None,
            "last": partitions.key(count - 1) if count else None,
        }
    row["inputs"] = [
        {
            "parameter": item.parameter,
            "asset": item.asset,
            "mapping": _build_mapping(asset, project, item.asset, item.mapping),
            "missing": item.missing,
            "columns": list(item.columns) if item.columns is not None else None,
            "type": _format_type(item.annotation),
        }
        for item in asset.inputs
    ]
    row["order_only"] = list(asset.deps)
    row["downstream"] = list(project.graph.downstream[asset.key])
    row["output"] = _format_type(asset.output)
    row["io_manager"] = name_io_manager(asset)
    row["contract"] = None
    if asset.contract is not None:
        row["contract"] = {
            "model": asset.contract.name,
            "columns": [_build_column_rule(rule) for rule in asset.contract.fields],
        }
    row["checks_detail"] = [
        {
            "check": check.name,
            "blocking": check.blocking,
            "severity": check.severity,
            "source": str(check.source) if check.source else None,
        }
        for check in project.checks_for(asset.key)
    ]
    row["config"] = dict(config)
    row["config_model"] = asset.config_model.__name__ if asset.config_model is not None else None
    row["resources"] = {parameter: kind.__name__ for parameter, kind in asset.resources.items()}
    row["retries"] = {"max_attempts": asset.retries.max_attempts, "delay_s": asset.retries.delay_s}
    row["timeout_s"] = asset.timeout_s
    row["freshness_within_s"] = asset.freshness.within_s if asset.freshness is not None else None
    return row


def name_io_manager(asset: Asset) -> str | None:
    """The name of what stores the asset's values, None for an asset that stores none."""
    from io_managers.formats.registry import io_manager_name_for

    if asset.io_manager is not None:
        return asset.io_manager if isinstance(asset.io_manager, str) else asset.io_manager.name
    return io_manager_name_for(asset.output) if asset.function is not None else None


def _build_mapping(asset: Asset, project: Project, upstream: str, mapping: object) -> str | None:
    if mapping is not None:
        return repr(mapping)
    from assets_core.definition.partitions.mapping import default_mapping

    up = project.assets[upstream].partition_space
    if asset.partitions is None and project.assets[upstream].partitions is None:
        return None
    return repr(default_mapping(asset.partition_space, up))


def _format_type(annotation: Any) -> str | None:
    if annotation is None:
        return None
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__ if annotation.__module__ == "builtins" else _qualified(annotation)
    return str(annotation)


def _qualified(kind: type) -> str:
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _build_column_rule(rule: ColumnRule) -> Row:
    limits = ("ge", "gt", "le", "lt", "pattern", "min_length", "max_length", "enum", "multiple_of", "unique")
    found: Row = {"name": rule.name, "type": rule.type, "nullable": rule.nullable}
    for name in limits:
        value = getattr(rule, name)
        if value is not None and value is not False and value != ():
            found[name] = build_json_value(value)
    if rule.description:
        found["description"] = rule.description
    return found


def build_partition_keys(group: PlannedGroup) -> list[str]:
    """Keys of a group; empty for an asset without partitions."""
    return [key for key in group.partitions.keys() if key is not None]


def build_plan(plan: Plan) -> Row:
    """`plan`: what `materialize` would run, partitions of an asset that share a reason together.

    `blocked` holds what a quality gate keeps back until something changes, `waiting` what lacks an input.
    """
    return {
        "steps": [
            {
                "asset": group.asset,
                "partitions": build_partition_keys(group),
                "reason": group.reason,
                "detail": group.detail,
            }
            for group in plan.groups
        ],
        "fresh": plan.fresh,
        "total": plan.total,
        "n_steps": plan.n_steps,
        "blocked": _build_held_back(plan.blocked),
        "waiting": _build_held_back(plan.waiting),
    }


def _build_held_back(groups: Iterable[PlannedGroup]) -> list[Row]:
    return [
        {"asset": group.asset, "partitions": build_partition_keys(group), "detail": group.detail}
        for group in groups
    ]


def build_explanation(found: Explanation) -> Row:
    """`why`."""
    return {
        "asset": found.asset,
        "partition": found.partition,
        "state": found.state,
        "reason": found.reason,
        "sentence": found.sentence,
        "evidence": found.evidence,
    }


def build_status(status: AssetStatus) -> Row:
    """One element of `status`."""
    return {
        "asset": status.asset,
        "fresh": status.fresh,
        "stale": status.stale,
        "missing": status.missing,
        "failed": status.failed,
        "blocked": status.blocked,
        "latest": status.latest,
        "lag_s": status.lag_s,
        "reasons": dict(status.reasons),
        "late": status.late,
    }


def build_run_result(result: RunResult) -> Row:
    """`materialize`."""
    return {
        "run_id": result.run_id,
        "status": result.status,
        "steps": dict(result.steps),
        "duration_s": round(result.duration_s, 6),
        "failures": [
            {
                "asset": failure.asset,
                "partition": failure.partition,
                "state": failure.state,
                "error": failure.error.message if failure.error is not None else None,
                "error_code": failure.error.code if failure.error is not None else None,
                "checks": [build_check(outcome) for outcome in failure.checks],
            }
            for failure in result.failures
        ],
    }


def build_run(run: RunRow) -> Row:
    """One element of `runs list`; `counts` repeats `steps` under a name that `runs show` has, too."""
    return {
        "run_id": run.run_id,
        "status": run.status,
        "started_at": build_time(run.started_at),
        "ended_at": build_time(run.ended_at),
        "duration_s": run.duration_s,
        "steps": dict(run.counts),
        "counts": dict(run.counts),
        "n_steps": run.n_steps,
        "branch": run.branch,
        "selection": run.selection,
        "executor": run.executor,
        "host": run.host,
        "pid": run.pid,
    }


def build_run_detail(run: RunRow, steps: Iterable[StepRow]) -> Row:
    """`runs show`: `steps` is the list of steps here; an error is its whole text."""
    row = build_run(run)
    row["steps"] = [build_step(step) for step in steps]
    return row


def build_step(step: StepRow) -> Row:
    """One step of `runs show`."""
    row: Row = {
        "asset": step.asset,
        "partitions": [] if step.partition is None else [step.partition],
        "state": step.state,
        "attempts": step.attempt,
        "reason": step.reason,
        "duration_s": step.duration_s,
        "at": build_time(step.at),
    }
    if step.error_message:
        row |= {"error": step.error_message, "error_code": step.error_code}
    return row


def build_log_line(line: Mapping[str, Any]) -> Row:
    """One line of `runs logs`."""
    return {**line, "at": build_time(line["at"])}


def build_version(row: VersionRow) -> Row:
    """One element of `history`; `kind` is publish, rollback or drop."""
    return {
        "version": row.version,
        "partition": row.partition,
        "published_at": build_time(row.published_at),
        "run_id": row.run_id,
        "rows": row.rows,
        "bytes": row.bytes,
        "code_version": row.code_version,
        "data_version": row.data_version,
        "current": row.current,
        "kind": row.kind,
    }


def build_check(outcome: CheckOutcome) -> Row:
    """One check's outcome, as in `check`."""
    return {
        "check": outcome.check,
        "status": outcome.status,
        "severity": outcome.severity,
        "observed": outcome.observed,
        "expected": outcome.expected,
        "sample": [build_json_value(row) for row in outcome.sample],
    }


def build_json_value(value: Any) -> Any:
    """The value in JSON's terms: times in ISO 8601, bytes in base64, a number that is not finite as null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): build_json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [build_json_value(item) for item in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if hasattr(value, "item") and not hasattr(value, "__len__"):  # a numpy scalar
        return build_json_value(value.item())
    return str(value)


def build_table_rows(table: Any) -> list[Row]:
    """The rows of a `pyarrow.Table` as JSON objects, in order."""
    columns = {name: _build_column(table.column(name)) for name in table.column_names}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _build_column(column: Any) -> Iterable[Any]:
    import pyarrow as pa

    kind = column.type
    values: list[Any] = column.to_pylist()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return values
    return [build_json_value(value) for value in values]
