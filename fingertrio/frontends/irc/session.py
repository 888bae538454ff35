"""One connection to an IRC server: registers, answers questions, and ends with a reason.

The reader task receives, and immediately sends the lines that the protocol requires. The writer task sends replies at
the rate that the flood rule allows. Each question has a task while it waits for the service. When the reader or the
writer fails, its failure is the reason, and the session ends.

Answers are PRIVMSGs, as the people who ask expect, so two bots could answer each other without end. Therefore a message
that begins like an answer is never a question (a name cannot look like this), and a NOTICE is never answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import trio

from fingertrio.backend import NO_SUCH_USER, BackendError
from fingertrio.frontends.irc.answer import compose, is_answer
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import Source, fold
from fingertrio.wire.irc_client import (
    CTCPRequest,
    Ended,
    Event,
    IRCClient,
    Malformed,
    NickChanged,
    Notice,
    PrivateMessage,
    Registered,
)
from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.irc_outbox import Outbox, Reply, TokenBucket
from fingertrio.wire.text import clean_line

# Concurrent calls to the service. With its deadline of 5 s, 16 calls complete at a rate of three a second in the worst
# case; the flood rule allows one reply every two seconds.
_ASKING_LIMIT = 16

# Bytes received in one turn: about fifty short lines, a millisecond of work. Other doors wait for the end of a turn.
_TURN_BYTES = 2048

# Log lines about events that the server causes (nick changes): one every ten seconds, five in advance.
_LOG_SECONDS = 10.0
_LOG_BURST = 5

# CTCP replies delay answers: one every ten seconds, three in advance.
_CTCP_SECONDS = 10.0
_CTCP_BURST = 3


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


class _Query(Reply):
    """A question, with the data for its log line."""

    def __init__(self, source: Source, asked: str) -> None:
        super().__init__(_asker(source))
        self.source = source
        self.asked = asked
        self.received_at = trio.current_time()
        self.outcome = "error"
        self.size = 0


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
        self._service = service
        self._observer = observer
        self._times = times
        self._on_registered = on_registered
        self._outbox: Outbox[Reply] = Outbox()
        self._ctcp = TokenBucket(seconds=_CTCP_SECONDS, burst=_CTCP_BURST)
        self._log = TokenBucket(seconds=_LOG_SECONDS, burst=_LOG_BURST)
        self._suppressed = 0  # events since the last log line that were not logged
        self._asking = 0
        self._leaving = False
        self._sending = trio.Lock()
        self._due = trio.Event()  # the outbox has new lines
        self._settled = trio.Event()  # we are leaving, and no question is open
        self._closed = trio.Event()
        self._registration = trio.CancelScope()  # the reader's deadline until it is registered
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Run until the session ends; never raises because of the server or the network."""
        self._observer.connected("irc", 1)
        try:
            async with self._stream, trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._until_lost, self._write)
                await self._until_lost(self._read)
        finally:
            self._observer.connected("irc", -1)
            self._closed.set()
            for reply in self._outbox.open:
                self._close(reply, sent=False)

    async def leave(self) -> None:
        """Accept no more questions, send the open replies, QUIT and wait for the end, each within its deadline."""
        self._leaving = True
        with trio.move_on_after(self._times.finish):
            if self._outbox.open:
                await self._settled.wait()
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
                    self._handle(event)
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
            raise _LostError("connection broken") from error
        if not data:
            raise _LostError("closed by the server")
        return bytes(data)

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
        while True:
            with trio.CancelScope(deadline=self._outbox.ready_at):
                await self._due.wait()
            self._due = trio.Event()
            while taken := self._outbox.take(trio.current_time()):
                line, reply = taken
                await self._send(line)
                if reply is not None:
                    self._close(reply, sent=True)

    def _handle(self, event: Event) -> None:
        match event:
            case PrivateMessage(source, target, text):
                if self._client.is_me(target) and not self._client.is_me(source.nick):
                    self._hear(source, text)
            case CTCPRequest():
                self._hear_ctcp(event)
            case Registered(nick):
                self.registered_at = trio.current_time()
                self._registration.deadline = inf
                self._on_registered(nick)
            case NickChanged(nick):
                self._log_event("irc_nick_changed", nick=nick)
            case Malformed():
                self._observer.refused("irc", "malformed")
            case Ended(reason):
                raise _LostError(f"ended by the server: {reason}")
            case Notice():
                pass

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

    def _hear(self, source: Source, text: str) -> None:
        """Admit a question or drop it. Rejecting it in words would cost as much as answering it."""
        if self._leaving or not (name := clean_line(strip_formatting(text))) or is_answer(name):
            return
        query = _Query(source, text)
        if self._asking >= _ASKING_LIMIT:
            self._observer.refused("irc", "busy")
        elif not self._outbox.admit(query):
            self._observer.refused("irc", "flood")
        else:
            self._asking += 1
            self._nursery.start_soon(self._answer, query, name)

    def _hear_ctcp(self, request: CTCPRequest) -> None:
        if self._leaving or (line := self._client.ctcp_reply(request)) is None:
            return
        reply = Reply(_asker(request.source))
        if self._ctcp.take(trio.current_time()) and self._outbox.admit(reply):
            self._put(reply, [line])
        else:
            self._observer.refused("irc", "ctcp")

    async def _answer(self, query: _Query, name: str) -> None:
        stale_since = None
        try:
            found = await self._service.ask_user(name)
        except BackendError as error:
            text = error.public_message
        else:
            stale_since = found.stale_since
            query.outcome, text = ("unknown", NO_SUCH_USER) if found.value is None else ("ok", found.value.status)
        finally:
            self._asking -= 1
        target = query.source.nick
        pieces = compose(name, text, self._client.room("PRIVMSG", target), stale_since=stale_since)
        lines = [line for piece in pieces for line in self._client.privmsg(target, piece)]
        query.size = sum(map(len, lines))
        self._put(query, lines)

    def _put(self, reply: Reply, lines: Sequence[bytes]) -> None:
        self._outbox.put(reply, lines)
        self._due.set()

    def _close(self, reply: Reply, *, sent: bool) -> None:
        """A reply was sent, or never will be. Either way its question is logged."""
        self._outbox.close(reply)
        if isinstance(reply, _Query):
            self._observer.query(
                "irc",
                str(reply.source),
                reply.asked,
                reply.outcome,
                trio.current_time() - reply.received_at,
                reply.size if sent else 0,
            )
            self._observer.flush()
        if self._leaving and not self._outbox.open:
            self._settled.set()


def _asker(source: Source) -> str:
    """The key for limits: user@host, since anyone can change their nick; the nick if there is no host."""
    return fold(source.nick) if source.host is None else f"{source.user}@{source.host}"
