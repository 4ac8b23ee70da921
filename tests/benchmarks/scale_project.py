"""A large project with everything published, made without running a step; and what is measured on it, in a child.

python -m tests.benchmarks.scale_project ACTION FOLDER      prints one JSON object
"""

from __future__ import annotations

import importlib
import json
import pickle
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from assets_core import Project
    from assets_core.definition.partitions.base import PartitionSet
    from assets_core.planning.snapshot import Snapshot
    from assets_core.session import Session

    U64 = npt.NDArray[np.uint64]

MODULE = "scale_assets"
COLUMNS = ("order_id", "customer", "product", "quantity", "price", "total")
_LAYERS = 5
_RUN = "run-1"
_CHANGED_SHARE = 0.01
_ROWS_AT_ONCE = 50_000


def write_project(folder: Path, n_assets: int, n_partitions: int | None) -> None:
    """A module of assets in layers, of which each reads one or two of the layer above; hourly, or unpartitioned."""
    width = n_assets // _LAYERS
    header = "from assets_core import HourlyPartitions, In, Project, asset\n"
    space = "None"
    if n_partitions is not None:
        from datetime import UTC, datetime, timedelta

        end = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n_partitions)
        header += f"hours = HourlyPartitions('2024-01-01', '{end:%Y-%m-%dT%H:%M}')\n"
        space = "hours"
    lines = [header]
    for number in range(n_assets):
        layer, place = divmod(number, width)
        above = (
            [(layer - 1) * width + (place + step) % width for step in range(1 + place % 2)] if layer else []
        )
        ins = ""
        if above and place % 5 == 0:
            ins = f", ins={{'a{above[0]:04d}': In(columns=('customer', 'price'))}}"
        parameters = ", ".join(f"a{up:04d}: dict" for up in above)
        lines.append(
            f"@asset(partitions={space}{ins})\ndef a{number:04d}({parameters}) -> dict:\n    return {{'n': {number}}}\n"
        )
    lines.append("project = Project.from_module(__name__)\n")
    (folder / f"{MODULE}.py").write_text("\n".join(lines))


def open_session(folder: Path) -> Session:
    """A session on what `write_project` and `fill` left."""
    from assets_core import Environment
    from assets_core.session import Session

    return Session.open(load(folder), Environment.in_folder(folder, durability="os"))


def load(folder: Path) -> Project:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    found: Project = importlib.import_module(MODULE).project
    return found


def fill(folder: Path) -> int:
    """Publish every asset partition of the project in its state database, as if just computed.

    Returns:
        How many heads there are.
    """
    import numpy as np

    from assets_core.planning.asset_state import AssetState
    from assets_core.planning.snapshot import Snapshot
    from assets_core.state.rows import RunStart

    random = np.random.default_rng(1)
    with open_session(folder) as session:
        order = session.project.graph.order
        empty = session.snapshot(order)
        states = {key: empty.state(key) for key in order}
        snapshot = Snapshot(session.project, empty.now, states, {key: empty.versions(key) for key in order})
        session.state.start_run(RunStart(_RUN, MODULE, "main", 0.0, 0, "", "inline", 1, "elsewhere"))
        session.state.finish_run(_RUN, "succeeded", 1.0, {})
        for key in order:
            _insert_heads(session, snapshot, key, random)
            # the assets below are computed from what was just written
            states[key] = AssetState.build(empty.space(key), session.state.heads("main", [key])[key], None)
        session.state.is_new = False
    return sum(len(state.seq) for state in states.values())


def _hashes(random: np.random.Generator, n: int) -> U64:
    import numpy as np

    return random.integers(1, 2**64 - 1, n, dtype=np.uint64)


def _packed(columns: Mapping[str, U64], n: int) -> list[bytes]:
    import numpy as np

    size = 8 * len(columns)
    if not size:
        return [b""] * n
    whole = np.stack(list(columns.values()), axis=1).astype(">u8").tobytes()
    return [whole[at : at + size] for at in range(0, n * size, size)]


def _insert_heads(session: Session, snapshot: Snapshot, key: str, random: np.random.Generator) -> None:
    """Write what `StateStore.record` would write for every partition of one asset, had it just been computed."""
    from assets_core.state import schema
    from assets_core.state.encoding import to_signed
    from assets_core.state.recording import NameCache, NameWriter

    positions = snapshot.space(key).positions()
    n, versions = len(positions), snapshot.versions(key)
    code, config = to_signed(int(versions.code, 16)), to_signed(int(versions.config, 16))
    inputs = {item.parameter: snapshot.fingerprints(key, item) for item in snapshot.asset(key).inputs}
    columns = {name: _hashes(random, n) for name in COLUMNS}
    data, records = _hashes(random, n).view("int64").tolist(), random.bytes(32 * n)
    packed = zip(positions.tolist(), data, _packed(inputs, n), _packed(columns, n), strict=True)
    database = session.state._database
    statement = database.statements.heads
    with database.writing() as connection:
        names = NameWriter(connection, database.statements.names, NameCache())
        branch, asset = names.id_of(schema.branches, session.branch), names.id_of(schema.assets, key)
        own, content = names.list_id(tuple(inputs)), names.list_id(COLUMNS)
        rows = (
            (
                *(branch, asset, position, 1, 0, code, config, value, 1.7e9 + at * 0.25, 1000 + at),
                *(own, input_hashes, content, column_hashes, records[32 * at : 32 * at + 32]),
            )
            for at, (position, value, input_hashes, column_hashes) in enumerate(packed)
        )
        connection.exec_driver_sql(statement.sql, statement.parameters(rows))


