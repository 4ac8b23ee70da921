"""Configuration of assets for a run: from text to the validated models that functions take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from assets_core.errors import ConfigError
from assets_core.project.config import resolve_secrets

if TYPE_CHECKING:
    from assets_core.project.project import Project


def validate_run_config(project: Project, raw: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    """The configuration of every asset that takes one, as instances of its model.

    Args:
        project: The definitions.
        raw: Values by asset key, secret references still in place.

    Raises:
        ConfigError: `run-config-bad` when a value does not fit the model, `run-config-unknown-asset` when a key names
            no asset that takes configuration.
    """
    takers = {
        key: asset.config_model for key, asset in project.assets.items() if asset.config_model is not None
    }
    for key in raw:
        if key not in takers:
            raise ConfigError(
                "run-config-unknown-asset",
                f"configuration is given for {key!r}, which takes none.",
                why=f"assets that take configuration: {', '.join(takers) or 'none'}.",
                do="correct the key, or add a parameter `config: SomeModel` to the asset's function.",
            )
    return {key: _validate(key, model, raw.get(key, {})) for key, model in takers.items()}


def _validate(key: str, model: type, values: Mapping[str, object]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    known = set(getattr(model, "model_fields", None) or getattr(model, "__dataclass_fields__", {}))
    unknown = sorted(set(values) - known) if known else []
    problems = [f"{name}: no such field; the fields are {', '.join(sorted(known))}" for name in unknown]
    if not problems:
        try:
            return TypeAdapter(model).validate_python(resolve_secrets(dict(values)))
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg']}"
                for item in error.errors(include_input=False, include_url=False)
            ]
    raise ConfigError(
        "run-config-bad",
        f"the configuration of {key} does not fit {model.__name__}.",
        why="; ".join(problems) + ".",
        do=f'correct [config."{key}"] or --config {key}.FIELD=VALUE.',
    )
