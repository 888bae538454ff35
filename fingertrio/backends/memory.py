"""The backend that remembers: statuses in a dict, from the configuration or set since, gone when the program ends.

It is the measure of the others: nothing stands between a question and its answer, so it shows what the contract means
and what everything around it costs. It knows no files and no network.

Each user has at most two statuses, a lasting one and one that holds `until` a moment. The latter is shown while it
holds; afterwards the lasting one is, or there is no such user again. A new lasting status takes the place of both. No
status is deeper than that: what was to hold until five and was overtaken by what holds until three is forgotten.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from math import inf
from typing import Annotated

import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.changes import ChangeHub
from fingertrio.names import check_user_name

# Seconds. `until` belongs to the calendar's clock, which may be set while we sleep on the monotonic one: look again.
_LONGEST_SLEEP = 60.0


def _name(text: str) -> str:
    try:
        return check_user_name(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error


def _status(text: str) -> str:
    if not text.strip():
        raise ValueError("the status is empty")
    return text.removesuffix("\n")  # what a multi-line TOML string ends with


class MemoryOptions(BaseModel):
    """The options of the memory backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: dict[Annotated[str, AfterValidator(_name)], Annotated[str, AfterValidator(_status)]] = Field(
        default={}, description="status by login name, in the order in which people should read them"
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryBackend:
    """Lists, sets and emits changes. It answers as soon as it is made; `run` adds telling of statuses that expire.

    Args:
        users: status by login name; when these were set is not known.
        now: the calendar's clock; gives aware datetimes.
    """

    def __init__(self, users: Mapping[str, str], *, now: Callable[[], datetime] = _utc_now) -> None:
        self._lasting = {user: UserInfo(user, status) for user, status in users.items()}
        self._passing: dict[str, tuple[datetime, UserInfo]] = {}  # with the moment until which it holds
        self._now = now
        self._hub = ChangeHub()
        self._planned: datetime | None = None  # the earliest end that `run` sleeps for
        self._replan = trio.Event()

    async def get_user(self, user: str) -> UserInfo | None:
        """What is known of `user`; never raises."""
        await trio.lowlevel.checkpoint()
        return self._answer(user)

    async def get_users(self) -> Sequence[str]:
        """Everybody who has a status now, in the order of their first one."""
        await trio.lowlevel.checkpoint()
        now = self._now()
        passing = [user for user, (until, _) in self._passing.items() if until > now]
        return list(dict.fromkeys([*self._lasting, *passing]))

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set a status, of anybody. Raises BackendError where `until` is no longer ahead."""
        await trio.lowlevel.checkpoint()  # the only one: cancelled here, nothing happened yet
        now = self._now()
        info = UserInfo(user, status, since=now, until=until)
        if until is None:
            self._lasting[user] = info
            self._passing.pop(user, None)
        elif until > now:
            self._passing[user] = (until, info)
            if self._planned is None or until < self._planned:
                self._replan.set()
        else:
            raise BackendError("The time until which the status should hold has passed")
        self._hub.emit(Change(user))
        return info

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change from now on; a slow reader finds each user in it once."""
        return self._hub.changes()

    async def run(self) -> None:
        """Tell of each status that has expired. Never returns."""
        while True:
            now = self._now()
            for user, (until, _) in list(self._passing.items()):
                if until <= now:
                    del self._passing[user]
                    self._hub.emit(Change(user))
            self._replan = trio.Event()
            planned = self._planned = min((until for until, _ in self._passing.values()), default=None)
            with trio.move_on_after(inf if planned is None else min((planned - now).total_seconds(), _LONGEST_SLEEP)):
                await self._replan.wait()

    def _answer(self, user: str) -> UserInfo | None:
        passing = self._passing.get(user)
        if passing is not None and passing[0] > self._now():
            return passing[1]
        return self._lasting.get(user)


@asynccontextmanager
async def open_memory(options: MemoryOptions) -> AsyncIterator[MemoryBackend]:
    """The backend with the users of the configuration; it forgets what was set when the context ends."""
    backend = MemoryBackend(options.users)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
