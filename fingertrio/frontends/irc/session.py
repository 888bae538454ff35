"""One connection to an IRC server: registers, reads, sends, and ends with a reason.

The reader task receives, sends the lines that the protocol requires at once, and does what is due by time. The writer
task sends replies and announcements at the rate that the flood rule allows. When one of them fails, its failure is the
reason, and the session ends. Which messages are answered, and how, is in `questions`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import trio

from fingertrio.frontends.irc.heartbeat import Heartbeat
from fingertrio.frontends.irc.questions import Questions
from fingertrio.frontends.irc.reports import NetworkReports
from fingertrio.frontends.irc.setting import Setting
from fingertrio.frontends.irc.times import IRCTimes
from fingertrio.wire import ProtocolError
from fingertrio.wire.irc_announcer import Announcer
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_ends import Ended, Verdict
from fingertrio.wire.irc_events import (
    AccountChanged,
    AccountProved,
    ChannelJoined,
    ChannelLeft,
    CTCPRequest,
    Event,
    LoginFailed,
    Malformed,
    NickChanged,
    Ponged,
    PrivateMessage,
    PrivateNotice,
    Ready,
    Registered,
    Undeliverable,
    UserGone,
    UserRenamed,
)
from fingertrio.wire.irc_outbox import Reply
from fingertrio.wire.irc_sts import STSDuration, STSPort

# How a TLS server answers what is not TLS (RFC 8446 section 5.1), before it closes: a record of type 21, version 3.x.
_TLS_ALERT = b"\x15\x03"

# Bytes received in one turn: about fifty short lines, a millisecond of work. Other doors wait for the end of a turn.
_TURN_BYTES = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a session consists of besides its stream."""

    client: IRCClient
    questions: Questions
    setting: Setting
    announcer: Announcer


class _LostError(Exception):
    """The session ended; see `end`."""

    def __init__(self, end: Ended | str) -> None:
        super().__init__()
        self.end = Ended(end) if isinstance(end, str) else end


