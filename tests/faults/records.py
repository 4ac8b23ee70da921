"""Publications by hand, for tests of the versions alone."""

from io_managers.storage.base import Storage
from io_managers.versions.publication import Publication
from io_managers.versions.store import Head, VersionStore, new_id


def never_sleep(_seconds: float) -> None:
    """Wait no time at all."""


def versions_in(storage: Storage) -> VersionStore:
    """The versions of a store, without waiting."""
    return VersionStore(storage, sleep=never_sleep)


def stage(versions: VersionStore, content: bytes, run_id: str = "run") -> Publication:
    """A draft of `things` with one file."""
    staging = versions.stage("things", None)
    with staging.create("value.bin") as stream:
        stream.write(content)
    staging.verify()
    return Publication(
        asset="things",
        partition=None,
        seq=0,
        kind="publish",
        commit_id="",
        attempt_id=staging.folder.rpartition("/")[2],
        run_id=run_id,
        published_at="2026-01-01T00:00:00.000000+00:00",
        io_manager="bytes",
        files=tuple(staging.files),
        rows=None,
        columns={},
        column_hashes={},
        data_version=staging.data_version,
        code_version=f"{1:016x}",
        config_version=f"{2:016x}",
    )


def publish(versions: VersionStore, content: bytes, base: Head | None = None) -> Publication:
    """Stage and publish on a base, by default the head."""
    draft = stage(versions, content, new_id())
    return versions.publish(draft, versions.head("things", None) if base is None else base)


def content_of(versions: VersionStore) -> bytes | None:
    """What a reader of the newest version gets."""
    head = versions.head("things", None).publication
    if head is None:
        return None
    with versions.files(head).open("value.bin") as stream:
        return stream.read()
