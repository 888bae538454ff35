"""Backends and front ends by name. Ours are found the way everybody else's are: by their entry-point group.

An entry point names a function whose first argument, its options, is annotated with a dataclass or a pydantic model.
The annotation is all that is needed to check a TOML table and to tell people what can be written there. A backend's
function is an async context manager (`fingertrio.backend`); a front end's takes a second argument, its door
(`fingertrio.frontend`).
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from fingertrio.backend import Backend
from fingertrio.mistakes import ConfigError, explain, mistake
from fingertrio.net.address import Address

BACKENDS = "fingertrio.backends"
FRONTENDS = "fingertrio.frontends"

OpenBackend = Callable[[Any], AbstractAsyncContextManager[Backend]]
OpenFrontend = Callable[[Any, Any], Any]  # options and a `frontend.Door`; gives a `frontend.Frontend`

Open = TypeVar("Open", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be written in a plug-in's table."""

    name: str
    kind: str
    default: str | None  # None: it must be given
    description: str


@dataclass(frozen=True, slots=True)
class Plugin(Generic[Open]):
    """What is installed under one name: what opens it, the type of its options, and who brought it."""

    noun: str
    name: str
    open: Open
    options_type: type[Any]
    package: str

    def validate(self, table: object, section: str) -> object:
        """The options as the plug-in takes them.

        Args:
            table: what is written in `section`, for the plug-in alone.
            section: as messages name it.

        Raises:
            OptionsError: with all mistakes.
        """
        wrong = self._wrong_scalars(table) if isinstance(table, Mapping) else {}
        mistakes = [mistake((section, name), "", kind, ()) for name, kind in wrong.items()]
        try:
            options = self._adapter().validate_python(dict(table) if isinstance(table, Mapping) else table)
        except ValidationError as error:
            mistakes += explain(section, error, [option.name for option in self.options()], told=wrong)
        if mistakes:
            raise OptionsError(mistakes)
        return options

    def check_options(self, table: object, source: str, section: str = "backend") -> object:
        """As `validate`, with one message for all mistakes.

        Raises:
            ConfigError: `source` names the file.
        """
        try:
            return self.validate(table, section)
        except OptionsError as error:
            raise ConfigError(f"{source}: the {self.name} {self.noun}: {error}") from None

    def summary(self) -> str:
        """The first sentence of the opening function's docstring, or of its options'."""
        text = inspect.getdoc(self.open) or inspect.getdoc(self.options_type) or ""
        return " ".join(text.split("\n\n")[0].split())

    def options(self) -> list[Option]:
        """What can be written in its table."""
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

    def _wrong_scalars(self, table: Mapping[str, object]) -> dict[str, str]:
        """Options that are of another type in TOML than their author's, as pydantic's errors, by name.

        Authors write `int`, and pydantic would take "7" or true for one.
        """
        allowed = {option.name: _SCALARS[option.kind] for option in self.options() if option.kind in _SCALARS}
        return {
            name: allowed[name][0]
            for name, value in table.items()
            if name in allowed and isinstance(value, str | bool | int | float) and type(value) not in allowed[name][1]
        }

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


BackendPlugin = Plugin[OpenBackend]
FrontendPlugin = Plugin[OpenFrontend]


class OptionsError(Exception):
    """A plug-in's table has mistakes, told a line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the two kinds of plug-ins: what messages call it, and what its entry points must name."""

    noun: str
    arguments: int
    expected: str


_KINDS = {
    BACKENDS: _Kind("backend", 1, "an async context manager function with one annotated argument, its options"),
    FRONTENDS: _Kind("front end", 2, "a function of two arguments, its options, which are annotated, and its door"),
}


def backend_names() -> list[str]:
    """The names of all backends that are installed, sorted; none of them is imported."""
    return _names(BACKENDS)


def frontend_names() -> list[str]:
    """The names of all front ends that are installed, sorted; none of them is imported."""
    return _names(FRONTENDS)


