"""Finding out whether a store keeps the promises on which publishing stands, before anything is trusted to it.

Some servers ignore the condition of an exclusive create and let every racing writer win, without a word. A store
that does so, or lags, or cuts what it is given, is refused here with a sentence that names its defect.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectMissingError, Storage
from io_managers.storage.local import LocalStorage

__all__ = ["MARK_PATH", "ProbeResult", "probe_storage", "require_trusted"]

#: Where a root keeps the verdict of its probe.
MARK_PATH = ".assetline-store.json"

_MARK_FORMAT = 1
_CREATORS = 16
_FULL_ROUNDS = 20
_QUICK_ROUNDS = 2
_MAX_CLOCK_OFFSET_S = 900.0
# What asset and partition keys look like once encoded, and what a listing tends to get wrong about them.
_NAMES = ("a%2Fb", "~", "a-b", "a", "B", "%00%FF", "~0", "b", "k=v", "plain", "long" + "x" * 190)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One property of a store.

    Attributes:
        what: The property, in a few words.
        ok: The store has it.
        detail: What was seen; when not `ok` the store's defect as a sentence.
        fix: What to do about it; empty when `ok`.
    """

    what: str
    ok: bool
    detail: str
    fix: str = ""


class _DefectError(Exception):
    """A probe found a defect; the text is the sentence."""


def probe_storage(
    storage: Storage, *, rounds: int = _FULL_ROUNDS, peer: Storage | None = None
) -> list[ProbeResult]:
    """Try every promise on a scratch folder of the root, which is removed afterwards.

    Args:
        storage: The store.
        rounds: How many races of 16 creators are held; more rounds also try more names.
        peer: The same root through other connections; half of the creators then use it.

    Returns:
        One result for each property, in a fixed order; the store's clock is the last and only informs.

    Raises:
        StorageError: The store could not be reached or refused to be used at all.
    """
    folder = f".assetline-probe/{os.urandom(8).hex()}"
    probes: tuple[tuple[str, Callable[[], str]], ...] = (
        ("read after write", lambda: _probe_reads(storage, f"{folder}/read")),
        ("exclusive create", lambda: _probe_create(storage, f"{folder}/create")),
        ("one winner of a race", lambda: _probe_races(storage, peer or storage, f"{folder}/race", rounds)),
        ("list after write", lambda: _probe_listing(storage, f"{folder}/list", _NAMES[: 3 + rounds])),
        ("streamed write", lambda: _probe_stream(storage, f"{folder}/stream")),
        ("delete", lambda: _probe_delete(storage, f"{folder}/delete")),
        ("clock", lambda: _probe_clock(storage, f"{folder}/clock")),
    )
    results = []
    try:
        for what, probe in probes:
            try:
                results.append(ProbeResult(what, True, probe()))
            except _DefectError as defect:
                results.append(ProbeResult(what, False, str(defect), _fix(what)))
            except (ObjectExistsError, ObjectMissingError) as signal:
                kind = "exists" if isinstance(signal, ObjectExistsError) else "is missing"
                results.append(
                    ProbeResult(what, False, f"it said wrongly that an object {kind}.", _fix(what))
                )
            except StorageError as error:
                if all(result.ok for result in results):
                    raise
                results.append(ProbeResult(what, False, f"it failed: {error.why or error.what}", _fix(what)))
    finally:
        with suppress(StorageError):
            for info in list(storage.list(folder)):
                storage.delete(info.path)
    return results


def require_trusted(storage: Storage) -> None:
    """Return when the store can be trusted, or raise.

    A root is probed once; the verdict is kept in it, so that later calls cost one read.

    Raises:
        StorageError: `store-untrusted`, with the store's defect.
    """
    if _is_marked(storage):
        return
    # Durability is not what is probed here, and sixteen creators that each wait for the disk take long.
    probed = LocalStorage(storage.root, durability="os") if isinstance(storage, LocalStorage) else storage
    results = probe_storage(probed, rounds=_QUICK_ROUNDS)
    defects = [result for result in results if not result.ok and result.what != "clock"]
    if defects:
        first = defects[0]
        others = f" ({len(defects)} of {len(results)} properties are missing)" if len(defects) > 1 else ""
        raise StorageError(
            "store-untrusted",
            f"the storage {storage.url} cannot be trusted with data.",
            why=f"{first.what}: {first.detail}{others}",
            do=first.fix,
            left="nothing; no data was written.",
        )
    mark = {"format": _MARK_FORMAT, "trusted": True, "probed_at": round(time.time(), 3)}
    with suppress(ObjectExistsError):
        storage.put_new(MARK_PATH, json.dumps(mark).encode())


def _is_marked(storage: Storage) -> bool:
    try:
        mark = json.loads(storage.get(MARK_PATH))
    except ObjectMissingError:
        return False
    except ValueError:
        return _without_mark(storage)
    if isinstance(mark, dict) and mark.get("format") == _MARK_FORMAT and mark.get("trusted") is True:
        return True
    return _without_mark(storage)


def _without_mark(storage: Storage) -> bool:
    """Remove a mark that says nothing to us, so that the new one can be created."""
    storage.delete(MARK_PATH)
    return False


def _fix(what: str) -> str:
    if what == "clock":
        return "set the clock of this machine or of the store."
    return (
        "use a store with working conditional writes (AWS S3, Google Cloud Storage's and Cloudflare R2's S3 interface, "
        "MinIO, Ceph, SeaweedFS, a local disk), or a newer release of this one."
    )


