"""How the application allows a response to be repeated, and what the express lane keeps of it.

The server offers a `Recording` in the scope of each request that the lane could answer next time, as an ASGI extension
(`EXTENSION`). The application calls `replay_while` if the response may be sent again, to anybody who sends the same
request, with the object that says how long; it makes every response that the lane sends.

What is kept are the bytes that h11 wrote. Only Date is written anew.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from math import inf
from typing import Any, Protocol, cast
from wsgiref.handlers import format_date_time

from hypercorn.typing import Scope

from fingertrio.http.limits import UNCOUNTED
from fingertrio.http.plain import PlainRequest

EXTENSION = "fingertrio.replay"

# Bytes of one response that are kept: a list of 10,000 users as JSON takes half of it.
RESPONSE_LIMIT = 1024 * 1024

_DATE = re.compile(rb"\r\ndate: ([^\r]{29})(?=\r\n)", re.IGNORECASE)
_FIELD = re.compile(rb"\r\n([^:\r]+): *([^\r]*)")


class Expiring(Protocol):
    """What a response was made from."""

    @property
    def expires(self) -> float:
        """Trio's time until which it holds. Its maker sets it back when it no longer holds."""
        ...


class _Never:
    expires = -inf


class _Always:
    expires = inf


NEVER: Expiring = _Never()
ALWAYS: Expiring = _Always()


class Kept:
    """A response that may be sent again while `source` holds.

    Attributes:
        note: what the application wants to be told when it was sent again.
        close: whether the connection is closed after it.
        body: the body if it is large, and shared with its other holders; else it is part of the head.
        tag: its entity-tag without W/; empty: none.
        dated: whether it has a Last-Modified.
        cost: bytes that the lane counts for it.
        used: whether it was sent since the lane last looked for what to drop.
        renewed_since: Trio's time since when the application makes its successor; -inf: it does not.
        waiting: called when it is dropped, which is when its successor is here.
    """

    __slots__ = (
        *("_date_at", "_second", "_wire", "body", "close", "cost", "dated", "note", "renewed_since", "source", "tag"),
        *("used", "waiting"),
    )

    def __init__(self, source: Expiring, recording: Recording, date_at: int) -> None:
        fields = recording.fields()
        self.source = source
        self.note = recording.note
        self.close = recording.request.close
        self.tag = fields.get(b"etag", b"").removeprefix(b"W/")
        self.dated = b"last-modified" in fields
        self.cost = 0
        self.used = False
        self.renewed_since = -inf
        self.waiting: list[Callable[[], None]] = []
        head, body = recording.head, recording.body
        self._date_at = date_at
        self._second = -1
        self._wire, self.body = (head + body, b"") if len(body) <= UNCOUNTED else (head, body)

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self._wire) + len(self.body)

    def wire(self, second: int) -> bytes:
        """The response as it is sent in this second of Unix time, without a large body."""
        if second != self._second:
            self._second = second
            start = self._date_at
            self._wire = b"".join((self._wire[:start], format_date_time(second).encode(), self._wire[start + 29 :]))
        return self._wire

    def drop(self) -> None:
        """Free the memory. Requests that were answered with it may still refer to it."""
        self.source, self._wire, self.body = NEVER, b"", b""
        waiting, self.waiting = self.waiting, []
        for go_on in waiting:
            go_on()


class Recording:
    """The response to one request, while it is made.

    Args:
        request: what it answers.
        keep: called once with the finished recording, if the response may be repeated.

    Attributes:
        note: set by the application; see `Kept.note`.
        status, head, body: as sent; `tags` are the fields of the head by lower-case name.
    """

    __slots__ = ("_complete", "_keep", "_source", "body", "head", "note", "request", "status")

    def __init__(self, request: PlainRequest, keep: Callable[[Recording], None]) -> None:
        self.request = request
        self.note: object = None
        self.status = 0
        self.head = self.body = b""
        self._keep = keep
        self._source: Expiring | None = None
        self._complete = False

    def replay_while(self, source: Expiring, *, any_query: bool = False) -> None:
        """Allow this response to be repeated while `source` holds.

        Its Vary must name every field that it depends on, except Host and what proxies report.

        Args:
            source: what it was made from.
            any_query: also if the target has a query: there are few different ones.
        """
        if any_query or b"?" not in self.request.target:
            self._source = source

    def add(self, head: bytes, body: list[bytes]) -> None:
        """The server has sent this much of the response."""
        if self._source is None:
            return
        self.head += head
        if body:
            self.body = body[0] if len(body) == 1 and not self.body else b"".join((self.body, *body))
        if len(self.body) > RESPONSE_LIMIT:
            self._source, self.body = None, b""

    def complete(self) -> None:
        """The response was sent, and the connection can be used again or is closed as the client wished."""
        self._complete = True

    def finish(self) -> None:
        """The application has ended."""
        if self._complete and self._source is not None:
            self._keep(self)

    def fields(self) -> dict[bytes, bytes]:
        """The fields of the response by lower-case name; of one that occurs several times, all values."""
        found: dict[bytes, bytes] = {}
        for original, value in _FIELD.findall(self.head):
            name = original.lower()
            found[name] = b", ".join((found[name], value)) if name in found else value
        return found

    def kept(self) -> Kept | None:
        """What to keep of it; None: it cannot be repeated."""
        dates = list(_DATE.finditer(self.head))
        if len(dates) != 1 or self._source is None:
            return None
        return Kept(self._source, self, dates[0].start(1))


def recording_of(scope: Scope) -> Recording | None:
    """The recording that the server offers for this request."""
    extensions = cast("dict[str, Any]", scope.get("extensions") or {})
    return cast("Recording | None", extensions.get(EXTENSION))


def this_second() -> int:
    """Unix time in whole seconds, as Date shows it."""
    return int(time.time())