def find_backend(name: str, source: str = "configuration", section: str = "backend") -> BackendPlugin:
    """Import the backend of this name, which is written in `section` of `source`.

    Raises:
        ConfigError: there is none, or it cannot be imported, or it is not made as the contract says.
    """
    for point in _points(BACKENDS).select(name=name):
        return _load(point, source)
    raise ConfigError(f"{source}: {unknown_backend(name, section)}")


def unknown_backend(name: str, section: str = "backend") -> str:
    """The mistake of a backend's name that nothing is installed under."""
    return f'[{section}] use: no backend "{name}"; {_instead(backend_names())}'


def find_frontends(names: Iterable[str], source: str = "configuration") -> dict[str, FrontendPlugin]:
    """Import the front ends of these sections, in one look at what is installed.

    Raises:
        ConfigError: as `find_backend`.
    """
    points = {point.name: point for point in _points(FRONTENDS)}
    found = {}
    for name in names:
        if name not in points:
            raise ConfigError(f"{source}: [{name}]: no such front end; {_instead(sorted(points))}")
        found[name] = _load(points[name], source)
    return found


def _instead(names: Sequence[str]) -> str:
    # Ours are always among them, unless what is installed says nothing of them: an update of an editable checkout, as
    # of an unpacked archive, renews the code but not its entry points.
    if names:
        return f"installed are: {', '.join(names)}"
    return "none is installed: this installation is older than its code: install it again"


def installed_backends() -> Sequence[BackendPlugin | ConfigError]:
    """Every backend that is installed, imported; for those that cannot be, why."""
    return _installed(BACKENDS)


def installed_frontends() -> Sequence[FrontendPlugin | ConfigError]:
    """Every front end that is installed, imported; for those that cannot be, why."""
    return _installed(FRONTENDS)


def _points(group: str) -> EntryPoints:
    return _look(group, tuple(sys.path))


@cache
def _look(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """What is installed. Looked at once: it takes milliseconds, and without privileges it may be out of reach."""
    return entry_points(group=group)


def _names(group: str) -> list[str]:
    return sorted(_points(group).names)


def _installed(group: str) -> list[Plugin[Any] | ConfigError]:
    found: list[Plugin[Any] | ConfigError] = []
    for point in sorted(_points(group), key=lambda point: point.name):
        try:
            found.append(_load(point, point.name))
        except ConfigError as error:
            found.append(error)
    return found


def _load(point: EntryPoint, source: str) -> Plugin[Any]:
    package = point.dist.name if point.dist is not None else "?"
    kind = _KINDS[point.group]
    try:
        opener = point.load()
        signature = inspect.signature(opener)
        signature.bind(*[None] * kind.arguments)
        options_type = typing.get_type_hints(inspect.unwrap(opener))[next(iter(signature.parameters))]
    except ImportError as error:
        remedy = (
            f'; pip install "{package}[{point.name}]" may bring it' if isinstance(error, ModuleNotFoundError) else ""
        )
        raise ConfigError(f"{source}: the {point.name} {kind.noun} cannot be imported: {error}{remedy}") from error
    except (AttributeError, TypeError, StopIteration, KeyError, NameError) as error:
        raise ConfigError(
            f"{source}: {point.value} ({package}) is no {kind.noun}: expected {kind.expected}: {error}"
        ) from error
    if not (
        isinstance(options_type, type)
        and (dataclasses.is_dataclass(options_type) or issubclass(options_type, BaseModel))
    ):
        raise ConfigError(
            f"{source}: the options of {point.value} ({package}) are neither a dataclass nor a pydantic model"
        )
    return Plugin(kind.noun, point.name, opener, options_type, package)


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

_SCALARS: Mapping[str, tuple[str, frozenset[type]]] = {
    "boolean": ("bool_type", frozenset({bool})),
    "integer": ("int_type", frozenset({int})),
    "number": ("float_type", frozenset({int, float})),
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
