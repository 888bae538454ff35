"""Staying on an IRC server: connect, run the session, pause, connect again.

A server that is down, rejects us or disconnects is expected and never raises here. The pauses between attempts grow,
and the log has one warning for each change for the worse, not one for each attempt. Any exception that does leave
`serve` is a bug, and the supervisor restarts the door.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from fingertrio.clients import dial
from fingertrio.frontends.irc.session import IRCSession, IRCTimes
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.backoff import Backoff
from fingertrio.wire.irc_client import IRCClient

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]


class IRCFrontend:
    """One server, one nick.

    Args:
        service: provides the statuses.
        observer: logs and counts queries, rejections and changes of state.
        host: the server's name or address.
        port: the server's port, without TLS.
        nick: the nick we want. If it is in use, we take a similar one and ask for this one again when idle.
        username: the user in our source.
        realname: shown by WHOIS.
        version: the reply to CTCP VERSION.
        times: see `IRCTimes`.
        connect: opens a stream to host and port, or raises OSError or RemoteError.
        jitter: returns a number between its two arguments.

    Raises:
        ValueError: a name cannot be sent to an IRC server.
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
        connect: Connect = dial.connect,
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
        self._make_client()  # invalid names must fail now, not at every connection
        self._session: IRCSession | None = None
        self._warned = False  # logged that the server is unreachable; the end of a session is always logged

    @property
    def server(self) -> str:
        """Host and port as one string."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Stay on the server until `stopping` is set; then send the open replies, QUIT and return.

        Calls `task_status.started` before there is a connection: an unreachable server must not delay the start of the
        program. The value is the server and the nick: `["irc.example.net:6667 as fingerbot"]`.
        """
        self._session = None
        self._observer.degraded("irc_connection", "not connected yet", essential=False, quiet=True)
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
                return  # our own QUIT ended it
            if registered_at is not None and trio.current_time() - registered_at >= times.lasted:
                backoff.reset()
            pause = backoff.pause()
            self._report(registered_at is not None, reason, pause)
            await trio.sleep(pause)

    def _report(self, was_registered: bool, reason: str, pause: float) -> None:
        """Log a warning for a change for the worse, and info while the server stays unreachable."""
        log: Callable[..., None] = self._observer.info
        event = "irc_still_unreachable"
        if was_registered or not self._warned:
            log = self._observer.warning
            event = "irc_lost" if was_registered else "irc_unreachable"
        log(event, server=self.server, reason=reason, pause=round(pause, 1))
        self._warned = True
        self._observer.degraded("irc_connection", reason, essential=False, quiet=True)

    async def _connect_once(self) -> tuple[float | None, str]:
        """One connection, to its end: the time of registration (None: never), and the reason for the end."""
        try:
            with trio.fail_after(self._times.connect):
                stream = await self._connect(self._host, self._port)
        except trio.TooSlowError:
            return None, "connect timed out"
        except OSError as error:
            return None, error.strerror or str(error)
        except dial.RemoteError as error:
            return None, str(error)
        session = self._session = IRCSession(
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