def _probe_reads(storage: Storage, folder: str) -> str:
    for number in range(3):
        data = os.urandom(1 << (8 + 4 * number)) + b"\r\n\x00\xff%~"
        path = f"{folder}/{number}"
        for content in (data, data[::-1]):
            storage.put(path, content)
            _require_content(storage, path, content, "an object that was just written")
            info = storage.head(path)
            if info is None or info.size_bytes != len(content):
                raise _DefectError(
                    f"it reports {info.size_bytes if info else 'no'} bytes for an object of {len(content)} bytes."
                )
    return "what was written was read back, byte for byte."


def _probe_create(storage: Storage, folder: str) -> str:
    path = f"{folder}/taken"
    try:
        storage.put_new(path, b"first")
    except ObjectExistsError:
        raise _DefectError("it refused to create an object that did not exist.") from None
    _require_content(storage, path, b"first", "an object that was just created")
    refused = True
    try:
        storage.put_new(path, b"second")
    except ObjectExistsError:
        pass
    else:
        refused = False
    unchanged = _content(storage, path) == b"first"
    if not refused:
        raise _DefectError(
            "it ignored the condition of an exclusive create: a second create of the same object "
            + ("reported success." if unchanged else "replaced the first.")
        )
    if not unchanged:
        raise _DefectError("it refused a second create of the same object, yet changed the object.")
    return "a second create of the same object was refused and changed nothing."


def _probe_races(storage: Storage, peer: Storage, folder: str, rounds: int) -> str:
    barrier = threading.Barrier(_CREATORS)

    def create(path: str, number: int) -> bytes | None:
        data = b"creator %d" % number
        barrier.wait(60)
        try:
            (storage if number % 2 else peer).put_new(path, data)
        except ObjectExistsError:
            return None
        except StorageError as error:
            if error.code != "outcome-unknown":
                raise
            # Whether it won is for the object itself to say, as it is when publishing.
            return data if _content(storage, path) == data else None
        return data

    with ThreadPoolExecutor(_CREATORS) as pool:
        for number in range(rounds):
            path = f"{folder}/{number}"
            winners = [data for data in pool.map(create, [path] * _CREATORS, range(_CREATORS)) if data]
            if len(winners) != 1:
                raise _DefectError(
                    f"{len(winners)} of {_CREATORS} writers that raced to create the same object were told they won."
                )
            _require_content(storage, path, winners[0], "the object of the one writer that won a race")
    return f"in {rounds} races of {_CREATORS} creators each had one winner."


def _probe_listing(storage: Storage, folder: str, names: tuple[str, ...]) -> str:
    expected: set[str] = set()
    for name in names:
        path = f"{folder}/{name}/object"
        storage.put_new(path, b"x")
        expected.add(path)
        _require_listing(storage, folder, expected)
    _require_listing(storage, folder[:-1], set())
    if storage.list_names(folder) != sorted(names):
        raise _DefectError("the folders it lists are not those that were just written.")
    return "each object appeared in the listing as soon as it was written, in order."


def _probe_stream(storage: Storage, folder: str) -> str:
    path = f"{folder}/object"
    data = os.urandom(100_000)
    stream = storage.open_write(path)
    for start in range(0, len(data), 30_000):
        stream.write(data[start : start + 30_000])
    stream.close()
    _require_content(storage, path, data, "an object that was just streamed")
    with storage.open_read(path) as reader:
        reader.seek(99_000)
        if reader.read() != data[99_000:]:
            raise _DefectError("it returns other bytes than were asked for when reading a part of an object.")
    return "a streamed object was read back whole and in part."


def _probe_delete(storage: Storage, folder: str) -> str:
    path = f"{folder}/object"
    storage.put_new(path, b"before")
    storage.delete(path)
    if storage.head(path) is not None or _content(storage, path) is not None:
        raise _DefectError("it still has an object after deleting it.")
    _require_listing(storage, folder, set())
    storage.delete(path)
    try:
        storage.put_new(path, b"after")
    except ObjectExistsError:
        raise _DefectError("it refused to create an object again after deleting it.") from None
    _require_content(storage, path, b"after", "an object that was created again after deleting it")
    return "a deleted object was gone, and could be created again."


def _probe_clock(storage: Storage, folder: str) -> str:
    path = f"{folder}/object"
    storage.put_new(path, b"x")
    info = storage.head(path)
    now = storage.now()
    offset = now - time.time()
    if abs(offset) > _MAX_CLOCK_OFFSET_S:
        raise _DefectError(f"its clock is {offset:+,.0f} s off this machine's.")
    if info is None or abs(info.modified - now) > _MAX_CLOCK_OFFSET_S:
        raise _DefectError("it stamps objects with another time than its clock shows.")
    return f"its clock is {offset:+.1f} s off this machine's."


def _content(storage: Storage, path: str) -> bytes | None:
    try:
        return storage.get(path)
    except ObjectMissingError:
        return None


def _require_content(storage: Storage, path: str, expected: bytes, which: str) -> None:
    found = _content(storage, path)
    if found is None:
        raise _DefectError(f"it does not find {which}.")
    if found != expected:
        same = (
            "of the same length"
            if len(found) == len(expected)
            else f"{len(found)} instead of {len(expected)}"
        )
        raise _DefectError(f"it returns other bytes ({same}) for {which}.")


def _require_listing(storage: Storage, folder: str, expected: set[str]) -> None:
    paths: Iterator[str] = (info.path for info in storage.list(folder))
    found = list(paths)
    if missing := expected - set(found):
        raise _DefectError(
            f"its listing lacks {len(missing)} of {len(expected)} objects that were just written."
        )
    if extra := set(found) - expected:
        raise _DefectError(
            f"its listing shows {len(extra)} objects that are not there, or not in that folder."
        )
    if found != sorted(found):
        raise _DefectError("its listing is not in the order of the paths.")
