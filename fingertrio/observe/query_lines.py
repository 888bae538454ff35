"""The log line of one query. Written by hand because it is on the express lane: `json.dumps` costs five times as much.

A formatter returns a complete line with its line end. It escapes `asked`; `peer` is already printable ASCII without
quotes or backslashes that were not escaped (`logs.peer_formatter`). Door and outcome are our own words.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fingertrio.observe.logs import quote
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
