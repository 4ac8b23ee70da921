"""Why an asset partition is fresh, stale, missing, failed or blocked: one sentence, and the evidence for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from assets_core.planning.code_archive import read_archived_code
from assets_core.planning.code_version import covered_sources, explain_code_change
from io_managers.keys import format_asset_partition
from io_managers.versions.blocked import BlockedTries
from io_managers.versions.publication import TornRecordError

if TYPE_CHECKING:
    from assets_core.planning.plan import Plan, PlannedGroup
    from assets_core.planning.snapshot import Snapshot
    from assets_core.state.rows import CheckRow, StepRow
    from assets_core.state.store import StateStore
    from io_managers.versions.publication import InputUse, Publication
    from io_managers.versions.store import VersionStore

ExplainedState = Literal["fresh", "stale", "missing", "failed", "blocked"]

_RUNS_SEARCHED = 50


@dataclass(frozen=True)
class Explanation:
    """Why one asset partition is in its state.

    Attributes:
        reason: As a plan gives it; "" for a fresh one.
        sentence: One sentence for people.
        evidence: What the sentence rests on, as plain values; `diff` holds a unified diff of the code.
    """

    asset: str
    partition: str | None
    state: ExplainedState
    reason: str
    sentence: str
    evidence: dict[str, Any] = field(default_factory=dict)


class Explainer:
    """Explains asset partitions of one snapshot and the plan made of it."""

    def __init__(self, snapshot: Snapshot, plan: Plan, versions: VersionStore, state: StateStore) -> None:
        self._snapshot = snapshot
        self._plan = plan
        self._versions = versions
        self._state = state

    def explain(self, key: str, ordinal: int) -> Explanation:
        """Why the partition of that ordinal is in its state."""
        partition = self._snapshot.space(key).key(ordinal)
        name = format_asset_partition(key, partition)
        current = self._current(key, partition, ordinal)
        blocked = _group_of(self._plan.blocked, key, ordinal)
        if blocked is not None:
            return self._blocked(key, partition, name)
        waiting = _group_of(self._plan.waiting, key, ordinal)
        if waiting is not None:
            return self._waiting(key, partition, ordinal, name)
        planned = _group_of(self._plan.groups, key, ordinal)
        if planned is None:
            return self._fresh(key, partition, name, current)
        match planned.reason:
            case "failed":
                return self._failed(key, partition, name)
            case "code_changed":
                return self._code_changed(key, partition, name, current)
            case "config_changed":
                return self._config_changed(key, partition, name, current)
            case "input_changed":
                return self._input_changed(key, partition, ordinal, name, current, planned)
            case "missing" | "forced":
                sentence = f"{name} is missing: {planned.detail}."
                return Explanation(key, partition, "missing", "missing", sentence)

    def _current(self, key: str, partition: str | None, ordinal: int) -> Publication | None:
        seq = int(self._snapshot.state(key).seq[ordinal])
        try:
            return self._versions.read(key, partition, seq) if seq else None
        except TornRecordError:
            return None

    def _fresh(self, key: str, partition: str | None, name: str, current: Publication | None) -> Explanation:
        if current is None:
            return Explanation(key, partition, "missing", "missing", f"{name} is not there.")
        evidence: dict[str, Any] = _version_of(current)
        step = next((row for row in self._state.steps(current.run_id) if _is_of(row, key, partition)), None)
        ran = ""
        if step is not None:
            evidence["last_reason"] = step.reason
            ran = f", for the reason {step.reason}"
        sentence = (
            f"{name} is fresh: v{current.seq} was computed {_when(current)} by run {current.run_id}{ran}, "
            "from the code, configuration and inputs that would be used now."
        )
        return Explanation(key, partition, "fresh", "", sentence, evidence)

    def _failed(self, key: str, partition: str | None, name: str) -> Explanation:
        run_id, step = self._last_try(key, partition, ("failed", "lost", "superseded"))
        evidence: dict[str, Any] = {}
        because = ""
        if step is not None:
            evidence = {"run_id": run_id, "error": step.error_message, "attempts": step.attempt}
            because = f" in run {run_id}: {step.error_message.splitlines()[0]}" if step.error_message else ""
        return Explanation(
            key, partition, "failed", "failed", f"{name} failed at its last try{because}", evidence
        )

    def _blocked(self, key: str, partition: str | None, name: str) -> Explanation:
        run_id, _ = self._last_try(key, partition, ("blocked",))
        failing = [
            row for row in self._checks(key, partition) if row.severity == "error" and row.status != "passed"
        ]
        evidence: dict[str, Any] = {
            "run_id": run_id,
            "checks": [
                {
                    "check": row.check,
                    "status": row.status,
                    "observed": row.observed,
                    "expected": row.expected,
                    "sample": list(row.sample),
                }
                for row in failing
            ],
        }
        mark = BlockedTries(self._versions.storage, self._versions.branch).read(key, partition)
        if not failing and mark is not None:  # the state database does not know the run
            evidence = {"run_id": mark.run_id, "checks": [{**check, "sample": []} for check in mark.checks]}
        found = "; ".join(
            f"'{check['check']}' found {check['observed']}, expected {check['expected']}"
            for check in evidence["checks"]
        )
        sentence = (
            f"{name} is blocked by a quality gate{': ' + found if found else ''}; it is not tried again until its code, "
            "configuration, inputs or checks change, or with --force."
        )
        return Explanation(key, partition, "blocked", "failed", sentence, evidence)

    def _waiting(self, key: str, partition: str | None, ordinal: int, name: str) -> Explanation:
        lacking = [
            format_asset_partition(item.asset, above)
            for item in self._snapshot.asset(key).inputs
            if item.missing == "error"
            for above in self._snapshot.lacking(key, item, ordinal)
        ]
        gated = {group.asset for group in (*self._plan.blocked, *self._plan.waiting)}
        is_behind_gate = any(item.asset in gated for item in self._snapshot.asset(key).inputs)
        shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        because = "a quality gate holds back" if is_behind_gate else "is not published"
        sentence = f"{name} waits for {shown or 'an input'}, which {because}."
        state: ExplainedState = "blocked" if is_behind_gate else "missing"
        return Explanation(key, partition, state, "missing", sentence, {"lacking": lacking})

    def _code_changed(
        self, key: str, partition: str | None, name: str, current: Publication | None
    ) -> Explanation:
        now = self._snapshot.versions(key).code
        evidence: dict[str, Any] = {"current": now}
        what = "its code changed"
        if current is not None:
            evidence |= {"recorded": current.code_version, **_version_of(current)}
            function = self._snapshot.asset(key).function
            before = read_archived_code(self._versions.storage, current.code_version)
            if before is not None and function is not None:
                after = covered_sources(function)
                changed = sorted(
                    item for item in before.keys() | after.keys() if before.get(item) != after.get(item)
                )
                evidence |= {"changed": changed, "diff": explain_code_change(before, after)}
                what = (
                    f"{', '.join(changed)} changed"
                    if changed
                    else "what its declaration says of the result changed"
                )
            what += f" since v{current.seq} was computed {_when(current)}"
        return Explanation(key, partition, "stale", "code_changed", f"{name} is stale: {what}.", evidence)

    def _config_changed(
        self, key: str, partition: str | None, name: str, current: Publication | None
    ) -> Explanation:
        evidence: dict[str, Any] = {"current": self._snapshot.versions(key).config}
        since = ""
        if current is not None:
            evidence |= {"recorded": current.config_version, **_version_of(current)}
            since = f" since v{current.seq} was computed {_when(current)}"
        sentence = f"{name} is stale: its configuration changed{since}."
        return Explanation(key, partition, "stale", "config_changed", sentence, evidence)

    def _input_changed(
        self,
        key: str,
        partition: str | None,
        ordinal: int,
        name: str,
        current: Publication | None,
        planned: PlannedGroup,
    ) -> Explanation:
        recorded = {} if current is None else current.inputs
        resolved = self._snapshot.resolve(key, ordinal)
        inputs = [
            {"parameter": parameter, "asset": use.asset, "partitions": changes}
            for parameter, use in resolved.items()
            if (changes := list(self._changes(recorded.get(parameter), use)))
        ]
        evidence: dict[str, Any] = {"inputs": inputs}
        if current is not None:
            evidence |= _version_of(current)
        told = "; ".join(_tell_changes(item) for item in inputs)
        sentence = f"{name} is stale: {told or planned.detail}."
        return Explanation(key, partition, "stale", "input_changed", sentence, evidence)

    def _changes(self, before: InputUse | None, after: InputUse) -> Iterator[dict[str, Any]]:
        """Partitions of one input that are read now in another version than then."""
        then = {} if before is None else dict(before.partitions)
        now = dict(after.partitions)
        for partition in {**then, **now}:
            old, new = then.get(partition), now.get(partition)
            if old == new:
                continue
            columns = self._changed_columns(after.asset, partition, old, new)
            if columns == []:
                continue  # published again with the same content
            yield {
                "partition": partition,
                "recorded": f"v{old}" if old else None,
                "current": f"v{new}" if new else None,
                "columns": columns,
            }

    def _changed_columns(
        self, asset: str, partition: str | None, old: int | None, new: int | None
    ) -> list[str] | None:
        """Columns whose content differs between two versions; None when it cannot be told."""
        if old is None or new is None or self._snapshot.asset(asset).function is None:
            return None
        try:
            before, after = (self._versions.read(asset, partition, seq) for seq in (old, new))
        except TornRecordError:
            return None
        if before is None or after is None:
            return None
        if before.data_version == after.data_version:
            return []
        then, now = before.column_hashes, after.column_hashes
        return [name for name in {**then, **now} if then.get(name) != now.get(name)] or None

    def _last_try(
        self, key: str, partition: str | None, states: tuple[str, ...]
    ) -> tuple[str | None, StepRow | None]:
        for run in self._state.runs(_RUNS_SEARCHED):
            for row in self._state.steps(run.run_id):
                if _is_of(row, key, partition) and row.state in states:
                    return run.run_id, row
        return None, None

    def _checks(self, key: str, partition: str | None) -> list[CheckRow]:
        return [
            row for row in self._state.checks_of(self._versions.branch, key) if row.partition == partition
        ]


def _group_of(groups: tuple[PlannedGroup, ...], key: str, ordinal: int) -> PlannedGroup | None:
    return next((group for group in groups if group.asset == key and ordinal in group.partitions), None)


def _is_of(row: StepRow, key: str, partition: str | None) -> bool:
    return row.asset == key and row.partition == partition


def _version_of(publication: Publication) -> dict[str, Any]:
    return {
        "version": f"v{publication.seq}",
        "published_at": publication.published_at,
        "run_id": publication.run_id,
    }


def _when(publication: Publication) -> str:
    try:
        at = dt.datetime.fromisoformat(publication.published_at)
    except ValueError:
        return "earlier"
    return f"on {at:%Y-%m-%d %H:%M} UTC"


def _tell_changes(item: dict[str, Any]) -> str:
    partitions = item["partitions"]
    first = partitions[0]
    name = format_asset_partition(item["asset"], first["partition"])
    if first["recorded"] is None:
        what = f"{name} has appeared"
    elif first["current"] is None:
        what = f"{name} is gone"
    else:
        columns = first["columns"]
        which = f" in {', '.join(columns[:4])}" if columns else ""
        what = f"{name} changed{which} from {first['recorded']} to {first['current']}"
    more = len(partitions) - 1
    return what + (f", and {more} more of its partitions" if more else "")
