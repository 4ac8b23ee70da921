"""The publish protocol: begin at a head, stage, and make a version current by creating its numbered record.

    ROOT/data/{asset}/{partition}/{attempt}/part-0.parquet    immutable, unique names, written first
    ROOT/log/{branch}/{asset}/{partition}/{seq:020d}.json     created only if absent; the highest valid one is current

The number of a new record comes from the head that was read at the beginning, never from a fresh listing: so
create-if-absent is a compare-and-swap, and it fences a worker that was thought lost and comes back.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from io_managers.errors import StorageError
from io_managers.keys import encode_segment, format_asset_partition
from io_managers.storage.base import ObjectExistsError, ObjectMissingError, Storage
from io_managers.versions.publication import Publication, TornRecordError
from io_managers.versions.staging import Staging, StoredFiles

_SETTLE_ATTEMPTS = 8
_SETTLE_WAIT_S = 0.2


class SupersededError(Exception):
    """Another writer published first; `winner` is its record. A signal for the step, which may adopt it."""

    def __init__(self, winner: Publication) -> None:
        super().__init__(winner.seq)
        self.winner = winner


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain stands.

    Attributes:
        seq: The highest number taken, 0 when the chain is empty; a torn record burns its number.
        self_hash: Hash of the highest valid record, which the next one names as `previous`; "" when there is none.
        publication: That record, None when there is none or only its hash is known.
    """

    seq: int
    self_hash: str = ""
    publication: Publication | None = None


def new_id() -> str:
    """A unique id that sorts by time: 12 hex digits of milliseconds and 20 of chance."""
    return f"{int(time.time() * 1000):012x}{os.urandom(10).hex()}"


