"""Following the changes of statuses for the channels that hear of them.

One task follows the service's feed for all networks. For each change it asks the service for the status, and tells each
session's announcer what it was before and what it is now. So that a correction back to the old status is recognised,
the statuses are read once at the start, as far as the backend lists its users.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import trio

from fingertrio.backend import BackendError
from fingertrio.frontends.irc.answer import one_line
from fingertrio.frontends.irc.network import Network
from fingertrio.service import FingerService

# Users whose status is remembered, one line each.
_KNOWN_LIMIT = 10_000
_READ_AT_START = 1000

_LOOK_AGAIN = 60.0  # seconds; a reload may have brought the first channel


class ChangeFollower:
    """Args: `service` has the changes; `networks` returns the networks of now."""

    def __init__(self, service: FingerService, networks: Callable[[], Collection[Network]]) -> None:
        self._service = service
        self._networks = networks
        self._known: dict[str, str] = {}

    async def run(self) -> None:
        """Follow, for as long as any channel wants to hear of changes; forever."""
        while True:
            if self._is_wanted():
                await self._follow()
            await trio.sleep(_LOOK_AGAIN)

    def _is_wanted(self) -> bool:
        return any(channel.announce for network in self._networks() for channel in network.settings.channels)

    async def _follow(self) -> None:
        async with self._service.changes() as feed:
            await self._read_all()
            async for change in feed:
                if change.user is None:
                    # Anything may have changed, and nothing says when: what waits may be outdated.
                    self._known.clear()
                    for network in self._networks():
                        if network.session is not None:
                            network.session.announcer.forget()
                    await self._read_all()
                else:
                    await self._changed(change.user)
                if not self._is_wanted():
                    return

    async def _read_all(self) -> None:
        if not self._service.can_list:
            return
        try:
            users = await self._service.get_users()
        except BackendError:
            return
        for user in users[:_READ_AT_START]:
            if (status := await self._status(user)) is not None:
                self._known[user] = status

    async def _changed(self, user: str) -> None:
        after = await self._status(user)
        if after is None:
            return
        before = self._known.pop(user, None)
        self._known[user] = after
        if len(self._known) > _KNOWN_LIMIT:
            del self._known[next(iter(self._known))]
        if before == after:
            return
        now = trio.current_time()
        for network in self._networks():
            if (session := network.session) is not None:
                hears = partial(session.client.channels.may_speak, now=now)
                session.announcer.changed(user, before or "", after, now, hears)
                session.questions.due.set()

    async def _status(self, user: str) -> str | None:
        """The first line of a status, empty if there is none; None: it cannot be read now."""
        try:
            info = await self._service.get_user(user)
        except BackendError:
            return None
        return "" if info is None else one_line(info.status)
