"""Values as TOML. The standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: Any) -> str:
    """A value on one line. What TOML has no type for becomes a string."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            return "{ " + ", ".join(f"{toml_key(name)} = {toml_value(each)}" for name, each in value.items()) + " }"
        case Sequence() if not isinstance(value, str):
            return "[" + ", ".join(map(toml_value, value)) + "]"
    # JSON and TOML write strings alike, but for DEL, which TOML wants escaped. A terminal wants others escaped, too.
    text = json.dumps(str(value), ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def toml_key(name: object) -> str:
    """A key, quoted where it has to be."""
    return str(name) if _BARE.fullmatch(str(name)) else toml_value(str(name))
