"""The log lines of a query and of a write. Written by hand because they are many: `json.dumps` costs five times as
much, and structlog ten times.

A formatter returns a complete line with its line end. It escapes `asked`; `peer` is already printable ASCII without
quotes or backslashes that were not escaped (`logs.peer_formatter`). Door and outcome are our own words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from fingertrio.observe.logs import VALUE_LIMIT, quote
from fingertrio.wire.text import escape

# stamp, door, peer, asked, outcome, seconds, bytes of the answer
QueryFormatter = Callable[[str, str, str, str, str, float, int], str]


def format_json(stamp: str, door: str, peer: str, asked: str, outcome: str, seconds: float, size: int) -> str:
    """One JSON object, in ASCII."""
    return (
        f'{{"event": "query", "door": "{door}", "peer": {quote(peer)}, "asked": {quote(_escaped(asked))}, '
        f'"outcome": "{outcome}", "ms": {seconds * 1000:.3f}, "bytes": {size}, "level": "info", '
        f'"timestamp": "{stamp}"}}\n'
    )


def format_text(stamp: str, door: str, peer: str, asked: str, outcome: str, seconds: float, size: int) -> str:
    """One line for people."""
    return f'{stamp} {door:<7} {peer} "{_escaped(asked)}" {outcome} {seconds * 1000:.2f} ms {size} B\n'


def format_event(stamp: str, event: str, fields: Mapping[str, object]) -> str:
    """An event with its fields, as `observer.info` writes it: one JSON object, in ASCII. `event` is our own word."""
    values = "".join([f'"{key}": {_json(value)}, ' for key, value in fields.items()])
    return f'{{{values}"event": "{event}", "level": "info", "timestamp": "{stamp}"}}\n'


def _json(value: object) -> str:
    if isinstance(value, str):
        return quote(value if value.isprintable() else escape(value, VALUE_LIMIT))
    return "null" if value is None else json.dumps(value)


def json_stamp(second: int) -> str:
    """UTC, as RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def text_stamp(second: int) -> str:
    """Local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(second))


def _escaped(asked: str) -> str:
    if not (asked.isascii() and asked.isprintable()) or "\\" in asked or '"' in asked:
        return escape(asked)
    return asked
