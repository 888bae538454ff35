"""Staying on an IRC server: connect, hold the session while it lasts, pause, come back.

A server that is down, refuses us or goes away is normal life and never raises here: we come back after longer and
longer pauses, and the log has a warning for each change for the worse, not for each attempt. What does raise is a bug,
and the supervisor's.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from fingertrio.frontends.irc.session import IRCTimes, Session
from fingertrio.observe.observer import Observer, describe
from fingertrio.service import FingerService
from fingertrio.wire.backoff import Backoff
from fingertrio.wire.irc_client import IRCClient

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]


class IRCFrontend:
    """One server, one nick.

    Args:
        service: who knows the statuses.
        observer: hears of queries, refusals and changes of state.
        host: the server's name or address.
        port: its port, without TLS.
        nick: what we wish to be called; where it is taken we take one like it and ask for ours again when idle.
        username: what stands after the "!" in our source.
        realname: what WHOIS shows.
        version: what CTCP VERSION is answered with.
        times: see `IRCTimes`.
        connect: opens a stream to host and port, or raises OSError.
        jitter: a number between the two given.

    Raises:
        ValueError: a name that cannot be sent to an IRC server.
    """

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        host: str,
        port: int,
        nick: str,
        username: str = "fingertrio",
        realname: str = "Send me a user's name to learn their status",
        version: str = "fingertrio",
        times: IRCTimes | None = None,
        connect: Connect = trio.open_tcp_stream,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._service = service
        self._observer = observer
        self._host = host
        self._port = port
        self._nick = nick
        self._times = times or IRCTimes()
        self._connect = connect
        self._jitter = jitter
        self._make_client = partial(IRCClient, nick, username=username, realname=realname, version=version)
        self._make_client()  # what it refuses should fail now, and not with every connection
        self._session: Session | None = None
        self._warned = False  # that we are not there; what follows a session is always worth a warning

    @property
    def server(self) -> str:
        """Host and port in one word."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be on the server until `stopping` is set; then send what is under way, leave with a QUIT and return.

        It is started at once, before there is a connection: that there is none is no reason to hold up the program.
        The value of `started` is where we shall be: `["irc.example.net:6667 as fingerbot"]`.
        """
        self._session = None
        task_status.started([f"{self.server} as {self._nick}"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay_connected, stopping)
            await stopping.wait()
            await self._leave()
            nursery.cancel_scope.cancel()

    async def _leave(self) -> None:
        if self._session is not None:
            await self._session.leave()

    async def _stay_connected(self, stopping: trio.Event) -> None:
        times = self._times
        backoff = Backoff(times.first_pause, times.longest_pause, uniform=self._jitter)
        while True:
            registered_at, reason = await self._connect_once()
            if stopping.is_set():
                return  # it ended because we left
            if registered_at is not None and trio.current_time() - registered_at >= times.lasted:
                backoff.reset()
            pause = backoff.pause()
            self._tell(registered_at is not None, reason, pause)
            await trio.sleep(pause)

    def _tell(self, was_registered: bool, reason: str, pause: float) -> None:
        """A warning for each change for the worse; that it is still as bad is information."""
        tell: Callable[..., None] = self._observer.info
        event = "irc_still_unreachable"
        if was_registered or not self._warned:
            tell = self._observer.warning
            event = "irc_lost" if was_registered else "irc_unreachable"
        tell(event, server=self.server, reason=reason, pause=round(pause, 1))
        self._warned = True
        self._observer.degraded("irc_connection", reason, essential=False, quiet=True)

    async def _connect_once(self) -> tuple[float | None, str]:
        """One connection, to its end: when it was registered (None: never), and why it ended."""
        try:
            with trio.fail_after(self._times.connect):
                stream = await self._connect(self._host, self._port)
        except trio.TooSlowError:
            return None, "connect time-out"
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            return None, describe(error)
        session = self._session = Session(
            stream,
            self._make_client(),
            service=self._service,
            observer=self._observer,
            times=self._times,
            on_registered=self._on_registered,
        )
        try:
            await session.run()
        finally:
            self._session = None
        return session.registered_at, session.reason

    def _on_registered(self, nick: str) -> None:
        self._observer.recovered("irc_connection")
        self._observer.info("irc_registered", server=self.server, nick=nick)
