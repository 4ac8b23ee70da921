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
        checks: What did not pass: check, status, observed and expected, as text.
    """

    asset: str
    partition: str | None
    base: int
    basis: str
    run_id: str
    checks: tuple[dict[str, str], ...] = ()


class BlockedTries:
    """The marks of one branch in one store."""

    def __init__(self, storage: Storage, branch: str) -> None:
        self._storage = storage
        self._root = f"blocked/{encode_segment(branch)}"

    def put(self, blocked: BlockedTry) -> None:
        """Note a try, in place of an earlier one of the same asset partition."""
        text = json.dumps(asdict(blocked), ensure_ascii=True)
        self._storage.put(self._path(blocked.asset, blocked.partition), text.encode())

    def read(self, asset: str, partition: str | None) -> BlockedTry | None:
        """The mark of one asset partition, None when there is none that can be read."""
        return self._read(self._path(asset, partition))

    def read_all(self, asset: str | None = None) -> Iterator[BlockedTry]:
        """Every mark of the branch, or of one asset; one that cannot be read is left out."""
        folder = self._root if asset is None else f"{self._root}/{encode_segment(asset)}"
        for info in list(self._storage.list(folder)):
            found = self._read(info.path)
            if found is not None:
                yield found

    def _path(self, asset: str, partition: str | None) -> str:
        return f"{self._root}/{encode_segment(asset)}/{encode_segment(partition)}.json"

    def _read(self, path: str) -> BlockedTry | None:
        try:
            body = json.loads(self._storage.get(path))
            return BlockedTry(**{**body, "checks": tuple(body["checks"])})
        except (ObjectMissingError, ValueError, TypeError, KeyError):
            return None
