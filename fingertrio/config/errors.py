"""Error messages for mistakes in a configuration: where each is and what was expected, all in one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Pydantic's error types for a wrong type, and TOML's terms for what was expected.
_EXPECTED = {
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "dict_type": "a table",
    "mapping_type": "a table",
    "tuple_type": "an array",
    "list_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "string_type": "a string",
    "path_type": "a string",
    "bool_type": "a boolean, true or false",
    "bool_parsing": "a boolean, true or false",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
}


class ConfigError(Exception):
    """A mistake in the configuration. The message says how to correct it: file, key, what was expected."""


def report(source: str, mistakes: Sequence[str]) -> str:
    """One message for all mistakes in `source`."""
    if len(mistakes) == 1:
        return f"{source}: {mistakes[0]}"
    return "\n".join([f"{source}: {len(mistakes)} mistakes", *(f"  {mistake}" for mistake in mistakes)])


def explain(section: str, errors: Sequence[ErrorDetails], known: Sequence[str]) -> list[str]:
    """Pydantic's errors about one table, one line each. `known` are the keys that the table can have."""
    return [mistake((section, *error["loc"]), error["msg"], error["type"], known) for error in errors]


def mistake(place: Sequence[int | str], message: str, kind: str, known: Sequence[str]) -> str:
    """One mistake in a line.

    Args:
        place: the section and the keys that lead to the value.
        message: pydantic's message.
        kind: pydantic's error type, or "unknown_section".
        known: the valid names, if a key or a section is unknown.
    """
    section, *rest = (str(part) for part in place)
    where = f"[{section}]"
    if len(place) > 1 and isinstance(place[1], int):  # the section is an array of tables
        where = f"[[{section}]] number {place[1] + 1}"
        rest = rest[1:]
    where += f" {'.'.join(rest)}" if rest else ""
    if kind in {"extra_forbidden", "unexpected_keyword_argument", "unknown_section"}:
        from difflib import get_close_matches  # noqa: PLC0415 -- only for errors

        name = rest[-1] if rest else section
        close = get_close_matches(name, known, 1)
        thing = "section" if kind == "unknown_section" else "key"
        hint = f'did you mean "{close[0]}"?' if close else f"expected one of: {', '.join(sorted(known))}"
        return f"{where}: unknown {thing}; {hint}"
    if kind == "missing":
        return f"{where}: is missing"
    message = _expectation(message, kind)
    return f"{where}: {message[0].lower()}{message[1:]}" if not message.startswith('"') else f"{where}: {message}"


def _expectation(message: str, kind: str) -> str:
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    if kind == "literal_error":
        return message.replace("Input should be", "expected").replace("'", '"')
    number = "a number " if kind.startswith(("greater_than", "less_than")) else ""
    return message.removeprefix("Value error, ").replace("Input should be ", f"expected {number}", 1)
