"""The versions that a publication of an asset would record now."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from assets_core.planning.fingerprint import code_version, config_version, fingerprint_of, format_hash
from assets_core.planning.snapshot import CurrentVersions

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.planning.fingerprint import CodeVersion


def asset_code_version(asset: Asset) -> CodeVersion:
    """Hash of an asset's code and of what its declaration says about the result, with what it covers.

    Beside the function these enter: how partitions slice, what each input reads, the contract, the IO manager. Bounds
    of partitions, descriptions, tags, retries and checks do not: they change no value. `code_version=` replaces the code.
    """
    manager = asset.io_manager
    extra = {
        "partitions": asset.partition_space.signature(),
        "inputs": repr(
            [
                (item.parameter, item.asset, repr(item.mapping), item.missing, item.columns)
                for item in asset.inputs
            ]
        ),
        "contract": asset.contract.schema_text() if asset.contract is not None else "",
        "io_manager": manager if isinstance(manager, str) else getattr(manager, "name", "") or "",
    }
    if asset.function is None:
        raise AssertionError(f"{asset.key} is external and has no code")
    return code_version(
        asset.function, extra=extra, distributions=asset.distributions, override=asset.code_version
    )


def gates_version(asset: Asset) -> str:
    """16 hex digits over the checks of an asset: their code, and whether they block."""
    pairs = {
        index: int(code_version(check.function, extra={"gate": f"{check.name} {check.is_blocking}"}).hash, 16)
        for index, check in enumerate(sorted(asset.checks, key=lambda check: check.name))
    }
    return format_hash(fingerprint_of(pairs))


def current_versions(asset: Asset, config: Mapping[str, Any]) -> CurrentVersions:
    """Code and configuration version of an asset; `config` holds validated models by asset key."""
    return CurrentVersions(
        asset_code_version(asset).hash,
        config_version(config.get(asset.key)),
        partial(gates_version, asset),
    )