class IRCSession:
    """One connection. `run` returns when it ends; `end` then says why.

    Args:
        stream: connected; `run` always closes it.
        parts: new ones, with nothing sent.
        on_state: called whenever something may have changed that the network shows.
        on_policy: called with the duration of an STS policy.

    Attributes:
        end: why it ended.
        upgrade: the port at which the server wants TLS, if it does.
        registered_at: by trio's clock; None: never.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        parts: Parts,
        *,
        reports: NetworkReports,
        times: IRCTimes,
        on_state: Callable[[Event], None],
        on_policy: Callable[[int], Awaitable[None]],
    ) -> None:
        self.end = Ended("")
        self.upgrade: int | None = None
        self.registered_at: float | None = None
        self.client = parts.client
        self.questions = parts.questions
        self.setting = parts.setting
        self.announcer = parts.announcer
        self._stream = stream
        self._outbox = parts.questions.outbox
        self._reports = reports
        self._times = times
        self._on_state = on_state
        self._on_policy = on_policy
        self._received = False  # anything but an alert of TLS
        self._left = False
        self._sending = trio.Lock()
        self._closed = trio.Event()
        self._scope = trio.CancelScope()  # of `run`
        self._waiting = trio.CancelScope()  # of the reader, for bytes or for its next deadline
        self._registration = trio.CancelScope()  # the reader's deadline until it is registered
        self._heartbeat = Heartbeat(inf, inf, 0.0)
        self._nursery: trio.Nursery

    @property
    def reason(self) -> str:
        """Why it ended, as text."""
        return self.end.reason

    async def run(self) -> None:
        """Run until the session ends; never raises because of the server or the network."""
        try:
            with self._scope:
                async with self._stream, trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._until_lost, self._write)
                    await self._until_lost(self._read)
        finally:
            self._reports.registered(now_registered=False)
            self._closed.set()
            for reply in self._outbox.open:
                self.questions.close(reply)

    async def leave(self, reason: str = "stopping") -> None:
        """Accept no more questions, send the open replies, QUIT and wait for the end, each within its deadline."""
        if self._left:
            return
        self._left = True
        self.questions.leave()
        with trio.move_on_after(self._times.finish):
            await self.questions.settled.wait()
        with trio.move_on_after(self._times.leave), suppress(_LostError):
            await self._send(self.client.quit(reason))
            await self._closed.wait()
        self._scope.cancel()  # a server that does not close is left all the same

    def wake(self) -> None:
        """Something outside has changed what the client or the announcer has to do."""
        self._waiting.cancel()
        self.questions.due.set()

    async def _until_lost(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except _LostError as lost:
            self.end = self.end if self.end.reason else lost.end
        self._nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        self._registration.deadline = trio.current_time() + self._times.register
        with self._registration:
            self.client.start(trio.current_time())
            await self._send_urgent()
            while True:
                data = await self._receive()
                began = trio.current_time()
                try:
                    events = self.client.receive(data, began) if data else self.client.tick(began)
                except ProtocolError as error:
                    raise _LostError(str(error)) from error
                for event in events:
                    await self._handle(event)
                await self._send_urgent()
                # Pause for as long as the turn took, so that a flood gets at most half of the time.
                await trio.sleep(trio.current_time() - began)
        raise _LostError("registration timed out")

    async def _receive(self) -> bytes:
        """Some bytes; empty: something is due by time."""
        now = trio.current_time()
        if self._heartbeat.is_dead(now):
            raise _LostError("ping timed out")
        if self._heartbeat.take_ping(now):
            await self._send_lines([self.client.ping()])
        self._waiting = trio.CancelScope(deadline=min(self.client.deadline, self._heartbeat.deadline))
        with self._waiting:
            try:
                data = await self._stream.receive_some(_TURN_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _LostError(f"connection broken{self._hint()}") from error
            if not data:
                raise _LostError(f"closed by the server{self._hint()}")
            self._received = self._received or not data.startswith(_TLS_ALERT)
            self._heartbeat.heard()
            return bytes(data)
        return b""

    def _hint(self) -> str:
        return "" if self._received else " before it sent anything; is this a TLS port?"

    async def _send_urgent(self) -> None:
        await self._send_lines(self.client.take_urgent())

    async def _send_lines(self, lines: Sequence[bytes]) -> None:
        """Send without delay, and charge the outbox. Nothing is read meanwhile, so a server cannot make us buffer."""
        for _ in lines:
            self._outbox.charge(trio.current_time())
        if lines:
            self._reports.numbers.sent["protocol"] += len(lines)
            await self._send(b"".join(lines))

    async def _send(self, data: bytes) -> None:
        if self._reports.traces:
            for line in data.split(b"\r\n")[:-1]:
                self._reports.line("out", line)
        try:
            with trio.fail_after(self._times.send):
                async with self._sending:
                    await self._stream.send_all(data)
        except trio.TooSlowError as error:
            raise _LostError("send timed out") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _LostError(f"connection broken{self._hint()}") from error

    async def _write(self) -> None:
        questions, numbers = self.questions, self._reports.numbers
        while True:
            spare_at = max(self._outbox.spare_at, self.announcer.deadline)
            with trio.CancelScope(deadline=min(self._outbox.ready_at, spare_at)):
                await questions.due.wait()
            questions.due = trio.Event()
            questions.drop_expired()
            while taken := self._outbox.take(trio.current_time()):
                reply, text = taken
                size = await self._send_text(reply.command, reply.target, text, asker=reply)
                questions.sent(reply, size)
            numbers.queue_lines = self._outbox.waiting
            await self._announce()

    async def _announce(self) -> None:
        now = trio.current_time()
        if now < self.announcer.deadline or now < self._outbox.spare_at:
            return
        announcement = self.announcer.take(now, lambda channel: self.client.channels.may_speak(channel, now))
        if announcement is not None and self._outbox.take_spare(now):
            room = self.client.room(announcement.command, announcement.channel)
            text = announcement.text.encode()[:room].decode(errors="ignore")
            await self._send_text(announcement.command, announcement.channel, text)

    async def _send_text(self, command: str, target: str, text: str, *, asker: Reply | None = None) -> int:
        """Send a message to a person or a channel, or tell what would be sent; its bytes."""
        if self.questions.settings.dry_run:
            self._reports.info("irc_would_send", what=command, target=target, text=text)
            return 0
        kind = "announcement" if asker is None else "answer" if command == "PRIVMSG" else "notice"
        lines = self.client.message(command, target, text)
        self._reports.numbers.sent[kind] += len(lines)
        await self._send(b"".join(lines))
        return sum(map(len, lines))

    async def _handle(self, event: Event) -> None:
        match event:
            case PrivateMessage():
                if (notice := self.questions.hear(event, self._nursery)) is not None:
                    self._outbox.charge(trio.current_time())
                    await self._send_text("NOTICE", event.source.nick, notice, asker=Reply("", event.source.nick, 0.0))
            case Registered():
                self._registered()
                self._on_state(event)
            case Ready() | LoginFailed() | AccountChanged() | NickChanged() | ChannelJoined() | ChannelLeft():
                self._on_state(event)
            case STSDuration(seconds):
                await self._on_policy(seconds)
            case STSPort(port):
                self.upgrade = port
                raise _LostError(Ended("the server wants TLS", Verdict.NEXT))
            case Ended():
                with suppress(_LostError):  # the server may have closed already; its reason counts
                    await self._send_urgent()  # QUIT, if the end is our decision
                raise _LostError(event)
            case _:
                self._note(event)

    def _registered(self) -> None:
        now = trio.current_time()
        self.registered_at = now
        self._registration.deadline = inf
        self._heartbeat = Heartbeat(self._times.idle, self._times.pong, now)
        self._reports.registered(now_registered=True)

    def _note(self, event: Event) -> None:
        """Events that are answered later, or not at all."""
        match event:
            case CTCPRequest():
                self.questions.hear_ctcp(event)
            case UserGone() | Undeliverable() | UserRenamed() | PrivateNotice():
                self.questions.note(event)
            case AccountProved():
                self.setting.proved(event)
            case Ponged():
                if (lag := self._heartbeat.ponged(trio.current_time())) is not None:
                    self._reports.numbers.lag = lag
            case Malformed():
                self._reports.refused("malformed")
