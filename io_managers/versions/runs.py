"""Marks of runs in the store, so that a state database that was not there learns what to read again.

    ROOT/runs/open/{run_id}.json    created before a run's first publication
    ROOT/runs/done/{run_id}.json    created after its last; the open mark is removed then

A state database absorbs each run once. Marks that it does not know name the assets whose chains it must read.
"""

import contextlib
import json
from dataclasses import asdict, dataclass

from io_managers.storage.base import ObjectExistsError, ObjectMissingError, Storage


@dataclass(frozen=True, slots=True)
class RunMark:
    """One run as the store knows it.

    Attributes:
        assets: Keys of the assets it may publish.
        host: Name of the machine and `pid` of the process that coordinates it.
        started_at: Epoch seconds; for people.
    """

    run_id: str
    branch: str
    assets: tuple[str, ...]
    host: str
    pid: int
    started_at: float


class RunMarks:
    """The marks of one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, mark: RunMark) -> None:
        """Note that a run is about to publish."""
        self._storage.put_new(_open_path(mark.run_id), json.dumps(asdict(mark)).encode())

    def close(self, mark: RunMark) -> None:
        """Note that a run publishes nothing more."""
        with contextlib.suppress(ObjectExistsError):  # a recovery was there before; the content is the same
            self._storage.put_new(f"runs/done/{mark.run_id}.json", json.dumps(asdict(mark)).encode())
        self._storage.delete(_open_path(mark.run_id))

    def open_ids(self) -> list[str]:
        """Ids of runs that have not ended, or died."""
        return _ids(self._storage.list_names("runs/open"))

    def done_ids(self) -> list[str]:
        """Ids of runs that ended."""
        return _ids(self._storage.list_names("runs/done"))

    def read(self, run_id: str) -> RunMark | None:
        """A run's mark, None when it is gone or unreadable."""
        for path in (_open_path(run_id), f"runs/done/{run_id}.json"):
            try:
                body = json.loads(self._storage.get(path))
                return RunMark(**{**body, "assets": tuple(body["assets"])})
            except ObjectMissingError:
                continue
            except (ValueError, TypeError, KeyError):
                return None
        return None


def _open_path(run_id: str) -> str:
    return f"runs/open/{run_id}.json"


def _ids(names: list[str]) -> list[str]:
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]
