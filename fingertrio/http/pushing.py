"""A connection on which only the server sends, in whole messages: what a WebSocket and an event stream have in common.

Each has two tasks. The *sender*, given by the caller, sends. The *reader* notices what the client does, above all that
it is gone. The first reason to end is kept. A send is never interrupted, because nothing can follow half a message.
When the connection ends, the current message gets a last deadline; if that expires, the connection ends without a last
word.

A message for a client that owes nothing can be sent from any task (`send_at_once`): one task then serves a thousand
clients, and the sender's task sleeps on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from functools import partial

import trio

from fingertrio.http.at_once import sender_of
from fingertrio.http.upgrade import ByteStream

# Seconds in which a client must read one slice of what is sent.
PATIENCE = 30.0

# Seconds for the message that is being sent, and for the last word after it, when the connection ends.
LAST_WORDS = 1.0

_SLICE = 65536  # bytes sent under one deadline: 2 kB/s, as for HTTP

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

FAILED = "Internal error in server"


class Code(IntEnum):
    """Why a connection ends, as WebSockets say it (RFC 6455 section 7.4.1, and 1013 of the IANA's registry)."""

    OVER = 1000
    GOING_AWAY = 1001
    POLICY = 1008
    TOO_BIG = 1009
    FAILED = 1011
    TRY_AGAIN_LATER = 1013


class Push(ABC):
    """The connection. `run` is called once.

    Args:
        stream: the connection; the caller closes it.
        patience: seconds, see PATIENCE.
    """

    def __init__(self, stream: ByteStream, *, patience: float = PATIENCE) -> None:
        self._stream = stream
        self._at_once = sender_of(stream)
        self._patience = patience
        self._turn = trio.Lock()  # to send
        self._sending: trio.CancelScope | None = None
        self._hurried = False
        self._half_sent = False  # a message was cut off: nothing can follow
        self._scope = trio.CancelScope()
        self._ending: tuple[int, str] | None = None

    @property
    def ending(self) -> int | None:
        """Why the connection ends, once it does; see `Code`."""
        return None if self._ending is None else self._ending[0]

    async def run(self, sender: Callable[[], Awaitable[None]]) -> bool:
        """Read, and run `sender`, until one side ends the connection. Then send the last word.

        After a cancellation this returns within about a second.

        Returns:
            Whether the last word was sent, so that the socket must not be closed at once (`net.linger`).

        Raises:
            Exception: what `sender` raised, in a group.
        """
        closed = False
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read_until_gone)
                    await sender()
                    self.end(Code.OVER)
        except* GONE:
            self._half_sent = True  # nothing more can be sent
        except* Exception:
            self.end(Code.FAILED, FAILED)
            raise
        finally:
            self.end(Code.FAILED, FAILED)  # cancelled without a reason
            closed = await self._close()
        return closed

    def end(self, code: int, reason: str = "") -> None:
        """End the connection, with this reason unless there is an earlier one. Returns at once; `run` returns soon."""
        if self._ending is None:
            self._ending = (code, reason)
        self._scope.cancel()

    def send_at_once(self, messages: bytes) -> bool:
        """Send whole messages without waiting. False: nothing was sent, and `send` must be awaited instead.

        The kernel may have no room for all of them. Then `has_rest` is true, and `flush` must be awaited soon.
        """
        if self._at_once is None or self._ending is not None or self._turn.locked() or len(messages) > _SLICE:
            return False
        try:
            return not self._half_sent and self._at_once.send(messages)
        except OSError:  # the next `send` fails too, and says so
            return False

    @property
    def has_rest(self) -> bool:
        """Whether `send_at_once` has sent a part of its messages."""
        return self._at_once is not None and self._at_once.has_rest

    async def flush(self) -> None:
        """Send the rest of what `send_at_once` has begun. Raises what `send` raises."""
        if self.has_rest:
            await self.send(b"")

    async def send(self, messages: bytes) -> None:
        """Send whole messages. Returns when the kernel has taken them. Ends the connection of a slow reader.

        Raises:
            trio.BrokenResourceError: the client is gone, or did not read before the deadline.
        """
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            if self._half_sent:
                raise trio.BrokenResourceError
            await self._finish()
            # Usually the kernel takes everything at once, at half the cost of a send that can wait.
            if self._at_once is None or not 0 < len(messages) <= _SLICE or not self._at_once.send(messages):
                whole = memoryview(messages)  # no copy: many clients may share the messages
                await self._send_patiently(
                    partial(self._stream.send_all, whole[start : start + _SLICE])
                    for start in range(0, len(whole), _SLICE)
                )
            await self._finish()
        finally:
            self._turn.release()
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def beat(self, messages: bytes) -> None:
        """Send `messages` after a pause, and notice a client that reads nothing any more."""

    @abstractmethod
    async def _read(self) -> None:
        """Read until the client has closed."""

    @abstractmethod
    def _last_word(self, code: int, reason: str) -> bytes:
        """What is sent at the end; empty: nothing."""

    def _fail_to_read(self) -> None:
        self.end(Code.TRY_AGAIN_LATER, "too slow")

    async def _finish(self) -> None:
        """Send the rest of messages that were sent in part."""
        if self._at_once is not None and self._at_once.has_rest:
            await self._send_patiently([self._at_once.finish])

    async def _send_patiently(self, steps: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Take some steps, each of which sends one slice, and give the client its time for each."""
        slow = False
        with trio.CancelScope(shield=True) as scope:
            self._sending, self._half_sent = scope, True
            for step in steps:
                begun = trio.current_time()
                scope.deadline = begun + (0 if self._hurried else self._patience) + LAST_WORDS
                await step()
                slow = slow or trio.current_time() - begun > self._patience
            self._half_sent = False
        self._sending = None
        if slow or scope.cancelled_caught:
            self._fail_to_read()
        if scope.cancelled_caught:
            raise trio.BrokenResourceError

    async def _read_until_gone(self) -> None:
        try:
            await self._read()
            raise trio.BrokenResourceError  # the client closed without a word
        finally:  # also after a cancellation, from which a send is shielded
            self._hurried = True
            if self._sending is not None:
                self._sending.deadline = min(self._sending.deadline, trio.current_time() + LAST_WORDS)

    async def _close(self) -> bool:
        """Send the last word, if it can still be sent."""
        if self._half_sent or self._ending is None or not (word := self._last_word(*self._ending)):
            return False
        with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_WORDS):
            try:
                if self._at_once is not None:
                    await self._at_once.finish()
                await self._stream.send_all(word)
            except GONE:
                return False
            return True
        return False
