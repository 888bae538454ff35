"""Every key of a configuration with its value and where that comes from, for people: `fingertrio config`.

A value that is set is shown as it was written, a default as the model has it. Secrets are hidden (`config.secrets`). A
table within a section is a section of its own, "irc.networks.libera", and so is each of an array of tables.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from fingertrio.config.config import Config
from fingertrio.config.lines import Path, locate
from fingertrio.config.options import list_options, table_type
from fingertrio.config.plugins import find_backend, find_frontends
from fingertrio.config.secrets import hide
from fingertrio.config.table import DOOR_ORDER, FIXED_SECTIONS, Table

_Known = dict[str, tuple[Any, bool]]  # by key, its default, and whether its value is a secret


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        kind: the model's default, the built-in configuration, the file, or a variable of the environment.
        line: in the file.
        variable: its name.
    """

    kind: Literal["default", "built-in", "file", "environment"]
    line: int | None = None
    variable: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """One key.

    Attributes:
        section: "finger", "irc.networks.libera".
        name: of the key.
        value: in TOML's types, without secrets; None: nothing, which TOML cannot express.
        origin: where it comes from.
        number: of the table in its array, if the section is one of an array.
    """

    section: str
    name: str
    value: Any
    origin: Origin
    number: int | None = None


def settings(table: Table) -> list[Setting]:
    """Every key of every section, the sections in the order in which they are usually written.

    Args:
        table: a valid configuration; a section that is absent opens no door, and has no keys here.
    """
    origins = _Origins(table)
    doors = [name for name in DOOR_ORDER if name in table.sections]
    doors += sorted(table.sections.keys() - {*FIXED_SECTIONS, *doors})
    found: list[Setting] = []
    for name in ("backend", *doors, *(name for name in FIXED_SECTIONS if name != "backend")):
        content = table.sections.get(name, {})
        known = _defaults(name, content)
        # A section that is an array of tables, such as [[webhook]], has the keys of its type in each of them.
        parts: list[tuple[Path, Mapping[str, Any]]] = [((name,), content)]
        if isinstance(content, list):
            parts = [((name, number), each) for number, each in enumerate(content)]
        for path, each in parts:
            found += _flat(path, _merged(known, each), each, origins, _secret(known))
    return found


def _merged(known: _Known, content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: default for key, (default, _) in known.items()} | dict(content)


def _secret(known: _Known) -> set[str]:
    return {key for key, (_, is_secret) in known.items() if is_secret}


class _Origins:
    def __init__(self, table: Table) -> None:
        self._variables: Mapping[tuple[Any, ...], str] = table.variables
        self._lines = locate(table.text)
        self._built_in = table.path is None

    def of(self, path: Path) -> Origin:
        """Of a key that is set: the longest part of its path that a variable or a line names."""
        for length in range(len(path), 0, -1):
            part = path[:length]
            if part in self._variables:
                return Origin("environment", variable=self._variables[part])
            if part in self._lines:
                return Origin("file", line=self._lines[part])
        return Origin("built-in" if self._built_in else "file")


def _flat(
    path: Path, values: Mapping[str, Any], content: Mapping[str, Any], origins: _Origins, secret: set[str]
) -> Iterator[Setting]:
    """The keys of one section, then those of the tables in it."""
    tables: list[tuple[Path, Mapping[str, Any]]] = []
    section = ".".join(part for part in path if isinstance(part, str))
    number = path[-1] if isinstance(path[-1], int) else None
    for key, value in values.items():
        if key not in content:
            yield Setting(section, key, hide(value, (*path, key), secret=key in secret), Origin("default"), number)
        elif isinstance(value, Mapping) and value and path != ("presets",):
            tables.append(((*path, key), value))
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value) and key != "listen":
            tables += [((*path, key, index), each) for index, each in enumerate(value)]
        else:
            shown = hide(value, (*path, key), secret=key in secret)
            yield Setting(section, key, shown, origins.of((*path, key)), number)
    for place, each in tables:
        known = _of_layer(each) if place[:2] == ("backend", "layers") else {}
        yield from _flat(place, _merged(known, each), each, origins, _secret(known))


def _of_layer(content: Mapping[str, Any]) -> _Known:
    return {"use": (None, False), **_of_type(find_backend(content["use"]).options_type)} if "use" in content else {}


def _defaults(name: str, content: Mapping[str, Any]) -> _Known:
    """The default of each key of a section, and whether its value is a secret."""
    if name == "backend":
        return _of_layer(content)
    if name in FIXED_SECTIONS:
        return _of_type(typing.get_type_hints(Config)[name])
    return _of_type(find_frontends([name])[name].options_type)


def _of_type(options_type: type[Any]) -> _Known:
    secret = _secret_fields(options_type)
    found = {}
    for option in list_options(options_type):
        try:
            default = None if option.default in {None, "none"} else json.loads(option.default or "")
        except ValueError:
            default = option.default
        found[option.name] = (default, option.name in secret)
    return found


def _secret_fields(options_type: type[Any]) -> set[str]:
    """The fields that their author keeps out of `repr`, or whose type does."""
    fields: Sequence[Any]
    options_type = table_type(options_type)
    if issubclass(options_type, BaseModel):
        items = options_type.model_fields.items()
        return {field.alias or name for name, field in items if not field.repr or "Secret" in str(field.annotation)}
    fields = dataclasses.fields(options_type)
    return {field.name for field in fields if not field.repr or "Secret" in str(field.type)}
