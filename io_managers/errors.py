"""The errors of the storage floor, and the base of every error a user can cause.

    AssetlineError
    |-- StorageError      the environment failed; `retryable` says whether trying again can help
    |-- ConflictError     somebody else was first
    |-- NotFoundError     (also LookupError) the named thing does not exist
    `-- FormatError       (also TypeError) a value cannot be stored, or stored data cannot be read, as asked

The upper floors add theirs in `assets_core.errors`, which also exports these.
"""


class AssetlineError(Exception):
    """Something a user can understand and mend: what happened, why, what to do, what was left.

    Attributes:
        code: Stable kebab-case name of the precise case; append-only.
        what: One sentence that names the thing and stands alone.
        why: The values that decided it; empty when `what` says it all.
        do: The next command or edit.
        left: State left on disk or in storage; empty when there is none.
    """

    def __init__(self, code: str, what: str, *, why: str = "", do: str, left: str = "") -> None:
        super().__init__(code, what, why, do, left)
        self.code = code
        self.what = what
        self.why = why
        self.do = do
        self.left = left

    def __str__(self) -> str:
        lines = [f"{type(self).__name__}[{self.code}]: {self.what}"]
        lines += [
            f"  {label + ':':<6}{text}"
            for label, text in (("why", self.why), ("do", self.do), ("left", self.left))
            if text
        ]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[AssetlineError], state: dict[str, object]) -> AssetlineError:
    """Restore an error that crossed a process border, whatever its constructor takes."""
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = tuple(state[name] for name in ("code", "what", "why", "do", "left"))
    return error


class StorageError(AssetlineError):
    """The storage failed or cannot be trusted."""

    def __init__(
        self, code: str, what: str, *, why: str = "", do: str, left: str = "", retryable: bool = False
    ) -> None:
        super().__init__(code, what, why=why, do=do, left=left)
        self.retryable = retryable


class ConflictError(AssetlineError):
    """Somebody else was first; plan again."""


class NotFoundError(AssetlineError, LookupError):
    """The named thing does not exist."""


class FormatError(AssetlineError, TypeError):
    """A value cannot be stored, or stored data cannot be read, in the way that was asked for."""
