"""One connection to an IRC server: it registers, is asked, answers, and ends for a reason.

Three kinds of tasks share it: one reads, and sends at once what the protocol wants; one sends answers as the flood rule
allows; and each question has one of its own while the service is asked. The first of the two to fail gives the reason
and ends them all.

Answers are PRIVMSGs, as people expect who asked by one, and that could let two bots talk to each other for ever. So
what begins like an answer is never taken for a question; it could not be a name anyway. No NOTICE is ever answered.
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
from fingertrio.wire.irc_outbox import Answer, Outbox, TokenBucket

# The backend's share of one front end. With the service's deadline of 5 s, 16 at a time are three a second at worst,
# and the flood rule lets out one every two seconds.
_ASKING_LIMIT = 16

# CTCP is curiosity and costs answers their time: one every ten seconds, three at once.
_CTCP_SECONDS = 10.0
_CTCP_BURST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class IRCTimes:
    """How long things take, in seconds.

    Attributes:
        connect: until a connection stands, all addresses of the server tried.
        register: from then on until the server has taken us in; ident and DNS look-ups of some servers take 30.
        idle: the server's silence after which we ask whether it lives.
        pong: then, until it says anything at all; half-open connections end here.
        send: until the server has taken what we send.
        finish: when stopping, for the answers that are under way; with `leave`, within the supervisor's grace of 5.
        leave: when stopping, from QUIT until the server closes.
        first_pause: before connecting again, at most, after the first failure.
        longest_pause: before connecting again, at most, after many.
        lasted: a session that lived so long was a success, and the pauses start anew.
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
    """The session is over. The message says why."""


class _Query(Answer):
    """A question, with what the log wants to know."""

    def __init__(self, source: Source, asked: str) -> None:
        super().__init__(_asker(source))
        self.source = source
        self.asked = asked
        self.heard_at = trio.current_time()
        self.outcome = "error"
        self.size = 0


class Session:
    """One connection. `run` lives as long as it does; afterwards `reason` says why it ended.

    Args:
        stream: connected; closed when `run` is over, however that comes.
        client: fresh; it holds the registration to be sent.
        on_registered: called with our nick when the server has taken us in.
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
        self._outbox: Outbox[Answer] = Outbox()
        self._ctcp = TokenBucket(seconds=_CTCP_SECONDS, burst=_CTCP_BURST)
        self._asking = 0
        self._leaving = False
        self._sending = trio.Lock()
        self._due = trio.Event()  # the outbox has something new
        self._settled = trio.Event()  # we are leaving, and no question is open
        self._closed = trio.Event()
        self._patience = trio.CancelScope()  # of the reader, with the registration
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Until the session ends; neither the server nor the network makes it raise."""
        self._observer.connected("irc", 1)
        try:
            async with self._stream, trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._until_lost, self._write)
                await self._until_lost(self._read)
        finally:
            self._observer.connected("irc", -1)
            self._closed.set()
            for answer in self._outbox.open:
                self._close(answer, sent=False)

    async def leave(self) -> None:
        """Take no more questions, send what is under way, say QUIT and wait for the end; all of it within deadlines."""
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
        self._patience.deadline = trio.current_time() + self._times.register
        with self._patience:
            while True:
                await self._send_urgent(self._client.take_urgent())
                try:
                    events = self._client.receive(await self._receive())
                except ProtocolError as error:
                    raise _LostError(str(error)) from error
                for event in events:
                    self._handle(event)
        raise _LostError("registration time-out")

    async def _receive(self) -> bytes:
        """Some bytes. A server that is silent is asked whether it lives, and anything it says is a yes."""
        with trio.move_on_after(self._times.idle):
            return await self._receive_some()
        await self._send_urgent([self._client.ping("fingertrio"), *self._client.reclaim()])
        with trio.move_on_after(self._times.pong):
            return await self._receive_some()
        raise _LostError("ping time-out")

    async def _receive_some(self) -> bytes:
        try:
            data = await self._stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _LostError("connection broken") from error
        if not data:
            raise _LostError("closed by the server")
        return bytes(data)

    async def _send_urgent(self, lines: Sequence[bytes]) -> None:
        """Send at once, at the cost of the answers. While the server does not take it, we do not read on."""
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
            raise _LostError("send time-out") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _LostError("connection broken") from error

    async def _write(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._outbox.ready_at):
                await self._due.wait()
            self._due = trio.Event()
            while taken := self._outbox.take(trio.current_time()):
                line, answer = taken
                await self._send(line)
                if answer is not None:
                    self._close(answer, sent=True)

    def _handle(self, event: Event) -> None:
        match event:
            case PrivateMessage(source, target, text):
                if self._client.is_me(target) and not self._client.is_me(source.nick):
                    self._hear(source, text)
            case CTCPRequest():
                self._hear_ctcp(event)
            case Registered(nick):
                self.registered_at = trio.current_time()
                self._patience.deadline = inf
                self._on_registered(nick)
            case NickChanged(nick):
                self._observer.info("irc_nick_changed", nick=nick)
            case Malformed(reason):
                self._observer.refused("irc", reason)
            case Ended(reason):
                raise _LostError(f"the server says: {reason}")
            case Notice():
                pass

    def _hear(self, source: Source, text: str) -> None:
        """A question: let it in or drop it. A refusal has no answer, which would cost what it should save."""
        if self._leaving or not (name := text.strip()) or is_answer(name):
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
        if self._leaving or (reply := self._client.ctcp_reply(request)) is None:
            return
        answer = Answer(_asker(request.source))
        if self._ctcp.take(trio.current_time()) and self._outbox.admit(answer):
            self._put(answer, [reply])
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

    def _put(self, answer: Answer, lines: Sequence[bytes]) -> None:
        self._outbox.put(answer, lines)
        self._due.set()

    def _close(self, answer: Answer, *, sent: bool) -> None:
        """A question is over: its answer is with the kernel, or it never will be. Either way it was asked."""
        self._outbox.close(answer)
        if isinstance(answer, _Query):
            self._observer.query(
                "irc",
                str(answer.source),
                answer.asked,
                answer.outcome,
                trio.current_time() - answer.heard_at,
                answer.size if sent else 0,
            )
            self._observer.flush()
        if self._leaving and not self._outbox.open:
            self._settled.set()


def _asker(source: Source) -> str:
    """Who shares one limit. Not a nick, which one changes as one likes, unless there is nothing else."""
    return fold(source.nick) if source.host is None else f"{source.user}@{source.host}"
