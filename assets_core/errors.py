"""Every error of assetline, by what its reader does about it.

AssetlineError
|-- DefinitionError   (also ValueError) fix the project's code
|-- ConfigError       (also ValueError) fix the configuration
|-- SelectionError    (also ValueError) fix the command
|-- NotFoundError     (also LookupError)
|-- PlanError         asked for the impossible
|-- ConflictError     somebody else was first; plan again
|-- StorageError      the environment failed; retryable says whether trying again can help
|-- StateError        the state database failed; it is a cache and can be rebuilt
|-- FormatError       (also TypeError) a value cannot be stored or read as asked
|-- CheckFailedError  the data is wrong
|-- UserCodeError     the asset's function raised
|-- WorkerLostError   the process that ran the step died
|-- PluginError       an entry point is broken
`-- InternalError     our bug
"""

from io_managers.errors import AssetlineError, ConflictError, FormatError, NotFoundError, StorageError

__all__ = [
    "AssetlineError",
    "CheckFailedError",
    "ConfigError",
    "ConflictError",
    "DefinitionError",
    "DefinitionErrors",
    "FormatError",
    "InternalError",
    "NotFoundError",
    "PlanError",
    "PluginError",
    "SelectionError",
    "StateError",
    "StorageError",
    "UserCodeError",
    "WorkerLostError",
]


class DefinitionError(AssetlineError, ValueError):
    """A definition in the project's code is wrong; `why` or `what` names file and line."""


class DefinitionErrors(DefinitionError):  # noqa: N818 - the plural of DefinitionError
    """All definition errors of a project together, so that they are mended in one go.

    Attributes:
        errors: At least two errors, in the order of file and line.
    """

    def __init__(self, errors: "list[DefinitionError]") -> None:
        super().__init__(
            "definitions-invalid",
            f"the project has {len(errors)} definition errors.",
            do="mend each of the errors listed.",
        )
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join([f"{len(self.errors)} definition errors:", *(str(error) for error in self.errors)])


class ConfigError(AssetlineError, ValueError):
    """The configuration is wrong."""


class SelectionError(AssetlineError, ValueError):
    """A selection of assets or partitions cannot be understood or matches nothing."""


class PlanError(AssetlineError):
    """The plan asked for cannot be made."""


class StateError(AssetlineError):
    """The state database cannot be used. It holds no data that `state rebuild` cannot bring back."""


class CheckFailedError(AssetlineError):
    """Data failed its contract or a blocking check and was not published."""


class UserCodeError(AssetlineError):
    """The function of an asset or a check raised; the cause is the original exception."""


class WorkerLostError(AssetlineError):
    """The process that ran a step died, was killed, or ran out of time."""


class PluginError(AssetlineError):
    """An entry point is missing, broken or of the wrong shape."""


class InternalError(AssetlineError):
    """A bug in assetline; please report it."""
