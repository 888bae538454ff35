"""From a TOML file and the environment to a frozen `Config`, or to one message that says what to change.

A section that is there starts that front end, ours or one that somebody else's package brought. Keys that nobody knows
are mistakes, not decoration. Environment variables named FINGERTRIO_SECTION__KEY override the file; a mistyped one is
an unknown key like any other. The backend's own options stay a plain table here; its own model
(`fingertrio.config.plugins`) checks them where a server shall run, so that all mistakes are told at once, and again
when it is opened. What can be written in each section stands in `fingertrio.config.sections`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fingertrio.config.errors import ConfigError, mistake, report
from fingertrio.config.options import OptionsError
from fingertrio.config.plugins import (
    backend_names,
    find_backend,
    find_frontends,
    frontend_names,
    unknown_backend,
)
from fingertrio.config.sections import (
    AdminSection,
    BackendSection,
    FingerSection,
    HttpSection,
    IrcSection,
    LimitsSection,
    LogSection,
    ProcessSection,
    Section,
    ServiceSection,
    SetterSection,
)

_PREFIX = "FINGERTRIO_"


class Config(Section):
    """The whole configuration. Front ends that are not ours have their options in further attributes, by section."""

    model_config = ConfigDict(extra="allow")

    backend: BackendSection
    service: ServiceSection = ServiceSection()
    log: LogSection = LogSection()
    limits: LimitsSection = LimitsSection()
    process: ProcessSection = ProcessSection()
    finger: FingerSection | None = None
    setter: SetterSection | None = None
    http: HttpSection | None = None
    irc: IrcSection | None = None
    admin: AdminSection | None = None

    @property
    def doors(self) -> dict[str, Any]:
        """The sections that open a door, by name, in the order in which they are opened and shown."""
        names = [*(name for name in type(self).model_fields if name not in _NO_DOORS), *(self.model_extra or ())]
        return {name: section for name in names if (section := getattr(self, name)) is not None}


_NO_DOORS = frozenset({"backend", "service", "log", "limits", "process"})

# What `python -m fingertrio` runs without a file. conf/fingertrio.toml says the same, with comments; a test compares.
DEFAULT: Mapping[str, Any] = {
    "backend": {"use": "sqlite"},  # its file lies under the user's state directory; the checkout's file says var/
    "process": {"run_as_root": True},  # on loopback, for a first look; a server has a user of its own
    "finger": {"listen": ["127.0.0.1:7979"]},
    "setter": {"listen": ["127.0.0.1:1079"]},
    "http": {"listen": ["127.0.0.1:8000"]},
}


def load_config(path: Path | None = None, environ: Mapping[str, str] = os.environ, *, to_serve: bool = False) -> Config:
    """Read `path` (None: the built-in default) and the environment.

    Args:
        path: the file.
        environ: the environment.
        to_serve: whether a server shall run from it: then a door must be there, and the backend's own options are
            checked, too. Who administers a database needs neither.

    Raises:
        ConfigError: with every mistake there is, not only the first.
    """
    table = dict(DEFAULT) if path is None else _read(path)
    from_environment = _override(table, environ)
    doors = table.keys() - _NO_DOORS  # mistyped ones included: those are told already
    others, mistakes = _take_others(table)
    try:
        config = Config.model_validate(table | others)
    except ValidationError as error:
        mistakes += [_explain(entry["loc"], entry["msg"], entry["type"]) for entry in error.errors()]
    if to_serve:
        mistakes += _mistakes_in_backend(table.get("backend"))
        if not doors:
            sections = [f"[{name}]" for name in Config.model_fields if name not in _NO_DOORS]
            mistakes.append(f"no section opens a door: add {', '.join(sections[:-1])} or {sections[-1]}")
    if mistakes:
        raise ConfigError(report(_source(path, from_environment), mistakes))
    return config


def _take_others(table: dict[str, Any]) -> tuple[dict[str, object], list[str]]:
    """Take what is not ours out of `table`: the options of installed front ends, by section, and all mistakes in it."""
    names = sorted(table.keys() - Config.model_fields)
    if not names:  # as most often, and then nobody need look at what is installed
        return {}, []
    installed = frontend_names()
    others: dict[str, object] = {}
    mistakes: list[str] = []
    for name in names:
        section = table.pop(name)
        if name not in installed:
            kind = "unknown_section" if isinstance(section, dict) else "extra_forbidden"
            mistakes.append(mistake((name,), "", kind, sorted({*Config.model_fields, *installed})))
            continue
        try:
            others[name] = find_frontends([name], f"[{name}]")[name].validate(section, name)
        except OptionsError as error:
            mistakes += error.mistakes
        except ConfigError as error:
            mistakes.append(str(error))
    return others, mistakes


def _mistakes_in_backend(table: object) -> Sequence[str]:
    """What the backend itself finds wrong with its section; whether that names a backend at all is told elsewhere."""
    if not isinstance(table, dict) or not isinstance(name := table.get("use"), str):
        return []
    if name not in backend_names():
        return [unknown_backend(name)]
    try:
        find_backend(name, "[backend]").validate({key: table[key] for key in table if key != "use"}, "backend")
    except OptionsError as error:
        return error.mistakes
    except ConfigError as error:
        return [str(error)]
    return []


def _source(path: Path | None, variables: Sequence[str]) -> str:
    parts = [str(path) if path is not None else "the built-in configuration", *variables]
    return " with ".join([parts[0], ", ".join(parts[1:])]) if variables else parts[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {str(error)[0].lower()}{str(error)[1:]}") from None


def _override(table: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Put FINGERTRIO_SECTION__KEY variables into the table; give back their names."""
    used = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(_PREFIX):
            continue
        section, separator, key = variable.removeprefix(_PREFIX).lower().partition("__")
        known = [*Config.model_fields, *(() if section in Config.model_fields else frontend_names())]
        if not separator or not key or section not in known:
            sections = ", ".join(name.upper() for name in dict.fromkeys(known))
            raise ConfigError(
                f"environment variable {variable}: expected FINGERTRIO_SECTION__KEY, with a section of {sections}"
            )
        target = table[section] = dict(table.get(section) or {})
        *parents, last = key.split("__")
        for parent in parents:
            target[parent] = dict(target.get(parent) or {})
            target = target[parent]
        target[last] = _value(text)
        used.append(variable)
    return used


def _value(text: str) -> object:
    """A variable's text as TOML reads it; what is not TOML is a string, so that nobody has to quote twice."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(place: tuple[int | str, ...], message: str, kind: str) -> str:
    known: list[str] = []
    section = Config.model_fields[str(place[0])].annotation
    for candidate in (section, *getattr(section, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            known = list(candidate.model_fields)
    return mistake(place, message, kind, known)
