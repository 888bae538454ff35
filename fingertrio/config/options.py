"""Validates a plug-in's TOML table, and lists the options that the table can have.

The author of a plug-in gives a type, a dataclass or a pydantic model, and pydantic validates against it. One rule is
stricter than pydantic's default: numbers and booleans are not converted. For a field of type `int` pydantic would also
accept "7", true and 7.0; here these are errors, at any depth of tables and arrays. Everything else is converted, since
TOML has no paths, tuples or addresses. A field that accepts "7" as a number needs a validator of its own.
A validator may be called twice: the check for converted numbers is a validation of its own.
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
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fingertrio.config.errors import explain
from fingertrio.net.address import Address
from fingertrio.wire.http_url import HTTPURL

T = TypeVar("T")

# What pydantic calls the errors of a value that strict mode does not convert to a number or a boolean.
_SCALAR_ERRORS = frozenset({"int_type", "int_from_float", "float_type", "bool_type"})


class OptionsError(Exception):
    """A table has mistakes; each is one line of `mistakes`."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Option:
    """One key of a table."""

    name: str
    kind: str
    default: str | None  # None: required
    description: str


def is_options_type(found: object) -> bool:
    """Whether a plug-in's options can be of this type."""
    return isinstance(found, type) and (dataclasses.is_dataclass(found) or issubclass(found, BaseModel))


def validate(options_type: type[T], table: object, section: str) -> T:
    """The options in `table`.

    Args:
        options_type: a dataclass or a pydantic model.
        table: the content of `section`.
        section: its name in messages.

    Raises:
        OptionsError: with all mistakes.
    """
    adapter = _adapter(options_type)
    options: T | None = None
    errors: list[ErrorDetails] = []
    try:
        options = adapter.validate_python(dict(table) if isinstance(table, Mapping) else table)
    except ValidationError as error:
        errors = error.errors()
    known_places = {error["loc"] for error in errors}
    errors += [error for error in _scalar_errors(adapter, table) if error["loc"] not in known_places]
    if errors or options is None:
        raise OptionsError(explain(section, errors, [option.name for option in list_options(options_type)]))
    return options


def _scalar_errors(adapter: TypeAdapter[Any], table: object) -> list[ErrorDetails]:
    """The places where a number or a boolean would have been converted from something else.

    Strict mode reaches into nested models and dataclasses only when validating JSON. Its other errors do not count:
    strict mode also rejects the arrays and strings that TOML uses for types that it lacks.
    """
    try:
        adapter.validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        return [entry for entry in error.errors() if entry["type"] in _SCALAR_ERRORS]
    return []


def table_type(options_type: type[Any]) -> type[Any]:
    """The type of one table: of an array of tables, that of each."""
    if not issubclass(options_type, RootModel):
        return options_type
    found: type[Any] = typing.get_args(options_type.model_fields["root"].annotation)[0]
    return found


def list_options(options_type: type[Any]) -> list[Option]:
    """The keys of a table for this type; of a type for an array of tables, those of each table."""
    options_type = table_type(options_type)
    if issubclass(options_type, BaseModel):
        return [
            Option(
                field.alias or name,
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


def _adapter(options_type: type[Any]) -> TypeAdapter[Any]:
    if not issubclass(options_type, BaseModel):
        # A subclass that rejects unknown keys; the author's dataclass stays unchanged.
        attributes = {"__pydantic_config__": ConfigDict(extra="forbid"), "__module__": options_type.__module__}
        options_type = type(options_type.__name__, (options_type,), attributes)
    return TypeAdapter(options_type)


_WORDS: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
    Address: "string",
    HTTPURL: "string",
    datetime: "date and time",
    type(None): "nothing",
}


def _kind(annotation: object) -> str:
    """A type in TOML's terms, such as "array of strings"."""
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
