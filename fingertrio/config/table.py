"""Reads a TOML file and the environment into one table, not validated. The standard library only.

So a command that needs two or three values, such as `fingertrio healthcheck`, starts without the library that
validates. `fingertrio.config.config` turns the table into a `Config`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fingertrio.config.environment import override_entry, to_value
from fingertrio.config.errors import ConfigError

_PREFIX = "FINGERTRIO_"

# Read by commands; they override no key.
CLIENT_VARIABLES = frozenset({"FINGERTRIO_URL", "FINGERTRIO_CONFIG", "FINGERTRIO_TOKEN"})

# The sections that belong to no front end: the attributes of `config.Config`, where a test compares them.
FIXED_SECTIONS = ("backend", "service", "log", "limits", "process", "accounts", "presets", "webfinger")

# The order in which our doors open and are listed; those of other packages follow, by name.
DOOR_ORDER = ("finger", "setter", "http", "irc", "admin")

# Sections that are arrays of tables with names: [[webhook]].
_ARRAYS = frozenset({"webhook"})

# What `python -m fingertrio` runs without a file. conf/fingertrio.toml says the same, with comments; a test compares.
DEFAULT: Mapping[str, Any] = {
    "backend": {"use": "sqlite"},  # the file is in the user's state directory; in a checkout, in var/
    "process": {"run_as_root": True},  # on loopback, for a first look; a server has a user of its own
    "finger": {"listen": ["127.0.0.1:7979"]},
    "setter": {"listen": ["127.0.0.1:1079"]},
    "http": {"listen": ["127.0.0.1:8000"], "trusted_proxies": []},
}

BUILT_IN = "the built-in configuration"  # its name in messages


@dataclass(frozen=True, slots=True)
class Table:
    """The merged table.

    Attributes:
        sections: the tables by name, as TOML has them.
        path: the file; None: the built-in default.
        text: of the file.
        variables: the environment variable that set each key, by the names that lead to it: ("finger", "listen").
    """

    sections: dict[str, Any]
    path: Path | None = None
    text: str = ""
    variables: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Its name for messages: the file and the variables that were used."""
        source = BUILT_IN if self.path is None else str(self.path)
        return f"{source} with {', '.join(self.variables.values())}" if self.variables else source


def load_table(path: Path | None, environ: Mapping[str, str] = os.environ) -> Table:
    """Read `path` (None: the built-in default) and the environment.

    Raises:
        ConfigError: the file cannot be read, is not valid TOML, or a variable names no section.
    """
    sections, text = (dict(DEFAULT), "") if path is None else _read(path)
    return Table(sections, path, text, _override(sections, environ))


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {str(error)[0].lower()}{str(error)[1:]}") from None


def _override(sections: dict[str, Any], environ: Mapping[str, str]) -> dict[tuple[str | int, ...], str]:
    """Put FINGERTRIO_SECTION__KEY variables into the table; return their names by what they set."""
    used: dict[tuple[str | int, ...], str] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(_PREFIX) or variable in CLIENT_VARIABLES:
            continue
        section, separator, key = variable.removeprefix(_PREFIX).lower().partition("__")
        known = dict.fromkeys([*FIXED_SECTIONS, *DOOR_ORDER])
        if section not in known:
            from fingertrio.config.plugins import frontend_names  # noqa: PLC0415 -- only for doors of other packages

            known |= dict.fromkeys(frontend_names())
        is_array = section in _ARRAYS
        if section not in known or not ((separator and key) or (is_array and not separator)):
            names = ", ".join(name.upper() for name in known)
            raise ConfigError(
                f"environment variable {variable}: expected FINGERTRIO_SECTION__KEY, where SECTION is one of {names}"
            )
        if is_array:
            sections[section], part = override_entry(sections.get(section), variable, key, text)
            used[section, *part] = variable
            continue
        target = sections[section] = dict(sections.get(section) or {})
        *parents, last = key.split("__")
        for parent in parents:
            target[parent] = dict(target.get(parent) or {})
            target = target[parent]
        target[last] = to_value(text)
        used[section, *parents, last] = variable
    return used
