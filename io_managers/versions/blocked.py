"""Marks of tries that a gate blocked, so that a state database that was not there does not repeat them.

    ROOT/blocked/{branch}/{asset}/{partition}.json    the last one of each asset partition, replaced by the next

A mark counts while the chain of the asset partition has not moved past the version it started from.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from io_managers.keys import encode_segment
from io_managers.storage.base import ObjectMissingError, Storage


@dataclass(frozen=True, slots=True)
class BlockedTry:
    """One try that published nothing because of what its checks found.

    Attributes:
        base: Highest version number taken when it began.
        basis: 16 hex digits over all that it started from.
    """

    asset: str
    partition: str | None
    base: int
    basis: str
    run_id: str


class BlockedTries:
    """The marks of one branch in one store."""

    def __init__(self, storage: Storage, branch: str) -> None:
        self._storage = storage
        self._root = f"blocked/{encode_segment(branch)}"

    def put(self, blocked: BlockedTry) -> None:
        """Note a try, in place of an earlier one of the same asset partition."""
        path = f"{self._root}/{encode_segment(blocked.asset)}/{encode_segment(blocked.partition)}.json"
        text = json.dumps(asdict(blocked), ensure_ascii=True)
        self._storage.put(path, text.encode())

    def read_all(self, asset: str | None = None) -> Iterator[BlockedTry]:
        """Every mark of the branch, or of one asset; one that cannot be read is left out."""
        folder = self._root if asset is None else f"{self._root}/{encode_segment(asset)}"
        for info in list(self._storage.list(folder)):
            try:
                yield BlockedTry(**json.loads(self._storage.get(info.path)))
            except (ObjectMissingError, ValueError, TypeError):
                continue
