"""One connection to an IRC server: registers, reads, sends, and ends with a reason.

The reader task receives, and immediately sends the lines that the protocol requires. The writer task sends replies at
the rate that the flood rule allows. When one of them fails, its failure is the reason, and the session ends. Which
messages are answered, and how, is in `questions`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import trio

from fingertrio.frontends.irc.questions import Questions
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire import ProtocolError
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import (
    CTCPRequest,
    Ended,
    Event,
    Malformed,
    NickChanged,
    PrivateMessage,
    Registered,
    Undeliverable,
    UserGone,
    UserRenamed,
)
from fingertrio.wire.irc_outbox import TokenBucket

# Bytes received in one turn: about fifty short lines, a millisecond of work. Other doors wait for the end of a turn.
_TURN_BYTES = 2048

# Log lines about events that the server causes (nick changes): one every ten seconds, five in advance.
_LOG_SECONDS = 10.0
_LOG_BURST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class IRCTimes:
    """Deadlines and pauses, in seconds.

    Attributes:
        connect: to connect, all addresses of the server tried.
        register: from the connection to the end of the registration; some servers spend 30 s on ident and DNS.
        idle: silence of the server after which we send PING.
        pong: after the PING, until anything arrives; a half-open connection ends here.
        send: for the server to accept what we send.
        finish: when stopping, for open replies; with `leave` it must fit into the supervisor's grace of 5.
        leave: when stopping, from QUIT until the server closes.
        first_pause: at most, before connecting again after the first failure.
        longest_pause: at most, before connecting again after many failures.
        lasted: a session of this length was a success: the next pause is `first_pause`.
    """

    connect: float = 30.0
    register: float = 60.0
    idle: float = 60.0
    pong: float = 30.0
    send: float = 30.0
    finish: float = 3.0
    leave: float = 1.0
    first_pause: float = 2.0
    longest_pause: float = 300.0
    lasted: float = 60.0


class _LostError(Exception):
    """The session ended; the message is the reason."""


class IRCSession:
    """One connection. `run` returns when it ends; `reason` then says why it ended.

    Args:
        stream: connected; `run` always closes it.
        client: a new client, with its registration unsent.
        on_registered: called with our nick when the server has accepted the registration.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        client: IRCClient,
        *,
        service: FingerService,
        observer: Observer,
        times: IRCTimes,
        on_registered: Callable[[str], None],
    ) -> None:
        self.reason = ""
        self.registered_at: float | None = None  # trio's clock
        self._stream = stream
        self._client = client
        self._questions = Questions(client, service, observer)
        self._outbox = self._questions.outbox
        self._observer = observer
        self._times = times
        self._on_registered = on_registered
        self._log = TokenBucket(seconds=_LOG_SECONDS, burst=_LOG_BURST)
        self._received = False  # anything
        self._suppressed = 0  # events since the last log line that were not logged
        self._sending = trio.Lock()
        self._closed = trio.Event()
        self._registration = trio.CancelScope()  # the reader's deadline until it is registered
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Run until the session ends; never raises because of the server or the network."""
        try:
            async with self._stream, trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._until_lost, self._write)
                await self._until_lost(self._read)
        finally:
            if self.registered_at is not None:
                self._observer.connected("irc", -1)
            self._closed.set()
            for reply in self._outbox.open:
                self._questions.close(reply)

    async def leave(self) -> None:
        """Accept no more questions, send the open replies, QUIT and wait for the end, each within its deadline."""
        self._questions.leave()
        with trio.move_on_after(self._times.finish):
            await self._questions.settled.wait()
        with trio.move_on_after(self._times.leave), suppress(_LostError):
            await self._send(self._client.quit("stopping"))
            await self._closed.wait()

    async def _until_lost(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except _LostError as lost:
            self.reason = self.reason or str(lost)
        self._nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        self._registration.deadline = trio.current_time() + self._times.register
        with self._registration:
            await self._send_urgent(self._client.take_urgent())
            while True:
                data = await self._receive()
                began = trio.current_time()
                try:
                    events = self._client.receive(data)
                except ProtocolError as error:
                    raise _LostError(str(error)) from error
                for event in events:
                    await self._handle(event)
                await self._send_urgent(self._client.take_urgent())
                # Pause for as long as the turn took, so that a flood gets at most half of the time.
                await trio.sleep(trio.current_time() - began)
        raise _LostError("registration timed out")

    async def _receive(self) -> bytes:
        """Some bytes. A silent server gets a PING, and any bytes count as its answer."""
        with trio.move_on_after(self._times.idle):
            return await self._receive_some()
        await self._send_urgent([self._client.ping("fingertrio"), *self._client.reclaim()])
        with trio.move_on_after(self._times.pong):
            return await self._receive_some()
        raise _LostError("ping timed out")

    async def _receive_some(self) -> bytes:
        try:
            data = await self._stream.receive_some(_TURN_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _LostError(f"connection broken{self._hint()}") from error
        if not data:
            raise _LostError(f"closed by the server{self._hint()}")
        self._received = True
        return bytes(data)

    def _hint(self) -> str:
        return "" if self._received else " before it sent anything; is this a TLS port?"

    async def _send_urgent(self, lines: Sequence[bytes]) -> None:
        """Send without delay, and charge the outbox. Nothing is read meanwhile, so a server cannot make us buffer."""
        for _ in lines:
            self._outbox.charge(trio.current_time())
        if lines:
            await self._send(b"".join(lines))

    async def _send(self, data: bytes) -> None:
        try:
            with trio.fail_after(self._times.send):
                async with self._sending:
                    await self._stream.send_all(data)
        except trio.TooSlowError as error:
            raise _LostError("send timed out") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _LostError("connection broken") from error

    async def _write(self) -> None:
        questions = self._questions
        while True:
            with trio.CancelScope(deadline=self._outbox.ready_at):
                await questions.due.wait()
            questions.due = trio.Event()
            questions.drop_expired()
            while taken := self._outbox.take(trio.current_time()):
                reply, text = taken
                lines = self._client.message(reply.command, reply.target, text)
                await self._send(b"".join(lines))
                questions.sent(reply, sum(map(len, lines)))

    async def _handle(self, event: Event) -> None:
        match event:
            case PrivateMessage():
                if (notice := self._questions.hear(event, self._nursery)) is not None:
                    await self._send_urgent(self._client.message("NOTICE", event.source.nick, notice))
            case CTCPRequest():
                self._questions.hear_ctcp(event)
            case UserGone() | Undeliverable() | UserRenamed():
                self._handle_user(event)
            case Registered(nick):
                self.registered_at = trio.current_time()
                self._observer.connected("irc", 1)
                self._registration.deadline = inf
                self._on_registered(nick)
            case NickChanged(nick):
                self._log_event("irc_nick_changed", nick=nick)
            case Malformed():
                self._observer.refused("irc", "malformed")
            case Ended(reason):
                with suppress(_LostError):  # the server may have closed already; its reason counts
                    await self._send_urgent(self._client.take_urgent())  # QUIT, if the end is our decision
                raise _LostError(f"ended by the server: {reason}")

    def _handle_user(self, event: UserGone | Undeliverable | UserRenamed) -> None:
        match event:
            case UserGone(nick):
                self._questions.drop(nick, "gone")
            case Undeliverable(nick):
                self._questions.drop(nick, "undeliverable")
            case UserRenamed(old, new):
                self._questions.rename(old, new)

    def _log_event(self, event: str, **fields: object) -> None:
        """Log an event that the server caused, at a limited rate; the next line tells how many were suppressed."""
        if not self._log.take(trio.current_time()):
            self._suppressed += 1
            self._observer.refused("irc", "log")
            return
        if self._suppressed:
            fields["suppressed"] = self._suppressed
            self._suppressed = 0
        self._observer.info(event, **fields)
