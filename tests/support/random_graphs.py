"""Random small graphs of assets over partitions of mixed grains, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from assets_core import (
    DailyPartitions,
    HourlyPartitions,
    In,
    MonthlyPartitions,
    MultiPartitions,
    StaticPartitions,
    WeeklyPartitions,
    all_partitions,
    dimension,
    last,
    shift,
    trailing,
)
from assets_core.definition.partitions.base import UNPARTITIONED
from assets_core.definition.partitions.mapping import default_mapping
from tests.support.projects import Node

_DAYS = DailyPartitions(start="2024-03-30", end="2024-04-02", timezone="Europe/Berlin")
SPACES = (
    None,
    None,
    StaticPartitions(["a", "b/..", "é"]),
    DailyPartitions(start="2024-03-30", end="2024-04-03", timezone="Europe/Berlin"),
    DailyPartitions(start="2024-03-29", end="2024-04-02", timezone="Europe/Berlin"),
    HourlyPartitions(start="2024-03-31", end="2024-03-31T05:00", timezone="Europe/Berlin"),
    WeeklyPartitions(start="2024-03-25", end="2024-04-08", timezone="Europe/Berlin"),
    MonthlyPartitions(start="2024-03", end="2024-05", timezone="Europe/Berlin"),
    MultiPartitions(day=_DAYS, name=StaticPartitions(["a|b", "c"])),
    MultiPartitions(a=StaticPartitions(["x", "all"]), day=_DAYS),
)
MAPPINGS = (
    None,
    None,
    all_partitions(),
    last(),
    trailing(2),
    shift(-1),
    dimension("day"),
    dimension("day", trailing(2)),
)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    keys = [f"a{n}" for n in draw(st.permutations(range(draw(st.integers(1, 5)))))]
    for index, key in enumerate(keys):
        space = draw(st.sampled_from(SPACES))
        reads: dict[str, str | In] = {}
        for number in range(draw(st.integers(0, 2)) if index else 0):
            above = keys[draw(st.integers(0, index - 1))]
            mapping = draw(st.sampled_from(MAPPINGS))
            down, up = space or UNPARTITIONED, nodes[above].partitions or UNPARTITIONED
            if mapping is None and default_mapping(down, up).problem(down, up) is None:
                pass
            elif mapping is None or mapping.problem(down, up) is not None:
                mapping = all_partitions()
            missing = draw(st.sampled_from(["error", "error", "skip"]))
            reads[f"in{number}"] = In(above, partitions=mapping, missing=missing)
        nodes[key] = Node(reads, space)
    return nodes
