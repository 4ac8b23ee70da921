"""What a step may know about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

    from assets_core.definition.partitions.time import Window

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """What an asset's function learns about its step when it has a parameter annotated `Context`.

    Attributes:
        asset: Key of the asset.
        partition: Key of the partition, None without partitions.
        partitions: Keys of the partitions of this step; (None,) without partitions.
        window: Aware start and end of the partition, half-open; None when it is not a span of time.
        attempt: 1 for the first try.
        log: Lines written here are kept with the run.
        config: The validated run configuration, None when the function takes none.
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

    @classmethod
    def for_test(
        cls,
        asset: str = "test",
        *,
        partition: str | None = None,
        window: Window | None = None,
        config: Any = None,
    ) -> Context:
        """A context for calling a function in a test: first attempt of run `test` on branch `main`."""
        import logging

        log = logging.getLogger("assetline.test")
        return cls(asset, partition, (partition,), window, "test", 1, "main", log, config)
