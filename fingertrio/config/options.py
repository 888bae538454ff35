"""From a table in TOML to a plug-in's options, and what can be written in that table.

The author of a plug-in gives a type, a dataclass or a pydantic model, and pydantic does the rest, with one difference:
in TOML a number is a number. Authors write `int`, for which pydantic would take "7", true and 7.0, too; here these are
mistakes, however deep within tables and arrays they stand. Everything else is converted, since TOML has no paths, no
tuples and no addresses: an author who wants "7" to be a number says so by a validator of his own.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import SchemaValidator

from fingertrio.config.errors import explain
from fingertrio.net.address import Address

# The types that TOML and Python both have, as pydantic calls them. Strings are not among them: pydantic takes nothing
# else for a string that TOML has, but much that TOML writes as one for other types.
_SCALARS = frozenset({"int", "float", "bool"})

# What stands in a schema and is none of its parts.
_VALUES = frozenset({"default", "metadata"})


class OptionsError(Exception):
    """A plug-in's table has mistakes, told a line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be written in a plug-in's table."""

    name: str
    kind: str
    default: str | None  # None: it must be given
    description: str


def is_options_type(found: object) -> bool:
    """Whether a plug-in's options can be of this type."""
    return isinstance(found, type) and (dataclasses.is_dataclass(found) or issubclass(found, BaseModel))


def validate(options_type: type[Any], table: object, section: str) -> object:
    """The options that `table` says.

    Args:
        options_type: a dataclass or a pydantic model.
        table: what is written in `section`, for the plug-in alone.
        section: as messages name it.

    Raises:
        OptionsError: with all mistakes.
    """
    try:
        return _validator(options_type).validate_python(dict(table) if isinstance(table, Mapping) else table)
    except ValidationError as error:
        raise OptionsError(explain(section, error, [option.name for option in describe(options_type)])) from None


def describe(options_type: type[Any]) -> list[Option]:
    """What can be written in the table of options of this type."""
    if issubclass(options_type, BaseModel):
        return [
            Option(
                name,
                _kind(field.annotation),
                None if field.is_required() else _default(field.get_default(call_default_factory=True)),
                field.description or "",
            )
            for name, field in options_type.model_fields.items()
        ]
    hints = typing.get_type_hints(options_type)
    found = []
    for field in dataclasses.fields(options_type):
        default: str | None = None
        if field.default is not dataclasses.MISSING:
            default = _default(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = _default(field.default_factory())
        found.append(Option(field.name, _kind(hints[field.name]), default, field.metadata.get("description", "")))
    return found


def _validator(options_type: type[Any]) -> SchemaValidator:
    if not issubclass(options_type, BaseModel):
        # A subclass of the author's dataclass that checks; what he wrote stays as he wrote it.
        options_type = pydantic_dataclass(
            options_type, config=ConfigDict(extra="forbid"), frozen=options_type.__dataclass_params__.frozen
        )
    adapter = TypeAdapter(options_type)
    adapter.rebuild()  # whose author put it off
    schema = _strict(adapter.core_schema)
    try:
        # Models within would otherwise be checked as they were built, which is not strictly.
        return SchemaValidator(schema, _use_prebuilt=False)
    except TypeError:  # a pydantic that does not let one say so: what stands within models is checked as it pleases
        return SchemaValidator(schema)


def _strict(schema: Any) -> Any:
    """A core schema of pydantic's in which numbers and booleans are taken from nothing else."""
    if type(schema) is dict:
        kind = schema.get("type")
        if not isinstance(kind, str):  # by the names of fields, of which one may be called "type"
            return {name: _strict(part) for name, part in schema.items()}
        parts = {key: part if key in _VALUES else _strict(part) for key, part in schema.items()}
        return {**parts, "strict": True} if kind in _SCALARS else parts
    if type(schema) in {list, tuple}:
        return type(schema)(map(_strict, schema))
    return schema


_WORDS: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
    Address: "string",
    datetime: "date and time",
    type(None): "nothing",
}


def _kind(annotation: object) -> str:
    """A type in the words of TOML: "array of strings" rather than what Python calls it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " or ".join(json.dumps(argument) for argument in arguments)
    if origin in {Union, UnionType}:
        kinds = [_kind(argument) for argument in arguments if argument is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin is not None and issubclass(origin, Mapping):
        return f"table of {_plural(arguments[-1])}"
    if origin is not None and issubclass(origin, Sequence | AbstractSet):
        return f"array of {_plural(arguments[0])}"
    is_table = isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation) or issubclass(annotation, Mapping | BaseModel)
    )
    return _WORDS.get(annotation, "table" if is_table else "string")  # URLs and networks are written as strings


def _plural(annotation: object) -> str:
    kind = _kind(annotation)
    return kind if " or " in kind else f"{kind}s"


def _default(value: object) -> str:
    if value is None:
        return "none"
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return str(value)
