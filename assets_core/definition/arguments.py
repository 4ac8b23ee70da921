"""Looking at the arguments of a decorator without raising, so that a project can report it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets_core.definition.partitions.base import PartitionsDefinition
from assets_core.definition.policies import Duration, parse_duration_s
from assets_core.errors import DefinitionError
from io_managers.keys import InvalidKeyError, require_asset_key

__all__ = ["Arguments"]


class Arguments:
    """Looks at the arguments of one decorator; what is wrong with them is kept in `found`, never raised."""

    def __init__(self, subject: str) -> None:
        self.found: list[DefinitionError] = []
        self._subject = subject

    def add(self, code: str, what: str, *, why: str, do: str) -> None:
        """Keep a problem; `what` continues the sentence 'asset KEY (file:line) ...'."""
        self.found.append(DefinitionError(code, f"{self._subject} {what}.", why=why, do=do))

    def key(self, key: str) -> str:
        """The key, whether or not an asset may have it."""
        try:
            return require_asset_key(key)
        except InvalidKeyError as error:
            self.add(
                "key-invalid",
                f"has the key {key[:80]!r}, which no asset may have",
                why=error.why,
                do=error.do,
            )
            return key

    def typed(self, name: str, value: Any, kind: type) -> Any:
        """The value when it is None or of the kind, else None."""
        if value is None or isinstance(value, kind):
            return value
        self.add(
            "argument-bad",
            f"has {name}={value!r:.80}",
            why=f"that is {_article(type(value).__name__)}, not {_article(kind.__name__)}.",
            do=f"give {name}= {_article(kind.__name__)}.",
        )
        return None

    def seconds(self, name: str, value: Duration | None) -> float | None:
        """A duration in seconds; None when there is none or it is none."""
        if value is None:
            return None
        try:
            return parse_duration_s(value)
        except ValueError as error:
            self.add("argument-bad", f"has {name}={value!r:.80}", why=f"{error}.", do=f"write {name}='5m'.")
            return None

    def labels(
        self,
        partitions: PartitionsDefinition | None,
        group: str | None,
        tags: Mapping[str, str] | None,
        owner: str | None,
    ) -> dict[str, Any]:
        """What both kinds of assets have and what only needs a look at its type."""
        tags = self.typed("tags", tags, Mapping) or {}
        return {
            "partitions": self.typed("partitions", partitions, PartitionsDefinition),
            "group": self.typed("group", group, str),
            "tags": {
                name: value for name, value in tags.items() if self.typed(f"tags[{name!r}]", value, str)
            },
            "owner": self.typed("owner", owner, str),
        }


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"
