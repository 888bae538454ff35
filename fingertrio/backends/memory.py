"""Statuses in a dict: from the configuration, or set since the start; lost when the program ends.

The reference for other backends: it shows what the contract means and, as its own work is close to nothing, what the
rest of the program costs. It uses no files and no network.

Each user has at most two statuses: one without an end, and one with an end (`until`), which is shown until then.
Afterwards the one without an end is shown again, or the user is unknown again. Setting a status without an end replaces
both. Setting a status with an end replaces an earlier one with an end, even if the earlier one would have ended later.

The recent statuses are a sorted list in which a change moves one user, so a page of it costs the same for any number of
users.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from types import MappingProxyType
from typing import Annotated

import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fingertrio.backend import BackendError, Change, Recency, UserInfo
from fingertrio.changes import ChangeHub
from fingertrio.names import check_user_name
from fingertrio.wire.by_time import ByTime

# Seconds. `until` is a time of the calendar clock, which may be set while we sleep on the monotonic one: check again.
_LONGEST_SLEEP = 60.0


def _name(text: str) -> str:
    try:
        return check_user_name(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from error


def _status(text: str) -> str:
    if not text.strip():
        raise ValueError("the status is empty")
    return text.removesuffix("\n")  # the end of a multi-line TOML string


class MemoryOptions(BaseModel):
    """The options of the memory backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: dict[Annotated[str, AfterValidator(_name)], Annotated[str, AfterValidator(_status)]] = Field(
        default={}, description="status by login name, in the order of the list of users"
    )


_NO_PROFILE: tuple[None, Mapping[str, str]] = (None, MappingProxyType({}))


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryBackend:
    """Has every capability but history. Only the changes of statuses that end need `run`.

    Args:
        users: status by login name, without `since`.
        now: the calendar clock; returns aware datetimes.
    """

    def __init__(self, users: Mapping[str, str], *, now: Callable[[], datetime] = _utc_now) -> None:
        self._lasting = {user: UserInfo(user, status) for user, status in users.items()}
        self._passing: dict[str, tuple[datetime, UserInfo]] = {}  # with its `until`
        self._ended: set[str] = set()  # users whose passing status has ended, and the change was emitted
        self._profiles: dict[str, tuple[str | None, Mapping[str, str]]] = {}
        self._order = ByTime((user, None) for user, status in users.items() if status)
        self._places_until: datetime | None = None  # the earliest `until` of a status that has a place
        self._now = now
        self._hub = ChangeHub()
        self._planned: datetime | None = None  # the earliest `until` that `run` waits for
        self._replan = trio.Event()

    async def get_user(self, user: str) -> UserInfo | None:
        """The status that holds now; None: no such user. Never raises."""
        await trio.lowlevel.checkpoint()
        return self._answer(user)

    def get_user_now(self, user: str) -> UserInfo | None:
        """The same at once: see `AnswersAtOnce`."""
        return self._answer(user)

    async def get_users(self) -> Sequence[str]:
        """Every user who has a status now, in the order of their first one."""
        await trio.lowlevel.checkpoint()
        now = self._now()
        passing = [user for user, (until, _) in self._passing.items() if until > now]
        return list(dict.fromkeys([*self._lasting, *passing]))

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set the status of any user. Raises BackendError if `until` has passed."""
        await trio.lowlevel.checkpoint()  # the only checkpoint: if cancelled here, nothing has changed
        now = self._now()
        name, details = self._profiles.get(user, _NO_PROFILE)
        info = UserInfo(user, status, name, now, until, details)
        if until is None:
            self._lasting[user] = info
            self._passing.pop(user, None)
        elif until > now:
            self._passing[user] = (until, info)
            self._ended.discard(user)
            self._places_until = until if self._places_until is None else min(until, self._places_until)
            if self._planned is None or until < self._planned:
                self._replan.set()
        else:
            raise BackendError("The end of the status has passed already")
        self._changed(user)
        return info

    async def clear_user(self, user: str) -> UserInfo | None:
        """Clear the status of `user`, also the one that would hold again when a passing one ends."""
        await trio.lowlevel.checkpoint()  # the only one, as in `set_user`
        if self._answer(user) is None:
            return None
        name, details = self._profiles.get(user, _NO_PROFILE)
        info = self._lasting[user] = UserInfo(user, "", name, self._now(), None, details)
        self._passing.pop(user, None)
        self._changed(user)
        return info

    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        """Replace the full name and the details of any user."""
        await trio.lowlevel.checkpoint()  # the only one, as in `set_user`
        kept = MappingProxyType(dict(details))
        self._profiles[user] = (name, kept)
        if (lasting := self._lasting.get(user)) is not None:
            self._lasting[user] = replace(lasting, name=name, details=kept)
        if (passing := self._passing.get(user)) is not None:
            self._passing[user] = (passing[0], replace(passing[1], name=name, details=kept))
        self._changed(user)
        return self._answer(user)

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """The newest statuses. Those of the configuration have no time, and come last."""
        await trio.lowlevel.checkpoint()
        if self._places_until is not None and self._places_until <= (now := self._now()):
            for user in self._passing:
                self._place(user)
            self._places_until = min((until for until, _ in self._passing.values() if until > now), default=None)
        order = self._order
        users = order.first(limit) if before is None else order.behind(limit, before.since, before.user)
        return [info for user in users if (info := self._answer(user)) is not None]

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change from now on; a slow reader gets each user once."""
        return self._hub.changes()

    async def run(self) -> None:
        """Emit a change when a status ends. Never returns."""
        while True:
            now = self._now()
            for user, (until, _) in self._passing.items():
                # An ended status is kept: it holds again if the clock was wrong and is set back.
                if (until <= now) != (user in self._ended):
                    self._ended ^= {user}
                    self._changed(user)
            self._replan = trio.Event()
            planned = self._planned = min((until for until, _ in self._passing.values() if until > now), default=None)
            pause = _LONGEST_SLEEP if self._passing else inf
            if planned is not None:
                pause = min((planned - now).total_seconds(), pause)
            with trio.move_on_after(pause):
                await self._replan.wait()

    def _changed(self, user: str) -> None:
        self._place(user)
        self._hub.emit(Change(user))

    def _place(self, user: str) -> None:
        """Move the user to the place of the present status, if any."""
        info = self._answer(user)
        if info is not None and info.status:
            self._order.put(user, info.since)
        else:
            self._order.discard(user)

    def _answer(self, user: str) -> UserInfo | None:
        passing = self._passing.get(user)
        if passing is not None and passing[0] > self._now():
            return passing[1]
        return self._lasting.get(user)


@asynccontextmanager
async def open_memory(options: MemoryOptions) -> AsyncIterator[MemoryBackend]:
    """The backend with the users of the configuration. Statuses set later are lost when the context ends."""
    backend = MemoryBackend(options.users)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
