"""The IRC door: any number of networks, each a task of its own. What one does or meets changes nothing for another.

A fault in one network's task is logged and that network starts again after a pause; the others never notice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial

import trio

from fingertrio.clients import dial
from fingertrio.frontends.irc.announcing import ChangeFollower
from fingertrio.frontends.irc.connecting import Connect
from fingertrio.frontends.irc.network import Network
from fingertrio.frontends.irc.setting import Rate
from fingertrio.frontends.irc.settings import NetworkSettings
from fingertrio.frontends.irc.sts_store import STSStore
from fingertrio.frontends.irc.times import IRCTimes
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.backoff import Backoff

# Between two starts of a network whose task failed, which is a bug.
_FIRST_RESTART = 10.0
_LONGEST_RESTART = 600.0


class IRCFrontend:
    """All networks.

    Args:
        service: provides the statuses.
        observer: logs and counts queries, rejections and changes of state.
        networks: what the operator wants, one entry for each network.
        store: STS policies; by default none are kept.
        version, home: replies to CTCP VERSION and SOURCE.
        times: see `IRCTimes`.
        connect: opens a stream to host and port, or raises OSError or RemoteError.
        jitter: returns a number between its two arguments.
        rate: how often an account may set a status.
        wall_clock: the time of day.

    Raises:
        ValueError: a network cannot run with its settings.
    """

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        networks: Sequence[NetworkSettings],
        store: STSStore | None = None,
        version: str = "fingertrio",
        home: str = "",
        times: IRCTimes | None = None,
        connect: Connect = dial.connect,
        jitter: Callable[[float, float], float] = random.uniform,
        rate: Rate | None = None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._observer = observer
        self._make = partial(
            Network,
            service=service,
            observer=observer,
            store=store or STSStore(None, observer),
            version=version,
            home=home,
            times=times,
            connect=connect,
            jitter=jitter,
            rate=rate,
            wall_clock=wall_clock,
        )
        self.networks = {settings.name: self._make(settings) for settings in networks}
        self._follower = ChangeFollower(service, self._current)
        self._nursery: trio.Nursery | None = None

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Stay on every network until `stopping` is set; then send the open replies, QUIT and return.

        Calls `task_status.started` before there is a connection: an unreachable server must not delay the start of the
        program. The value has the first server and the nick of each: `["irc.example.net:6667 as fingerbot"]`.
        """
        async with trio.open_nursery() as self._nursery:
            for network in self.networks.values():
                network.begin()
                self._nursery.start_soon(self._run, network)
            self._nursery.start_soon(self._follower.run)
            task_status.started([self._describe(network.settings) for network in self.networks.values()])
            await stopping.wait()
            async with trio.open_nursery() as leaving:
                for network in self.networks.values():
                    leaving.start_soon(network.leave, "stopping")
            self._nursery.cancel_scope.cancel()

    def prepare(self, networks: Sequence[NetworkSettings]) -> Callable[[], None]:
        """Make ready for other settings; returns the function that applies them.

        Raises:
            ValueError: a network cannot run with its settings.
        """
        wanted = {settings.name: settings for settings in networks}
        adopts = {name: self.networks[name].prepare(wanted[name]) for name in wanted if name in self.networks}
        new = {name: self._make(settings) for name, settings in wanted.items() if name not in self.networks}

        def apply() -> None:
            gone = [network for name, network in self.networks.items() if name not in wanted]
            restart = [self.networks[name] for name, adopt in adopts.items() if adopt()]
            self.networks = {name: new.get(name) or self.networks[name] for name in wanted}
            if self._nursery is None:
                return
            for network in gone:
                self._nursery.start_soon(self._remove, network)
            for network in restart:
                self._nursery.start_soon(network.reconnect)
            for network in new.values():
                network.begin()
                self._nursery.start_soon(self._run, network)

        return apply

    def _current(self) -> Collection[Network]:
        return self.networks.values()

    async def _run(self, network: Network) -> None:
        backoff = Backoff(_FIRST_RESTART, _LONGEST_RESTART)
        while True:
            try:
                await network.run()
            except Exception as error:  # noqa: BLE001 -- a bug in one network must not end the others
                pause = backoff.pause()
                network.reports.error("irc_network_failed", exc=error, pause=round(pause, 1))
                network.reports.degraded("connection", "failed; restarting", quiet=True)
                await trio.sleep(pause)
            else:
                return

    async def _remove(self, network: Network) -> None:
        await network.leave("reconfigured")
        network.reports.close()

    @staticmethod
    def _describe(settings: NetworkSettings) -> str:
        return f"{settings.servers[0]} as {settings.login.nick}"
