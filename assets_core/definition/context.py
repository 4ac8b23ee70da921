"""What a step may know about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

    from assets_core.definition.partitions.time import Window

__all__ = ["Context"]


def _store_nowhere(name: str, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


@dataclass(frozen=True)
class Context:
    """What an asset's function learns about its step when it has a parameter annotated `Context`.

    Attributes:
        asset: Key of the asset.
        partition: Key of the partition, None without partitions.
        partitions: Keys of the partitions of this step; (None,) without partitions.
        window: Aware start and end of the partition, half-open; None when it is not a span of time. Of partitions by
            several dimensions that of the one dimension of time.
        attempt: 1 for the first try.
        log: Lines written here are kept with the run.
        config: The validated run configuration, None when the function takes none.
        dimensions: Key of each dimension by its name, for partitions by several dimensions; else empty.
    """

    asset: str
    partition: str | None
    partitions: tuple[str | None, ...]
    window: Window | None
    run_id: str
    attempt: int
    branch: str
    log: logging.Logger
    config: Any = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    store_partitions: Callable[[str, Iterable[str]], tuple[str, ...]] = field(
        default=_store_nowhere, repr=False, compare=False
    )

    def add_partitions(self, name: str, keys: Iterable[str]) -> tuple[str, ...]:
        """Add keys to dynamic partitions, at once and whether or not this step succeeds; the next plan sees them.

        Returns:
            Those that were new. In a test nothing is stored, and all are.
        """
        return self.store_partitions(name, keys)

    @classmethod
    def for_test(
        cls,
        asset: str = "test",
        *,
        partition: str | None = None,
        window: Window | None = None,
        config: Any = None,
        dimensions: Mapping[str, str] | None = None,
    ) -> Context:
        """A context for calling a function in a test: first attempt of run `test` on branch `main`."""
        import logging

        log = logging.getLogger("assetline.test")
        return cls(
            asset, partition, (partition,), window, "test", 1, "main", log, config, dict(dimensions or {})
        )
