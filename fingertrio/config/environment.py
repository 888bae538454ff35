"""Values of environment variables that override the configuration file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from fingertrio.config.errors import ConfigError


def to_value(text: str) -> object:
    """A variable's text as a TOML value, or as a string if it is not valid TOML, so that strings need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def override_entry(present: object, variable: str, key: str, text: str) -> tuple[object, tuple[str | int, ...]]:
    """An array of tables with names after one variable, and which part of it the variable set: all, or a key of one.

    Args:
        present: the array so far; None: there is none.
        variable: its name, for messages.
        key: what follows the section in the name of the variable: "", or "team__url" for `url` of the table "team". In
            it, each character of a name other than a letter or a digit is "_". A table that is not there is added.
        text: the value.

    Raises:
        ConfigError: `key` has another form.
    """
    if not key:
        return to_value(text), ()
    name, _, rest = key.partition("__")
    if not rest or "__" in rest:
        raise ConfigError(f"environment variable {variable}: expected FINGERTRIO_SECTION__NAME__KEY")
    if present is not None and not isinstance(present, list):
        return present, ()  # a mistake, which is reported when the section is validated
    entries = list(present or ())
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping) and re.sub("[^a-z0-9]", "_", str(entry.get("name")).lower()) == name:
            entries[number] = {**entry, rest: to_value(text)}
            return entries, (number, rest)
    return [*entries, {"name": name, rest: to_value(text)}], (len(entries), rest)
