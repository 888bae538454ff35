"""Reads the most recent users into the cache, at the start and whenever the cache was emptied.

After a restart, or after a database was restored, every name would otherwise cost a call to the backend. Those who set
their status last are asked for most. The reading has a bound, in users and in seconds, and nothing waits for it. It
needs a backend that lists its users by time and emits changes, since other answers hold for a second only; a backend
that answers at once needs no warm cache.
"""

from __future__ import annotations

from functools import partial

import trio

from fingertrio.backend import AnswersAtOnce, Backend, BackendError, EmitsChanges, ListsRecent, Recency, UserInfo
from fingertrio.service.cache import AnswerCache
from fingertrio.service.calls import BackendCalls
from fingertrio.service.validity import Validity

WARM_USERS = 1000  # at most, and half of the cache
_PAGE = 100  # users of one call, after which others have their turn
_SECONDS = 2.0  # for all calls of one reading

# Seconds between two readings: a program that changes a database again and again must not keep us reading it.
_PAUSE = 10.0


class Warming:
    """Warms the cache of one service while `run` runs."""

    def __init__(
        self, backend: Backend, calls: BackendCalls, users: AnswerCache[UserInfo | None], validity: Validity
    ) -> None:
        is_useful = isinstance(backend, EmitsChanges) and not isinstance(backend, AnswersAtOnce)
        self._lister = backend if isinstance(backend, ListsRecent) and is_useful else None
        self._calls = calls
        self._users = users
        self._validity = validity
        self._is_cold = trio.Event()
        self._changed: set[str] = set()  # during the call that is under way

    def forget(self, user: str | None) -> None:
        """`user`, or with None any user, may have changed: what is being read may be older."""
        if user is None:
            self._is_cold.set()
        else:
            self._changed.add(user)

    async def run(self, size: int) -> None:
        """Warm the cache, which keeps `size` answers, whenever it has become cold. Never returns, if it is of use."""
        while self._lister is not None:
            await self._is_cold.wait()
            self._is_cold = trio.Event()
            with trio.move_on_after(_SECONDS):
                await self._read(self._lister, min(WARM_USERS, size // 2), size)
            await trio.sleep(_PAUSE)

    async def _read(self, lister: ListsRecent, left: int, size: int) -> None:
        before: Recency | None = None
        while left > 0:
            limit = min(left, _PAGE)
            self._changed.clear()
            try:
                call = partial(lister.get_recent, limit, before)
                found = await self._calls.make("get_recent", call, label="warm_up")
                answers = [self._validity.mark(info, (info,)) for info in found]
            except (BackendError, TypeError, ValueError):  # reported, or will be when somebody asks for that user
                return
            if self._is_cold.is_set():
                return
            for answer in answers:
                user = answer.value.user
                if user not in self._changed and user not in self._users.flights and not self._users.find(user):
                    self._users.keep(user, answer, size)
            if len(found) < limit:
                return
            before = Recency.of(found[-1])
            left -= limit
