"""What the configuration of the Dask executor says."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from assets_core.errors import ConfigError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{unit}i": 1 << 10 * power for power, unit in enumerate("kmgt", start=1)}
_BYTES = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class DaskOptions:
    """Settings beside `kind` and `workers`.

    Attributes:
        address: Of a running scheduler; None for a cluster of our own on this machine.
        resources: What one step takes of a worker's Dask resources, by name.
        labels: Resources that a worker must have, in any amount; steps take nothing of them.
        wait_s: How long steps wait for a worker when the cluster has none that suits.
    """

    address: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    wait_s: float = 60.0


def parse_dask_options(settings: Mapping[str, Any]) -> DaskOptions:
    """The options from a table of the configuration, secret references resolved.

    Args:
        settings: `address`, `resources`, `memory` (bytes or text such as "2GiB": so much of the resource `memory`),
            `labels`, `wait_s`; `kind` and `workers` are ignored.

    Raises:
        ConfigError: `executor-setting-unknown` or `executor-setting-invalid`.
    """
    known = sorted({"kind", "workers", "memory", *(item.name for item in fields(DaskOptions))})
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                "executor-setting-unknown",
                f"the executor 'dask' has no setting {name!r}.",
                why=f"its settings are {', '.join(known)}.",
                do=f"write {near[0]!r}." if near else "leave it out.",
            )
    address = settings.get("address")
    if address is not None and not (isinstance(address, str) and address):
        raise _invalid("address", address, 'a text such as "tcp://scheduler:8786"')
    resources = _amounts(settings.get("resources", {}))
    if "memory" in settings:
        resources["memory"] = _bytes(settings["memory"])
    labels = settings.get("labels", [])
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str) for label in labels):
        raise _invalid("labels", labels, 'a list of texts such as ["gpu"]')
    wait_s = settings.get("wait_s", DaskOptions.wait_s)
    if not _is_number(wait_s) or wait_s < 0:
        raise _invalid("wait_s", wait_s, "a number of seconds, 0 or more")
    return DaskOptions(address, resources, tuple(labels), float(wait_s))


def _amounts(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(_is_number(item) and item > 0 for item in value.values()):
        raise _invalid("resources", value, "a table of amounts above 0, such as { GPU = 1 }")
    return {str(name): float(amount) for name, amount in value.items()}


def _bytes(value: Any) -> float:
    if _is_number(value) and value > 0:
        return float(value)
    match = _BYTES.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _invalid("memory", value, 'a number of bytes or a text such as "2GiB"')
    return float(match[1]) * _UNITS[match[2].lower()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _invalid(name: str, value: object, wanted: str) -> ConfigError:
    return ConfigError(
        "executor-setting-invalid",
        f"the setting {name!r} of the executor 'dask' cannot be {value!r}.",
        do=f"give {wanted}.",
    )