class VersionStore:
    """The versions of one branch in one store. Safe to use from several threads.

    Args:
        storage: The store.
        branch: The branch that is read and published on.
        sleep: Waits so many seconds between tries to learn the outcome of a publication.
    """

    def __init__(
        self, storage: Storage, branch: str = "main", *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.storage = storage
        self.branch = branch
        self._sleep = sleep
        self._unsettled: set[str] = set()
        self._log = f"log/{encode_segment(branch)}"

    def folder(self, asset: str, partition: str | None) -> str:
        """The folder of a chain."""
        return f"{self._log}/{encode_segment(asset)}/{encode_segment(partition)}"

    def record_path(self, asset: str, partition: str | None, seq: int) -> str:
        """Where version `seq` has its record."""
        return f"{self._log}/{encode_segment(asset)}/{encode_segment(partition)}/{seq:020d}.json"

    def read(self, asset: str, partition: str | None, seq: int) -> Publication | None:
        """The record of one version, None when it does not exist.

        Raises:
            TornRecordError: The record is there but not whole.
        """
        try:
            return Publication.from_bytes(self.storage.get(self.record_path(asset, partition, seq)))
        except ObjectMissingError:
            return None

    def require(self, asset: str, partition: str | None, seq: int) -> Publication:
        """The record of a version that the caller knows to exist.

        Raises:
            StorageError: `record-missing` when it is gone or torn.
        """
        try:
            publication = self.read(asset, partition, seq)
        except TornRecordError:
            publication = None
        if publication is None:
            raise StorageError(
                "record-missing",
                f"the record of version v{seq} of {format_asset_partition(asset, partition)} cannot be read.",
                why=f"{self.record_path(asset, partition, seq)} is gone or damaged in {self.storage.url}.",
                do="run `assetline state rebuild`, then plan again.",
            )
        return publication

    def head_from(self, asset: str, partition: str | None, known: Head) -> Head:
        """The head, when one is known that may have been overtaken: one look-up in the usual case."""
        if self.storage.head(self.record_path(asset, partition, known.seq + 1)) is None:
            return known
        return self.head(asset, partition, at_least=known.seq)

    def head(self, asset: str, partition: str | None, *, at_least: int = 0) -> Head:
        """Where the chain stands now, by listing it.

        A listing may lag behind the writes on some stores, so the numbers after it are probed one by one.
        """
        numbers = [seq for seq in self.numbers(asset, partition) if seq >= at_least]
        top = max(numbers, default=at_least)
        while self.storage.head(self.record_path(asset, partition, top + 1)) is not None:
            top += 1
        for seq in range(top, 0, -1):
            try:
                publication = self.read(asset, partition, seq)
            except TornRecordError:
                continue
            if publication is not None:
                return Head(top, publication.self_hash, publication)
        return Head(top)

    def numbers(self, asset: str, partition: str | None) -> list[int]:
        """Every version number that is taken, ascending."""
        return sorted(
            int(name[:20])
            for name in self.storage.list_names(self.folder(asset, partition))
            if len(name) == 25 and name[:20].isdigit() and name.endswith(".json")
        )

    def history(self, asset: str, partition: str | None) -> list[Publication]:
        """Every valid record of a chain, oldest first."""
        found = []
        for seq in self.numbers(asset, partition):
            try:
                publication = self.read(asset, partition, seq)
            except TornRecordError:
                continue
            if publication is not None:
                found.append(publication)
        return found

    def chains(self, asset: str | None = None) -> Iterator[tuple[str, str, list[int]]]:
        """Every chain of the branch (or of one asset) as the log has it: asset segment, partition segment, numbers."""
        folder = self._log if asset is None else f"{self._log}/{encode_segment(asset)}"
        current: tuple[str, str] | None = None
        numbers: list[int] = []
        for info in self.storage.list(folder):
            parts = info.path.split("/")
            name = parts[-1]
            if len(parts) != 5 or len(name) != 25 or not name[:20].isdigit() or not name.endswith(".json"):
                continue
            chain = (parts[2], parts[3])
            if chain != current:
                if current is not None:
                    yield (*current, numbers)
                current, numbers = chain, []
            numbers.append(int(name[:20]))
        if current is not None:
            yield (*current, numbers)

    def read_segment(self, asset_segment: str, partition_segment: str, seq: int) -> Publication | None:
        """The record of one version of a chain as `chains` names it, None when it is gone or torn."""
        try:
            return Publication.from_bytes(
                self.storage.get(f"{self._log}/{asset_segment}/{partition_segment}/{seq:020d}.json")
            )
        except (ObjectMissingError, TornRecordError):
            return None

    def stage(self, asset: str, partition: str | None) -> Staging:
        """A fresh staging area with an attempt id of its own."""
        return Staging(self.storage, asset, partition, new_id(), self._unsettled)

    def files(self, publication: Publication) -> StoredFiles:
        """The data files of a version."""
        return StoredFiles(self.storage, publication.files)

    def publish(self, draft: Publication, base: Head) -> Publication:
        """Make a draft current as the version after `base`; all or nothing.

        The draft's `seq`, `previous` and `commit_id` are set here. When the answer of the store is lost, the record
        is read back: our own commit id is success, another's is `SupersededError`, absent means the same put again.

        While it is not known whether the draft was published, its staged files are safe from `Staging.discard`.

        Raises:
            SupersededError: Somebody else published after `base` was read.
            StorageError: The store failed; with code `outcome-unknown` it could not be learned whether we published.
        """
        commit_id = uuid.uuid4().hex
        sealed, raw = draft.seal(seq=base.seq + 1, previous=base.self_hash, commit_id=commit_id)
        self._unsettled.add(draft.attempt_id)
        trouble: StorageError | None = None
        for attempt in range(_SETTLE_ATTEMPTS):
            if attempt:
                self._sleep(_SETTLE_WAIT_S * attempt)
            try:
                self.storage.put_new(self.record_path(sealed.asset, sealed.partition, sealed.seq), raw)
            except ObjectExistsError:
                pass
            except StorageError as error:
                if trouble is None and not error.retryable and error.code != "outcome-unknown":
                    self._unsettled.discard(draft.attempt_id)
                    raise  # the first try, and it had no effect
                trouble = error
            else:
                self._unsettled.discard(draft.attempt_id)
                return sealed
            try:
                found = self.read(sealed.asset, sealed.partition, sealed.seq)
            except TornRecordError:  # a burnt number: nobody's version, so ours is the next
                sealed, raw = draft.seal(seq=sealed.seq + 1, previous=base.self_hash, commit_id=commit_id)
                continue
            except StorageError as error:  # what is there may be ours: a client that tries again hides that
                trouble = error
                continue
            if found is None:
                continue
            self._unsettled.discard(draft.attempt_id)
            if found.commit_id == sealed.commit_id:
                return sealed
            raise SupersededError(found)
        raise StorageError(
            "outcome-unknown",
            f"could not learn whether {format_asset_partition(sealed.asset, sealed.partition)} was published "
            f"to {self.storage.url}.",
            why=f"{_SETTLE_ATTEMPTS} tries failed; the last: {trouble.why if trouble else 'no answer'}",
            do="run the command again: it adopts the version if it was published.",
            left="at most one complete version, which passed its checks.",
            retryable=True,
        )
