"""`Table[Model]`: one pydantic model says which columns a table has, of which types, and what holds for each value.

Nothing here imports pandas or pyarrow before data is at hand.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args, get_origin

from assets_core.definition.contract_columns import ColumnRule, UnknownTypeError, read_columns
from assets_core.errors import DefinitionError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pydantic import BaseModel
    from typing_extensions import TypeAliasType, TypeVar

    from assets_core.definition.check_outcome import CheckOutcome
    from assets_core.definition.signature import SourceLocation

    Model = TypeVar("Model", bound=BaseModel)
    # To a type checker a table is a pandas frame where it is used, and any kind of frame where it is returned.
    Table = TypeAliasType("Table", pd.DataFrame | Any, type_params=(Model,))
else:

    class Table:
        """A table whose rows are described by a pydantic model: `-> Table[Flight]`.

        A function annotated so may return a pandas or polars frame or an Arrow table; as the annotation of a
        parameter it asks for a pandas frame.
        """

        __class_getitem__ = classmethod(types.GenericAlias)


__all__ = ["ColumnRule", "Contract", "Table"]


@dataclass(frozen=True, eq=False)
class Contract:
    """What a model promises about a table. Equal to another with the same columns and rules.

    Attributes:
        model: The pydantic model.
        fields: One rule a column, in the order of the model.
        allows_extra: Whether further columns may be in the table; they are kept, behind those of the model.
        takes_field_names: Whether a column may come by its field's name instead of its alias, and is renamed.
        has_validators: The model has functions of its own that judge values; they run row by row.
        uses_python_patterns: Patterns are Python's, not Rust's.
    """

    model: Any
    fields: tuple[ColumnRule, ...]
    allows_extra: bool = True
    takes_field_names: bool = False
    has_validators: bool = False
    uses_python_patterns: bool = False

    @classmethod
    def from_annotation(cls, annotation: Any, source: SourceLocation | None = None) -> Contract | None:
        """The contract of `Table[Model]`; None for any other annotation.

        Args:
            annotation: A return annotation, resolved.
            source: Where it stands, for errors.

        Raises:
            DefinitionError: `contract-type-unknown` when a field has no column type, `contract-model-bad` when
                what is in the brackets is no pydantic model.
        """
        if get_origin(annotation) is typing.Annotated:
            annotation = annotation.__origin__
        place = f" ({source})" if source is not None else ""
        if annotation is Table:
            raise _bad_model("Table has no model", place)
        if get_origin(annotation) is not Table:
            return None
        model = get_args(annotation)[0]
        if not (isinstance(model, type) and hasattr(model, "model_fields")):
            raise _bad_model(
                f"Table[{getattr(model, '__name__', model)!s}] does not name a pydantic model", place
            )
        try:
            return cls.from_model(model)
        except UnknownTypeError as error:
            text = getattr(error.annotation, "__name__", None) or str(error.annotation)
            raise DefinitionError(
                "contract-type-unknown",
                f"{error.path} is annotated {text}, which is not a type of a column{place}.",
                why=f"{error.why}." if error.why else "",
                do="use bool, int, float, str, bytes, date, time, datetime, timedelta, Decimal, UUID, Literal, Enum, "
                "list[T], dict[str, T] or another model, each possibly | None.",
            ) from error

    @classmethod
    def from_model(cls, model: Any) -> Contract:
        """The contract of a pydantic model.

        Raises:
            UnknownTypeError: A field has no column type.
        """
        fields, has_validators = read_columns(model)
        config = model.model_config
        return cls(
            model,
            fields,
            allows_extra=config.get("extra") != "forbid",
            takes_field_names=bool(config.get("populate_by_name") or config.get("validate_by_name")),
            has_validators=has_validators,
            uses_python_patterns=config.get("regex_engine") == "python-re",
        )

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.model.__name__)

    @cached_property
    def description(self) -> str:
        """Docstring of the model, "" when it has none of its own."""
        return (self.model.__doc__ or "").strip() if "__doc__" in vars(self.model) else ""

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns as published. All are nullable to Arrow: that a value is there is a rule, checked as such."""
        from assets_core.definition.contract_casts import build_schema

        return build_schema(self.fields)

    def conform(self, table: pa.Table) -> tuple[pa.Table, list[CheckOutcome]]:
        """Bring a table into the contract's schema without losing anything.

        Columns come in the order of the model, then the others. Numbers change their width or between whole and
        floating only when every value stays exactly the same; text never becomes a number, a naive time never an
        aware one. Columns that may be absent are added with their default.

        Returns:
            The table, and one failed outcome for each column that is missing, forbidden or cannot be cast; a
            column that cannot be cast is left as it was.
        """
        from assets_core.definition.contract_casts import conform_table

        return conform_table(self, table)

    def to_dict(self) -> dict[str, Any]:
        """Model, description and columns as plain values; stable."""
        return {
            "model": self.name,
            "description": self.description,
            "extra": "allowed" if self.allows_extra else "forbidden",
            "columns": [rule.to_dict() for rule in self.fields],
        }

    @cached_property
    def _schema_text(self) -> str:
        columns = [_without_descriptions(rule.to_dict()) for rule in self.fields]
        lines = [json.dumps(column, ensure_ascii=False, sort_keys=True) for column in columns]
        return "\n".join([*lines, f"extra {'allowed' if self.allows_extra else 'forbidden'}"])

    def schema_text(self) -> str:
        """Columns and rules, one a line, without names of models and descriptions: what enters a code version."""
        return self._schema_text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contract) and self.model is other.model and self.fields == other.fields

    def __hash__(self) -> int:
        return hash((self.model, self.schema_text()))


def _without_descriptions(column: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in column.items() if name != "description"}
    if "children" in kept:
        kept["children"] = [_without_descriptions(child) for child in kept["children"]]
    return kept


def _bad_model(what: str, place: str) -> DefinitionError:
    return DefinitionError(
        "contract-model-bad",
        f"{what}{place}.",
        do="write Table[Model] with a class derived from pydantic.BaseModel.",
    )
