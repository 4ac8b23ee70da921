"""Things that steps need and configuration describes: connections, clients, addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import TracebackType
from typing import Any, Self, dataclass_transform, get_type_hints

from assets_core.errors import ConfigError
from io_managers.nearest import nearest_names

__all__ = ["Resource"]


@dataclass_transform(kw_only_default=True)
class Resource:
    """Base of resources: a subclass lists typed fields, like a dataclass, and may open and close something.

        class Warehouse(Resource):
            url: str
            timeout_s: float = 30.0

            def open(self) -> None: ...

    A parameter annotated with the subclass receives an opened instance, configured from
    `[env.X.resources.NAME]`, where NAME is the parameter's name. Fields are keyword-only.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(kw_only=True, repr=False)(cls)

    def open(self) -> None:
        """Called once before the first step of a worker that uses it; does nothing by default."""

    def close(self) -> None:
        """Called when the worker needs it no more, also after a failure; does nothing by default."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # fields may hold secrets

    @classmethod
    def configured(cls, name: str, settings: Mapping[str, object]) -> Self:
        """Make an instance from configuration, not opened yet.

        Args:
            name: NAME in `[env.X.resources.NAME]`.
            settings: Its values with secrets resolved; text is converted to the type of the field.

        Raises:
            ConfigError: `resource-config-bad`: a field is unknown, missing or of another type; values are
                not shown.
        """
        from pydantic import ConfigDict, TypeAdapter, ValidationError

        known = {item.name: item for item in fields(cls) if item.init}  # type: ignore[arg-type]
        problems = [f"{key!r} is no field{_nearest(key, known)}" for key in settings if key not in known]
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for key, item in known.items():
            if key in settings:
                plain = ConfigDict(arbitrary_types_allowed=True) if _takes_config(hints[key]) else None
                try:
                    values[key] = TypeAdapter(hints[key], config=plain).validate_python(settings[key])
                except ValidationError as error:
                    problems += [f"{key!r}: {detail['msg']}" for detail in error.errors(include_input=False)]
            elif item.default is MISSING and item.default_factory is MISSING:
                problems.append(f"{key!r} is missing")
        if problems:
            raise ConfigError(
                "resource-config-bad",
                f"resource {name!r} ({cls.__name__}) is not configured correctly.",
                why="; ".join(problems) + ".",
                do=f"correct [env.NAME.resources.{name}]; its fields are {', '.join(known) or 'none'}.",
            ) from None
        return cls(**values)


def _takes_config(hint: Any) -> bool:
    """Whether pydantic accepts settings for a type: not for its own models and for dataclasses."""
    return (
        not hasattr(hint, "__pydantic_config__")
        and not hasattr(hint, "model_fields")
        and not hasattr(hint, "__dataclass_fields__")
    )


def _nearest(key: str, known: Mapping[str, object]) -> str:
    close = nearest_names(key, known, n=1)
    return f" (nearest: {close[0]!r})" if close else ""
