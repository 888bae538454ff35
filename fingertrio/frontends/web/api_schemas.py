"""JSON schemas of values that have a grammar of their own: places in time, ends of statuses (`wire.when`), addresses.

Not all that fits is accepted: an end may have passed, and RFC 3339 here has no leap seconds.
"""

from __future__ import annotations

from calendar import day_name
from typing import Any

Schema = dict[str, Any]

WORDS: Schema = {"type": "string", "pattern": r"\S"}  # at least one character that can be seen
URI: Schema = {"type": "string", "format": "uri"}
_NOTHING: Schema = {"type": "string", "maxLength": 0}  # an empty value counts as a missing one
_MOMENT: Schema = {"type": "string", "format": "date-time"}
BEFORE: Schema = {"anyOf": [_MOMENT, _NOTHING]}
DURATION: Schema = {
    "type": "string",
    "minLength": 2,
    "pattern": "^([1-9][0-9]{0,3}w)?([1-9][0-9]{0,4}d)?([1-9][0-9]{0,5}h)?([1-9][0-9]{0,6}m)?$",
}
END: Schema = {
    "anyOf": [
        DURATION,
        {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        {"type": "string", "enum": ["today", "tomorrow", *(name.lower() for name in day_name)]},
        {"type": "string", "format": "date"},
        _MOMENT,
    ]
}


def or_null(schema: Schema, description: str) -> Schema:
    """The schema of a member that may be null."""
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}], "description": description, "default": None}
