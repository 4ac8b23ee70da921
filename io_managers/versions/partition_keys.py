"""Keys of partitions that come and go at run time, as a log of additions and removals.

    ROOT/partitions/{name}/{seq:020d}.json    created only if absent; what all of them together say holds

Every change is a record of its own, numbered from the last one that was read: so create-if-absent is a
compare-and-swap, and of two writers the second folds its change onto the first's. Every `_FULL_EVERY`th record also
holds all keys, so that a reader never needs more than the records since the last of these. Records are never changed
or removed. One that is torn, because its writer died, burns its number and says nothing.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from io_managers.errors import ConflictError, StorageError
from io_managers.keys import encode_segment
from io_managers.storage.base import ObjectExistsError, ObjectMissingError, Storage

__all__ = ["KeyChange", "PartitionKeys"]

_FORMAT = 1
_FULL_EVERY = 64
_ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What a change did: the keys it really added or removed, and all keys after it, in their order."""

    changed: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """The keys after record `seq`."""

    seq: int = 0
    keys: tuple[str, ...] = ()


class PartitionKeys:
    """The lists of keys in one store, by name. Safe to use from several threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, _Known] = {}

    def read(self, name: str) -> tuple[str, ...]:
        """The keys of a list in the order in which they were added; empty for one that nothing was ever added to.

        Raises:
            StorageError: `record-missing`: a record of the list is gone. Or the storage failed.
        """
        return self._read(name).keys

    def add(self, name: str, keys: Iterable[str]) -> KeyChange:
        """Add keys at the end of a list; those that it has stay where they are.

        Raises:
            ConflictError: `partitions-contended`: other writers were always faster.
            StorageError: As `read`.
        """
        wanted = tuple(dict.fromkeys(keys))
        return self._change(name, lambda known: (tuple(key for key in wanted if key not in known), ()))

    def remove(self, name: str, keys: Iterable[str]) -> KeyChange:
        """Take keys out of a list; those that it does not have are left out.

        Raises:
            ConflictError: As `add`.
            StorageError: As `read`.
        """
        wanted = tuple(dict.fromkeys(keys))
        return self._change(name, lambda known: ((), tuple(key for key in wanted if key in known)))

    def _change(
        self, name: str, decide: Callable[[frozenset[str]], tuple[tuple[str, ...], tuple[str, ...]]]
    ) -> KeyChange:
        for _ in range(_ATTEMPTS):
            known = self._read(name)
            added, removed = decide(frozenset(known.keys))
            if not added and not removed:
                return KeyChange((), known.keys)
            seq, keys = known.seq + 1, _fold(known.keys, added, removed)
            body: dict[str, Any] = {
                "format": _FORMAT,
                "name": name,
                "seq": seq,
                "at": datetime.now(UTC).isoformat(timespec="microseconds"),
                "added": added,
                "removed": removed,
            }
            if seq % _FULL_EVERY == 0:
                body["keys"] = keys
            try:
                self._storage.put_new(_path(name, seq), _seal(body))
            except ObjectExistsError:
                continue
            self._known[name] = _Known(seq, keys)
            return KeyChange(added or removed, keys)
        raise ConflictError(
            "partitions-contended",
            f"the keys of {name!r} could not be changed.",
            why=f"other writers changed them first, {_ATTEMPTS} times in a row.",
            do="try again, with many keys in one call.",
            left="nothing: none of these keys was added or removed.",
        )

    def _read(self, name: str) -> _Known:
        known = self._known.get(name, _Known())
        top = self._top(name, known.seq)
        if top == known.seq:
            return known
        changes: list[dict[str, Any]] = []
        base = known
        for seq in range(top, known.seq, -1):
            body = self._record(name, seq)
            if body is None:
                continue
            if "keys" in body:
                base = _Known(seq, tuple(body["keys"]))
                break
            changes.append(body)
        keys = base.keys
        for body in reversed(changes):
            keys = _fold(keys, body["added"], body["removed"])
        found = self._known[name] = _Known(top, keys)
        return found

    def _top(self, name: str, at_least: int) -> int:
        """The highest number taken; a listing may lag behind, so the numbers after it are tried one by one."""
        folder = f"partitions/{encode_segment(name)}"
        numbers = [
            int(entry[:20])
            for entry in self._storage.list_names(folder)
            if len(entry) == 25 and entry[:20].isdigit() and entry.endswith(".json")
        ]
        top = max([at_least, *numbers])
        while self._storage.head(_path(name, top + 1)) is not None:
            top += 1
        return top

    def _record(self, name: str, seq: int) -> dict[str, Any] | None:
        """One record, None for a torn one."""
        path = _path(name, seq)
        try:
            return _open(self._storage.get(path))
        except ObjectMissingError:
            raise StorageError(
                "record-missing",
                f"a record of the keys of {name!r} is gone.",
                why=f"{path} does not exist in {self._storage.url}, though later ones do.",
                do=f"restore the file, or put {{}} there to go on without it; then see `assetline partitions list {name}`.",
            ) from None


def _path(name: str, seq: int) -> str:
    return f"partitions/{encode_segment(name)}/{seq:020d}.json"


def _fold(keys: Iterable[str], added: Iterable[str], removed: Iterable[str]) -> tuple[str, ...]:
    """The keys after one change: in the order in which they were added."""
    found = dict.fromkeys([*keys, *added])
    for key in removed:
        found.pop(key, None)
    return tuple(found)


def _seal(body: dict[str, Any]) -> bytes:
    text = json.dumps(body, sort_keys=True)
    return json.dumps({**body, "self_hash": _hash(text)}, sort_keys=True).encode()


def _open(data: bytes) -> dict[str, Any] | None:
    """What a record says, None unless it is whole."""
    try:
        body = json.loads(data)
        seal = body.pop("self_hash")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return body if seal == _hash(json.dumps(body, sort_keys=True)) else None


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
