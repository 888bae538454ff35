"""Backends by name. Ours are found the way everybody else's are: by the entry-point group `fingertrio.backends`.

An entry point names an async context manager function whose one argument, `options`, is annotated with a dataclass or a
pydantic model. The annotation is all that is needed to check a TOML table and to tell people what can be written there.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from fingertrio.backend import Backend
from fingertrio.config import ConfigError, explain

GROUP = "fingertrio.backends"

OpenBackend = Callable[[Any], AbstractAsyncContextManager[Backend]]


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be written in the [backend] table."""

    name: str
    kind: str
    default: str | None  # None: it must be given
    description: str


@dataclass(frozen=True, slots=True)
class BackendPlugin:
    """A backend that is installed: its name, what opens it, the type of its options, and who brought it."""

    name: str
    open: OpenBackend
    options_type: type[Any]
    package: str

    def check_options(self, table: Mapping[str, Any], source: str, section: str = "backend") -> object:
        """The options as the backend takes them.

        Args:
            table: what is written, without what says which backend it is.
            source: of the table, as messages begin: the name of the file.
            section: in which the table stands.

        Raises:
            ConfigError: one message with all mistakes.
        """
        try:
            return self._adapter().validate_python(dict(table))
        except ValidationError as error:
            mistakes = explain(section, error, [option.name for option in self.options()])
            raise ConfigError(f"{source}: the {self.name} backend: " + "; ".join(mistakes)) from None

    def summary(self) -> str:
        """The first sentence of the opening function's docstring, or of its options'."""
        text = inspect.getdoc(self.open) or inspect.getdoc(self.options_type) or ""
        return " ".join(text.split("\n\n")[0].split())

    def options(self) -> list[Option]:
        """What can be written in [backend] beside `use`."""
        if issubclass(self.options_type, BaseModel):
            return [
                Option(
                    name,
                    _kind(field.annotation),
                    None if field.is_required() else _default(field.get_default(call_default_factory=True)),
                    field.description or "",
                )
                for name, field in self.options_type.model_fields.items()
            ]
        hints = typing.get_type_hints(self.options_type)
        found = []
        for field in dataclasses.fields(self.options_type):
            default: str | None = None
            if field.default is not dataclasses.MISSING:
                default = _default(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                default = _default(field.default_factory())
            found.append(Option(field.name, _kind(hints[field.name]), default, field.metadata.get("description", "")))
        return found

    def _adapter(self) -> TypeAdapter[Any]:
        if issubclass(self.options_type, BaseModel):
            return TypeAdapter(self.options_type)
        # A subclass of the author's dataclass that checks; what he wrote stays as he wrote it.
        return TypeAdapter(
            pydantic_dataclass(
                self.options_type,
                config=ConfigDict(extra="forbid"),
                frozen=self.options_type.__dataclass_params__.frozen,
            )
        )


def backend_names() -> list[str]:
    """The names of all backends that are installed, sorted; none of them is imported."""
    return sorted(point.name for point in entry_points(group=GROUP))


def find_backend(name: str, source: str = "configuration", section: str = "backend") -> BackendPlugin:
    """Import the backend of this name, which is written in `section` of `source`.

    Raises:
        ConfigError: there is none, or it cannot be imported, or it is not made as the contract says.
    """
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        installed = ", ".join(backend_names())
        raise ConfigError(f'{source}: [{section}] use: no backend "{name}"; installed are: {installed}')
    return _load(points[0], source)


def installed_backends() -> Sequence[BackendPlugin | ConfigError]:
    """Every backend that is installed, imported; for those that cannot be, why."""
    found: list[BackendPlugin | ConfigError] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found.append(_load(point, point.name))
        except ConfigError as error:
            found.append(error)
    return found


def _load(point: EntryPoint, source: str) -> BackendPlugin:
    package = point.dist.name if point.dist is not None else "?"
    try:
        opener = point.load()
        parameters = list(inspect.signature(opener).parameters.values())
        options_type = typing.get_type_hints(inspect.unwrap(opener))[parameters[0].name]
    except ImportError as error:
        remedy = (
            f'; pip install "{package}[{point.name}]" may bring it' if isinstance(error, ModuleNotFoundError) else ""
        )
        raise ConfigError(f"{source}: the {point.name} backend cannot be imported: {error}{remedy}") from error
    except (AttributeError, TypeError, IndexError, KeyError, NameError) as error:
        raise ConfigError(
            f"{source}: {point.value} ({package}) is no backend: expected an async context manager function "
            f"with one annotated argument, its options: {error}"
        ) from error
    if not (
        isinstance(options_type, type)
        and (dataclasses.is_dataclass(options_type) or issubclass(options_type, BaseModel))
    ):
        raise ConfigError(
            f"{source}: the options of {point.value} ({package}) are neither a dataclass nor a pydantic model"
        )
    return BackendPlugin(point.name, opener, options_type, package)


_WORDS: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Path: "path",
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
        return " or ".join(_kind(argument) for argument in arguments if argument is not type(None))
    if origin is not None and issubclass(origin, Mapping):
        return f"table of {_kind(arguments[-1])}s"
    if origin is not None and issubclass(origin, Sequence | AbstractSet):
        return f"array of {_kind(arguments[0])}s"
    is_table = dataclasses.is_dataclass(annotation) or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )
    # What is no table and has no word is written as a string: a URL, for one.
    return "table" if is_table else _WORDS.get(annotation, "string")


def _default(value: object) -> str:
    if value is None:
        return "none"
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return str(value)