def change(folder: Path) -> int:
    """Publish 1% of all asset partitions once more with another content; what reads them becomes stale.

    Returns:
        How many there were.
    """
    import numpy as np

    random = np.random.default_rng(2)
    count = 0
    with open_session(folder) as session, session.state._database.writing() as connection:
        for asset, position in connection.exec_driver_sql(
            "SELECT asset, position FROM heads ORDER BY asset, position"
        ).fetchall():
            if random.random() < _CHANGED_SHARE:
                connection.exec_driver_sql(
                    "UPDATE heads SET seq = 2, data_version = ?, columns = ? "
                    "WHERE branch = 1 AND asset = ? AND position = ?",
                    (int(random.integers(1, 2**62)), random.bytes(8 * len(COLUMNS)), asset, position),
                )
                count += 1
    return count


# -- what is measured ------------------------------------------------------------------------------------------------


def bare_read(folder: Path) -> pa.Table:
    """The heads as an Arrow table, with nothing but the driver."""
    from adbc_driver_sqlite import dbapi

    with dbapi.connect(f"file:{folder / 'state.db'}?mode=ro") as connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "65536"})
        cursor.execute("SELECT * FROM heads ORDER BY branch, asset, position")
        return cursor.fetch_arrow_table()


def measure_bare(folder: Path) -> dict[str, Any]:
    """CPU of the bare read."""
    import pyarrow as pa  # noqa: F401 - its import is no part of reading
    from adbc_driver_sqlite import dbapi  # noqa: F401 - as above

    cost, table = _timed(lambda: bare_read(folder))
    return {"cpu_s": cost, "rows": table.num_rows, "rss_mib": _rss_mib()}


def measure_plan(folder: Path) -> dict[str, Any]:
    """CPU of planning everything, imports of the libraries left out on both sides, and the memory of the process."""
    from adbc_driver_sqlite import dbapi  # noqa: F401 - as in `measure_bare`

    with open_session(folder) as session:
        session.plan(["a0000"])  # the modules of the planner
        cost, plan = _timed(session.plan)
    return {
        "cpu_s": cost,
        "steps": plan.n_steps,
        "fresh": plan.fresh,
        "rss_mib": _rss_mib(),
        "pickle_kb": len(pickle.dumps(plan)) / 1000,
    }


def measure_staleness(folder: Path) -> dict[str, Any]:
    """CPU of reading the state and deciding, with the versions of the code at hand; and of planning in all."""
    from assets_core.planning.asset_state import AssetState
    from assets_core.planning.planner import Planner
    from assets_core.planning.snapshot import Snapshot

    with open_session(folder) as session:
        keys = list(session.project.graph.order)
        first = session.snapshot(keys)
        versions = {key: first.versions(key) for key in keys}

        def decide() -> Any:
            heads, outcomes = session.state.heads("main", keys), session.state.outcomes("main", keys)
            states = {key: AssetState.build(first.space(key), heads[key], outcomes[key]) for key in keys}
            snapshot = Snapshot(session.project, first.now, states, versions)
            return Planner(snapshot).plan({key: snapshot.space(key).all() for key in keys})

        cost, plan = min((_timed(decide) for _ in range(5)), key=lambda pair: pair[0])
        whole, _ = min((_timed(session.plan) for _ in range(3)), key=lambda pair: pair[0])
    return {"cpu_s": cost, "steps": plan.n_steps, "fresh": plan.fresh, "whole_plan_cpu_s": whole}


def measure_selections(folder: Path) -> dict[str, Any]:
    """CPU of deriving what is upstream of a selection and planning it: half of the partitions, in one run and strewn."""
    from pyroaring import BitMap

    from assets_core.definition.partitions.base import PartitionSet

    with open_session(folder) as session:
        keys = list(session.project.graph.order)
        snapshot = session.snapshot(keys)
        last = keys[-len(keys) // _LAYERS :]
        n = len(snapshot.space(last[0]))
        sets = {"contiguous": BitMap(range(n // 2)), "scattered": BitMap(range(0, n, 2))}
        found: dict[str, Any] = {}
        for name, bits in sets.items():
            requested = {key: PartitionSet(snapshot.space(key), bits) for key in last}
            action = partial(_plan_selection, snapshot, keys, requested)
            cost, plan = min((_timed(action) for _ in range(4)), key=lambda pair: pair[0])
            found[name] = {"cpu_s": cost, "steps": plan.n_steps, "pickle_kb": len(pickle.dumps(plan)) / 1000}
    return found


def _plan_selection(snapshot: Snapshot, keys: Sequence[str], requested: Mapping[str, PartitionSet]) -> Any:
    from assets_core.planning.planner import Planner

    wanted = dict(requested)
    for key in reversed(keys):
        for item in snapshot.asset(key).inputs if key in wanted else ():
            above = snapshot.spans(key, item).upstream(wanted[key])
            wanted[item.asset] = wanted[item.asset] | above if item.asset in wanted else above
    return Planner(snapshot, force=True).plan(wanted)


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    before = time.process_time()
    value = action()
    return time.process_time() - before, value


def _rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


ACTIONS: dict[str, Callable[[Path], object]] = {
    "fill": fill,
    "change": change,
    "bare": measure_bare,
    "plan": measure_plan,
    "staleness": measure_staleness,
    "selections": measure_selections,
}

if __name__ == "__main__":
    print(json.dumps(ACTIONS[sys.argv[1]](Path(sys.argv[2]))))
