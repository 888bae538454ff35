"""The server side of an event stream (server-sent events, WHATWG HTML section 9.2): a response that does not end.

`pushing` has the tasks and deadlines. Events are built here: an event is the same bytes for every client, so one event
is built once and sent to many. The response has no length and no chunks, and ends with its connection (RFC 9112 section
6.3, item 8) or its HTTP/2 stream. A client gets the time to come back with the reason of the end: clients that wait
for random times do not come back all at once.
"""

from __future__ import annotations

import secrets

from fingertrio.http.pushing import Code, Push

CONTENT_TYPE = "text/event-stream"

# Milliseconds before a client reconnects: usually; after a stop of the server, between these; and when it was refused.
RETRY = 3000
_RETRY_AFTER_STOP = (1000, 5000)
_RETRY_AFTER_REFUSAL = 30_000

_RECEIVE = 4096  # bytes of one receive


PREAMBLE = b"retry: %d\n\n" % RETRY


def event(data: bytes, at: str | None = None) -> bytes:
    """A message, with the id `at` from which a client resumes. `data` is UTF-8 without line ends."""
    return b"data: " + data + b"\n\n" if at is None else b"id: " + at.encode() + b"\ndata: " + data + b"\n\n"


class EventStream(Push):
    """A response after its head."""

    async def beat(self, messages: bytes) -> None:
        """Send `messages` behind a comment.

        Clients do not answer it. The kernel notices those that acknowledge nothing (TCP_USER_TIMEOUT).
        """
        await self.send(b": alive\n" + messages)

    async def _read(self) -> None:
        """Discard input. Its end is the end of the client: a browser closes both sides at once."""
        while await self._stream.receive_some(_RECEIVE):
            pass

    def _last_word(self, code: int, reason: str) -> bytes:
        if code == Code.TRY_AGAIN_LATER:
            return b": %b\nretry: %d\n\n" % (reason.encode(), _RETRY_AFTER_REFUSAL)
        shortest, longest = _RETRY_AFTER_STOP
        retry = shortest + secrets.randbelow(longest - shortest)
        return b": %b\nretry: %d\n\n" % (reason.encode() or b"end", retry)
