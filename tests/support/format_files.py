"""Files of one version without a store: in memory, or in a folder."""

import io
from pathlib import Path
from typing import BinaryIO


class _Collected(io.BytesIO):
    def __init__(self, files: "MemoryFiles", name: str) -> None:
        super().__init__()
        self._files = files
        self._name = name

    def close(self) -> None:
        if not self.closed:
            self._files.contents[self._name] = self.getvalue()
        super().close()

    def abort(self) -> None:
        super().close()
        self._files.aborted.append(self._name)


class MemoryFiles:
    """A sink and a source at once, like a remote store: no local paths."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.aborted: list[str] = []

    def create(self, name: str) -> BinaryIO:
        return _Collected(self, name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.contents)

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.contents[name])

    def local_path(self, name: str) -> Path | None:
        return None


class FolderFiles:
    """A sink and a source at once, like a local store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: list[str] = []

    def create(self, name: str) -> BinaryIO:
        self._names.append(name)
        return (self.folder / name).open("wb")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def open(self, name: str) -> BinaryIO:
        return (self.folder / name).open("rb")

    def local_path(self, name: str) -> Path | None:
        return self.folder / name
