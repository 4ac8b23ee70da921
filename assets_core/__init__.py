"""Typed data assets: declared as functions, planned by what changed, checked, and published atomically.

Every public name is loaded at its first use, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset, asset, external_asset
    from assets_core.definition.checks import AssetCheck, CheckResult, asset_check
    from assets_core.definition.context import Context
    from assets_core.definition.contract import Table
    from assets_core.definition.inputs import In
    from assets_core.definition.partitions.dynamic import DynamicPartitions
    from assets_core.definition.partitions.mapping import (
        all_partitions,
        dimension,
        last,
        mapped,
        shift,
        trailing,
    )
    from assets_core.definition.partitions.multi import MultiPartitions
    from assets_core.definition.partitions.static import StaticPartitions
    from assets_core.definition.partitions.time import (
        CronPartitions,
        DailyPartitions,
        HourlyPartitions,
        MonthlyPartitions,
        WeeklyPartitions,
        Window,
    )
    from assets_core.definition.policies import Freshness, Retry
    from assets_core.definition.resource import Resource
    from assets_core.errors import (
        AssetlineError,
        CheckFailedError,
        ConflictError,
        DefinitionError,
        NotFoundError,
        PlanError,
        StorageError,
        UserCodeError,
    )
    from assets_core.faces import load, materialize
    from assets_core.project.environment import Environment
    from assets_core.project.project import Project
    from assets_core.session import Session

__all__ = [
    "Asset",
    "AssetCheck",
    "AssetlineError",
    "CheckFailedError",
    "CheckResult",
    "ConflictError",
    "Context",
    "CronPartitions",
    "DailyPartitions",
    "DefinitionError",
    "DynamicPartitions",
    "Environment",
    "Freshness",
    "HourlyPartitions",
    "In",
    "MonthlyPartitions",
    "MultiPartitions",
    "NotFoundError",
    "PlanError",
    "Project",
    "Resource",
    "Retry",
    "Session",
    "StaticPartitions",
    "StorageError",
    "Table",
    "UserCodeError",
    "WeeklyPartitions",
    "Window",
    "all_partitions",
    "asset",
    "asset_check",
    "dimension",
    "external_asset",
    "last",
    "load",
    "mapped",
    "materialize",
    "shift",
    "trailing",
]

#: Module below this package by name; `__all__` and the imports above are tested against it.
_HOMES = {
    name: home
    for home, names in {
        "definition.asset": ("Asset", "asset", "external_asset"),
        "definition.checks": ("AssetCheck", "CheckResult", "asset_check"),
        "definition.context": ("Context",),
        "definition.contract": ("Table",),
        "definition.inputs": ("In",),
        "definition.partitions.dynamic": ("DynamicPartitions",),
        "definition.partitions.mapping": (
            "all_partitions",
            "dimension",
            "last",
            "mapped",
            "shift",
            "trailing",
        ),
        "definition.partitions.multi": ("MultiPartitions",),
        "definition.partitions.static": ("StaticPartitions",),
        "definition.partitions.time": (
            "CronPartitions",
            "DailyPartitions",
            "HourlyPartitions",
            "MonthlyPartitions",
            "WeeklyPartitions",
            "Window",
        ),
        "definition.policies": ("Freshness", "Retry"),
        "definition.resource": ("Resource",),
        "errors": (
            "AssetlineError",
            "CheckFailedError",
            "ConflictError",
            "DefinitionError",
            "NotFoundError",
            "PlanError",
            "StorageError",
            "UserCodeError",
        ),
        "faces": ("load", "materialize"),
        "project.environment": ("Environment",),
        "project.project": ("Project",),
        "session": ("Session",),
    }.items()
    for name in names
}


def __getattr__(name: str) -> object:
    """Load a public name from the module where it lives."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
