"""The record that makes a version current: what it holds, its bytes, its proof of being whole."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

RECORD_FORMAT = 1

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

PublicationKind = Literal["publish", "rollback", "drop"]


class TornRecordError(Exception):
    """The bytes are not a whole record: an aborted or damaged write, never current."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One immutable data file: path below the root, bytes, and the hex XXH3-128 of its content."""

    path: str
    size_bytes: int
    hash: str


@dataclass(frozen=True, slots=True)
class InputUse:
    """What a version was computed from, for one input.

    Attributes:
        asset: Key of the upstream asset.
        fingerprint: 16 hex digits over exactly the partitions and columns that were read.
        partitions: Partition key and version number of each partition read, in partition order.
    """

    asset: str
    fingerprint: str
    partitions: tuple[tuple[str | None, int], ...]


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """The outcome of one check on the staged data; `status` is passed, failed, warned or error."""

    check: str
    status: str
    severity: str
    observed: str
    expected: str


@dataclass(frozen=True, slots=True)
class Publication:
    """One version of one asset partition, as its record in the log says.

    Attributes:
        seq: The version number, 1 upward; the highest valid one is current.
        commit_id: The same for every retry of one logical commit, so that a lost answer can be settled.
        previous: `self_hash` of the valid record before, "" for the first: the chain.
        published_at: ISO 8601 in UTC; for people, never used to order.
        columns: Column name to Arrow type text, in order; empty for what is not a table.
        column_hashes: Column name to 16 hex digits of its content.
        data_version: 32 hex digits of the content (of the columns for a table, else of the bytes).
        self_hash: SHA-256 of the record's canonical text, "" until it is sealed or read.
    """

    asset: str
    partition: str | None
    seq: int
    kind: PublicationKind
    commit_id: str
    attempt_id: str
    run_id: str
    published_at: str
    io_manager: str
    files: tuple[StoredFile, ...]
    rows: int | None
    columns: dict[str, str]
    column_hashes: dict[str, str]
    data_version: str
    code_version: str
    config_version: str
    inputs: dict[str, InputUse] = field(default_factory=dict)
    checks: tuple[CheckRecord, ...] = ()
    previous: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    self_hash: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of all data files."""
        return sum(file.size_bytes for file in self.files)

    def seal(self, *, seq: int, previous: str, commit_id: str) -> tuple["Publication", bytes]:
        """The record under a number: with its hash set, and as the bytes to store, which end with that hash.

        The bytes are canonical JSON: one text for one record.
        """
        body = {
            "format": RECORD_FORMAT,
            "asset": self.asset,
            "partition": self.partition,
            "seq": seq,
            "kind": self.kind,
            "commit_id": commit_id,
            "attempt_id": self.attempt_id,
            "run_id": self.run_id,
            "published_at": self.published_at,
            "io_manager": self.io_manager,
            "files": [[file.path, file.size_bytes, file.hash] for file in self.files],
            "rows": self.rows,
            "columns": self.columns,
            "column_hashes": self.column_hashes,
            "data_version": self.data_version,
            "code_version": self.code_version,
            "config_version": self.config_version,
            "inputs": {
                name: {"asset": use.asset, "fingerprint": use.fingerprint, "partitions": use.partitions}
                for name, use in self.inputs.items()
            },
            "checks": [asdict(check) for check in self.checks],
            "previous": previous,
            "metadata": self.metadata,
        }
        text = _ENCODER.encode(body)
        digest = _digest(text)
        sealed = Publication(
            self.asset,
            self.partition,
            seq,
            self.kind,
            commit_id,
            self.attempt_id,
            self.run_id,
            self.published_at,
            self.io_manager,
            self.files,
            self.rows,
            self.columns,
            self.column_hashes,
            self.data_version,
            self.code_version,
            self.config_version,
            self.inputs,
            self.checks,
            previous,
            self.metadata,
            digest,
        )
        return sealed, f'{text[:-1]},"self":"{digest}"}}'.encode("utf-8", "surrogatepass")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Publication":
        """Parse a stored record.

        Raises:
            TornRecordError: The bytes are truncated, changed, or of an unknown format.
        """
        try:
            text = raw.decode("utf-8", "surrogatepass")
            head, marker, tail = text.rpartition(',"self":"')
            if not marker or tail[64:] != '"}' or _digest(head + "}") != tail[:64]:
                raise TornRecordError("the record's hash does not match its content")
            body = json.loads(head + "}")
            if body.pop("format") != RECORD_FORMAT:
                raise TornRecordError("the record is of an unknown format")
        except (UnicodeDecodeError, ValueError, KeyError) as error:
            raise TornRecordError(str(error)) from error
        body["files"] = tuple(StoredFile(*file) for file in body["files"])
        body["checks"] = tuple(CheckRecord(**check) for check in body["checks"])
        body["inputs"] = {
            name: InputUse(
                use["asset"], use["fingerprint"], tuple((key, seq) for key, seq in use["partitions"])
            )
            for name, use in body["inputs"].items()
        }
        return cls(**body, self_hash=tail[:64])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
