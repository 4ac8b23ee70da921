"""The promises of the store, checked on its bytes: nothing of the product's own reading of records is used.

I1  visibility   a version's files are whole            I5  truth      reports agree with the chain
I2  gate         no version with a failed check         I13 bounds     garbage is whole attempts, few
I3  chain        numbers, `previous`, `self`            I4  durability what was acknowledged stays
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import xxhash

from io_managers.keys import encode_segment
from io_managers.storage.base import ObjectMissingError, Storage

#: What may stand at the top of a root.
_TOP = frozenset({"blocked", "code", "data", "log", "runs", ".assetline-store.json"})
_PUBLISHED, _NOT_PUBLISHED = (
    ("succeeded",),
    ("failed", "blocked", "skipped", "cancelled", "superseded", "lost"),
)


@dataclass(frozen=True)
class Violation:
    """One broken promise: the invariant, the place, and what was seen there."""

    rule: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} {self.where}: {self.what}"


@dataclass(frozen=True)
class Report:
    """What a command told its caller of one asset partition.

    Attributes:
        state: As in a step's outcome.
        seq: The version it named, 0 for none.
        commit_id: Of that version.
    """

    run_id: str
    asset: str
    partition: str | None
    state: str
    seq: int = 0
    commit_id: str = ""


@dataclass
class Chain:
    """One chain as its bytes say: records by number, None for a torn one."""

    asset_segment: str
    partition_segment: str
    records: dict[int, dict[str, Any] | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.asset_segment}/{self.partition_segment}"

    @property
    def valid(self) -> list[tuple[int, dict[str, Any]]]:
        return [(seq, body) for seq, body in sorted(self.records.items()) if body is not None]

    @property
    def head(self) -> dict[str, Any] | None:
        """The highest valid record."""
        return self.valid[-1][1] if self.valid else None


def parse_record(raw: bytes) -> dict[str, Any] | None:
    """The body of a record with its hash under `self`; None when it is not whole."""
    try:
        text = raw.decode("utf-8", "surrogatepass")
        body = json.loads(text)
        claimed = body["self"]
    except (UnicodeDecodeError, ValueError, TypeError, KeyError):
        return None
    end = f',"self":"{claimed}"}}'
    if not text.endswith(end):
        return None
    rest = text[: -len(end)] + "}"
    whole = hashlib.sha256(rest.encode("utf-8", "surrogatepass")).hexdigest() == claimed
    return body if whole else None


def read_chains(storage: Storage, branch: str = "main") -> dict[tuple[str, str], Chain]:
    """Every chain of a branch, by the path segments of asset and partition."""
    chains: dict[tuple[str, str], Chain] = {}
    for info in storage.list(f"log/{encode_segment(branch)}"):
        *_, asset, partition, name = info.path.split("/")
        chain = chains.setdefault((asset, partition), Chain(asset, partition))
        chain.records[int(name.removesuffix(".json"))] = parse_record(storage.get(info.path))
    return chains


def check_store(
    storage: Storage,
    branch: str = "main",
    *,
    acknowledged: Iterable[Report] = (),
    gates: Mapping[str, str] = MappingProxyType({}),
    max_garbage_attempts: int | None = None,
) -> list[Violation]:
    """I1, I2, I3, I4 and I13 on the bytes of a store.

    Args:
        storage: The store.
        branch: Whose log.
        acknowledged: Reports of versions that must still be there.
        gates: By asset segment a check that each of its versions must have passed.
        max_garbage_attempts: How many attempts may have left files that no record names; None for any number.
    """
    chains = read_chains(storage, branch)
    found: list[Violation] = []
    for chain in chains.values():
        found += _check_chain(chain)
        for seq, body in chain.valid:
            found += _check_files(storage, f"{chain.name} v{seq}", body)
            found += _check_gate(f"{chain.name} v{seq}", body, gates.get(chain.asset_segment))
    found += _check_unique(chains)
    found += _check_acknowledged(chains, acknowledged)
    found += _check_garbage(storage, chains, max_garbage_attempts)
    return found


def _check_chain(chain: Chain) -> Iterator[Violation]:
    numbers = sorted(chain.records)
    if numbers != list(range(1, len(numbers) + 1)):
        yield Violation("I3", chain.name, f"its numbers are {numbers}")
    previous = ""
    for seq in numbers:
        body = chain.records[seq]
        if body is None:
            continue
        place = (encode_segment(body["asset"]), encode_segment(body["partition"]), body["seq"])
        if place != (chain.asset_segment, chain.partition_segment, seq):
            yield Violation("I3", f"{chain.name} v{seq}", f"the record says it is {place}")
        if body["previous"] != previous:
            yield Violation("I3", f"{chain.name} v{seq}", "`previous` is not the hash of the record before")
        previous = body["self"]


def _check_files(storage: Storage, where: str, body: Mapping[str, Any]) -> Iterator[Violation]:
    if body["kind"] == "publish" and not body["files"]:
        yield Violation("I1", where, "it has no files")
    for path, size_bytes, digest in body["files"]:
        try:
            content = storage.get(path)
        except ObjectMissingError:
            yield Violation("I1", where, f"{path} is gone")
            continue
        if len(content) != size_bytes:
            yield Violation("I1", where, f"{path} has {len(content)} bytes instead of {size_bytes}")
        elif xxhash.xxh3_128_hexdigest(content) != digest:
            yield Violation("I1", where, f"{path} has other bytes than were published")


def _check_gate(where: str, body: Mapping[str, Any], gate: str | None) -> Iterator[Violation]:
    if gate is not None and gate not in [
        item["check"] for item in body["checks"] if item["status"] == "passed"
    ]:
        yield Violation("I2", where, f"it was published without passing {gate}")
    for check in body["checks"]:
        if check["severity"] == "error" and check["status"] in ("failed", "error"):
            yield Violation("I2", where, f"its check {check['check']} {check['status']}")


def _check_unique(chains: Mapping[tuple[str, str], Chain]) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    for chain in chains.values():
        for seq, body in chain.valid:
            where = f"{chain.name} v{seq}"
            for name in ("commit_id", "attempt_id"):
                value = f"{name} {body[name]}"
                if not body[name] or value in seen:
                    yield Violation("I3", where, f"its {value} is that of {seen.get(value, 'nothing')}")
                seen[value] = where


def _check_acknowledged(
    chains: Mapping[tuple[str, str], Chain], acknowledged: Iterable[Report]
) -> Iterator[Violation]:
    for report in acknowledged:
        chain = chains.get((encode_segment(report.asset), encode_segment(report.partition)))
        body = chain.records.get(report.seq) if chain else None
        if body is None or body["commit_id"] != report.commit_id:
            yield Violation(
                "I4", f"{report.asset} v{report.seq}", "it was acknowledged and is not in the chain"
            )


def _check_garbage(
    storage: Storage, chains: Mapping[tuple[str, str], Chain], max_attempts: int | None
) -> Iterator[Violation]:
    named = {path for chain in chains.values() for _, body in chain.valid for path, _, _ in body["files"]}
    attempts_named = {path.rpartition("/")[0] for path in named}
    garbage: set[str] = set()
    for info in storage.list(""):
        top = info.path.partition("/")[0]
        if top not in _TOP:
            yield Violation("I13", info.path, "nothing of ours belongs there")
        if top != "data" or info.path in named:
            continue
        attempt = info.path.rpartition("/")[0]
        garbage.add(attempt)
        if attempt in attempts_named:
            yield Violation("I13", info.path, "a published attempt has files that its record does not name")
    if max_attempts is not None and len(garbage) > max_attempts:
        yield Violation("I13", "data", f"{len(garbage)} attempts left files, {max_attempts} may have")


def check_reports(storage: Storage, reports: Iterable[Report], branch: str = "main") -> list[Violation]:
    """I5 and I14: what a command said of an asset partition agrees with the chain.

    A step that ended well published under its run exactly once; one that did not, published nothing.
    """
    chains = read_chains(storage, branch)
    found = []
    for report in reports:
        chain = chains.get((encode_segment(report.asset), encode_segment(report.partition)))
        mine = [seq for seq, body in (chain.valid if chain else []) if body["run_id"] == report.run_id]
        if report.state in _PUBLISHED and (len(mine) != 1 or mine[0] != report.seq):
            found.append(
                Violation("I5", report.asset, f"reported {report.state} as v{report.seq}; published {mine}")
            )
        if report.state in _NOT_PUBLISHED and mine:
            found.append(Violation("I5", report.asset, f"reported {report.state}; published {mine}"))
    return found


def unfinished_files(root: Path) -> list[Path]:
    """Temporary files that killed writers left in a local store."""
    return sorted(root.rglob(".tmp-*"))
