"""Opening the resources of an environment for the steps of one worker."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from assets_core.errors import ConfigError
from assets_core.project.config import resolve_secrets

if TYPE_CHECKING:
    from assets_core.definition.resource import Resource
    from assets_core.project.environment import Environment

R = TypeVar("R", bound="Resource")


def open_resource(environment: Environment, name: str, kind: type[R], stack: ExitStack) -> R:
    """Configure and open one resource; `stack` closes it.

    Raises:
        ConfigError: The environment's settings for it do not fit its fields.
    """
    settings = environment.resources.get(name, {})
    if not isinstance(settings, dict):
        raise ConfigError(
            "resource-config-bad",
            f"[env.{environment.name}.resources.{name}] is not a table.",
            do="write the resource's fields below that heading.",
        )
    resource = kind.configured(name, resolve_secrets(settings))
    stack.enter_context(resource)
    return resource
