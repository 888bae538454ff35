"""One IRC network: connect, run the session, pause, connect again, or stop because no attempt can succeed.

A server that is down, rejects us or disconnects is expected and never raises here. How long to wait is decided in
`wire/irc_pauses`; the log has one warning for each change for the worse, not one for each attempt. A network that has
stopped waits for a reload of its settings.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import trio

from fingertrio.clients import dial
from fingertrio.frontends.irc.connecting import Connect, Link, UnreachableError, open_link
from fingertrio.frontends.irc.hearing import Hearing
from fingertrio.frontends.irc.questions import Questions
from fingertrio.frontends.irc.reports import NetworkReports
from fingertrio.frontends.irc.session import IRCSession, Parts
from fingertrio.frontends.irc.setting import Rate, Setting
from fingertrio.frontends.irc.settings import NetworkSettings, ServerAddress
from fingertrio.frontends.irc.standing import Standing
from fingertrio.frontends.irc.sts_store import STSStore
from fingertrio.frontends.irc.times import IRCTimes
from fingertrio.frontends.irc.tls import make_context
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.irc_announcer import AnnouncePlan, Announcer
from fingertrio.wire.irc_askers import Askers
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_ends import Ended, Verdict
from fingertrio.wire.irc_nicks import SAFE_NICKLEN
from fingertrio.wire.irc_pauses import Pauses

# The burst of the session after one that the server ended for a flood.
_CAREFUL_BURST = 2


class Network:
    """One network.

    Args:
        settings: what the operator wants.
        service: provides the statuses.
        observer: takes the reports.
        store: STS policies.
        version, home: replies to CTCP VERSION and SOURCE.
        times: see `IRCTimes`.
        connect: opens a TCP stream.
        jitter: returns a number between its two arguments.
        rate: how often an account may set a status.
        wall_clock: the time of day.

    Raises:
        ValueError: a file for TLS cannot be used.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        *,
        service: FingerService,
        observer: Observer,
        store: STSStore,
        version: str = "fingertrio",
        home: str = "",
        times: IRCTimes | None = None,
        connect: Connect = dial.connect,
        jitter: Callable[[float, float], float] = random.uniform,
        rate: Rate | None = None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.session: IRCSession | None = None
        self.reports = NetworkReports(observer, settings.name, essential=settings.essential)
        self._standing = Standing(self.reports)
        self._service = service
        self._store = store
        self._version = version
        self._home = home
        self._times = times or IRCTimes()
        self._connect = connect
        self._jitter = jitter
        self._rate = rate
        self._wall_clock = wall_clock
        self._context = _context(settings)
        self._pauses = self._make_pauses()
        self._askers = Askers()  # who is muted stays so in the next session
        self._nicklen = SAFE_NICKLEN
        self._burst = settings.flood_burst
        self._upgrade: ServerAddress | None = None  # where a plain server has told us to come with TLS
        self._changed = trio.Event()  # the settings are others: attempt at once
        self._connecting = trio.CancelScope()
        self._leaving = False
        self.reports.numbers.channels_wanted = len(settings.channels)

    def begin(self) -> None:
        """Report that there is no connection yet; before `run`."""
        self._standing.begin()

    async def run(self) -> None:
        """Stay on the network until cancelled, or until `leave`."""
        while not self._leaving:
            changed = self._changed = trio.Event()
            server, self._upgrade = self._upgrade or self.settings.servers[self._pauses.server], None
            was_registered, lasted, end = await self._connect_once(server)
            if self._goes_on_at_once(changed):
                continue
            decision = self._pauses.ended(end, trio.current_time(), registered_for=lasted)
            if decision.stop:
                self._standing.stopped(end, self.server_name(server))
                await changed.wait()
                continue
            self._standing.lost(end, self.server_name(server), decision.pause, was_registered=was_registered)
            with trio.move_on_after(decision.pause):
                await changed.wait()

    def _goes_on_at_once(self, changed: trio.Event) -> bool:
        return self._leaving or changed.is_set() or self._upgrade is not None

    async def leave(self, reason: str) -> None:
        """QUIT, and end `run`."""
        self._leaving = True
        await self._end_attempt(reason)
        self._changed.set()

    async def reconnect(self) -> None:
        """The settings demand another session."""
        self._changed.set()
        await self._end_attempt("reconfigured")

    async def _end_attempt(self, reason: str) -> None:
        if self.session is not None:
            await self.session.leave(reason)
        else:
            self._connecting.cancel()

    def prepare(self, settings: NetworkSettings) -> Callable[[], bool]:
        """Make ready for other settings; the function that adopts them returns whether to `reconnect`.

        Raises:
            ValueError: a file for TLS cannot be used.
        """
        context = _context(settings)

        def adopt() -> bool:
            old, self.settings, self._context = self.settings, settings, context
            self.reports.essential = settings.essential
            self._burst = settings.flood_burst
            stopped = self._standing.is_stopped
            if stopped or old.needs_reconnect(settings):
                self._pauses = self._make_pauses()
                return True
            if (session := self.session) is not None:
                self._adopt_in(session, old, settings)
            return False

        return adopt

    @staticmethod
    def server_name(server: ServerAddress) -> str:
        """The server as text for people."""
        return str(server)

    def _make_pauses(self) -> Pauses:
        times = self._times
        return Pauses(
            len(self.settings.servers),
            after_ban=self.settings.after_ban,
            uniform=self._jitter,
            first=times.first_pause,
            longest=times.longest_pause,
            success=times.lasted,
        )

    async def _connect_once(self, server: ServerAddress) -> tuple[bool, float | None, Ended]:
        """One connection, to its end: whether it was registered, for how long, and why it ended."""
        if not server.tls and server.is_name and (port := self._store.policies.port(server.host)) is not None:
            server = replace(server, port=port, tls=True)
        try:
            with trio.CancelScope() as self._connecting:
                link = await open_link(
                    server, self.settings, self._context, connect=self._connect, timeout=self._times.connect
                )
        except UnreachableError as error:
            self.reports.numbers.connects[error.outcome] += 1
            return False, None, error.end
        if self._connecting.cancelled_caught:
            return False, None, Ended("reconfigured")
        session = self.session = self._make_session(server, link)
        try:
            await session.run()
        finally:
            self.session = None
            self._standing.session_ended()
        await self._ended(server, session)
        lasted = None if session.registered_at is None else trio.current_time() - session.registered_at
        return session.registered_at is not None, lasted, session.end

    async def _ended(self, server: ServerAddress, session: IRCSession) -> None:
        if session.registered_at is not None:
            self._nicklen = session.client.state.isupport.nicklen
        elif session.upgrade is None:
            self.reports.numbers.connects[session.end.outcome] += 1
        self._burst = _CAREFUL_BURST if session.end.verdict is Verdict.FLOODED else self.settings.flood_burst
        if session.upgrade is not None:
            self._upgrade = replace(server, port=session.upgrade, tls=True)
        if server.tls and server.is_name and self._store.policies.closed(server.host):
            await self._store.save()

    def _make_session(self, server: ServerAddress, link: Link) -> IRCSession:
        settings = self.settings
        client = IRCClient(
            settings.login,
            version=self._version,
            home=self._home,
            hold=not server.tls and server.is_name,
            tls=server.tls,
            secure=link.secure or settings.insecure,
            nicklen=self._nicklen,
            channels=settings.plans,
            rejoin=settings.rejoin,
            accept=settings.accept,
            uniform=self._jitter,
            trace=partial(self.reports.line, "in") if self.reports.traces else None,
        )
        setting = Setting(client, settings, self._service, self.reports, trusted=link.secure, rate=self._rate)
        hearing = Hearing(client, settings, self._askers, self._wall_clock)
        questions = Questions(
            client,
            settings,
            self._service,
            self.reports,
            askers=self._askers,
            hearing=hearing,
            setting=setting,
            burst=self._burst,
        )
        parts = Parts(client=client, questions=questions, setting=setting, announcer=self._announcer(settings))
        self._standing.session_began(str(server), parts, settings)
        return IRCSession(
            link.stream,
            parts,
            reports=self.reports,
            times=self._times,
            on_state=self._standing.event,
            on_policy=partial(self._learn_policy, server),
        )

    async def _learn_policy(self, server: ServerAddress, seconds: int) -> None:
        if server.is_name and self._store.policies.learn(server.host, server.port, seconds):
            await self._store.save()

    def _announcer(self, settings: NetworkSettings) -> Announcer:
        plans = [
            AnnouncePlan(channel.plan.name, channel.announce, channel.notice)
            for channel in settings.channels
            if channel.announce
        ]
        return Announcer(
            plans,
            every=settings.announce_every,
            quiet_names=settings.quiet_names,
            catch_up=settings.catch_up,
            counts=self.reports.numbers.announcements,
        )

    def _adopt_in(self, session: IRCSession, old: NetworkSettings, new: NetworkSettings) -> None:
        """Apply what a session can change."""
        self._standing.settings = new
        session.questions.adopt(new)
        session.setting.settings = new
        session.announcer = self._announcer(new)
        session.client.adopt(new.login, trio.current_time())
        for event in session.client.channels.update(new.plans, trio.current_time()):
            self._standing.event(event)
        if old.flood_burst != new.flood_burst or old.flood_seconds != new.flood_seconds:
            session.questions.outbox.adjust(seconds=new.flood_seconds, burst=new.flood_burst)
        session.wake()


def _context(settings: NetworkSettings) -> ssl.SSLContext | None:
    """For all servers of the network; also a plain one may lead to TLS by STS."""
    if all(server.path is not None for server in settings.servers):
        return None
    return make_context(settings.tls)
