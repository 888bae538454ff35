"""Open backends, one on another, as one. It knows what they can do, and not what they are.

What the layers cannot do must not be there at all, since a capability is a method that exists. So the class of the
whole is put together from one part for each capability that the layers give it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from math import inf
from typing import TypeVar, TypeVarTuple

import trio

from fingertrio.backend import (
    Backend,
    BackendError,
    Change,
    EmitsChanges,
    KeepsHistory,
    ListsUsers,
    SetsStatus,
    TellsStaleness,
    UserInfo,
)
from fingertrio.changes import ChangeFeed, ChangeHub

# Seconds after which an answer that was given without a layer is told to have changed: no more than the service grants
# by default to an answer of which it hears nothing.
_DOUBT = 1.0

# Seconds between two reports of one layer's failures, for one that fails for some names would fill the log by them.
_TELL_AGAIN = 60.0

_log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _LeftOutError(Exception):
    """A layer failed and is left out."""


class Opened:
    """A layer that is open, and whether it failed when it was asked last. Its arguments are those of `Layer`."""

    def __init__(self, name: str, backend: Backend, skip_after: float | None = None) -> None:
        self.name = name
        self.backend = backend
        self._skip_after = skip_after
        self._ages = backend if isinstance(backend, TellsStaleness) else None
        self._fails_since: datetime | None = None
        self._fails_from = inf  # the same on trio's clock
        self._told = False  # the log has heard that it fails
        self._told_at = -inf

    def stale_since(self) -> datetime | None:
        """Since when what it answers, or that it knows nobody, may be out of date; None: it is true."""
        own = None if self._ages is None else self._ages.stale_since()
        # That it fails for one name, and answers for the next, says nothing of the others.
        fails = self._fails_since if trio.current_time() - self._fails_from >= _DOUBT else None
        return min((since for since in (own, fails) if since is not None), default=None)

    async def ask(self, method: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """What `method`, which is the backend's, answers.

        Raises:
            _LeftOutError: it failed, and may be left out.
            Exception: it failed, and may not.
        """
        if self._skip_after is None:
            return await method(*args)
        try:
            with trio.fail_after(self._skip_after):
                answer = await method(*args)
        except Exception as error:
            self._tell_failure(error)
            raise _LeftOutError from error
        self._fails_since, self._fails_from = None, inf
        if self._told:
            self._told = False
            _log.warning("%s answers again", self.name)
        return answer

    def _tell_failure(self, error: Exception) -> None:
        """Once, until it answers again, and no more than once a minute.

        What a backend does not foresee is a mistake in it, and more than a warning.
        """
        now = trio.current_time()
        if self._fails_since is None:
            self._fails_since, self._fails_from = datetime.now(UTC), now
        if self._told or now - self._told_at < _TELL_AGAIN:
            return
        self._told, self._told_at = True, now
        if isinstance(error, trio.TooSlowError):
            _log.warning("%s is left out: no answer within %g seconds", self.name, self._skip_after)
        else:
            level = logging.WARNING if isinstance(error, BackendError) else logging.ERROR
            _log.log(level, "%s fails and is left out", self.name, exc_info=error)


class LayeredBackend:
    """What any layers can do; the parts below add what these can. Made by `pile`."""

    def __init__(self, layers: Sequence[Opened]) -> None:
        self._layers = layers

    async def get_user(self, user: str) -> UserInfo | None:
        """What the first layer that knows `user` says."""
        found = await self._find(user)
        return None if found is None else found[0]

    def stale_since(self) -> datetime | None:
        """Since when one of the layers is out of date or left out, so that what is answered may be out of date."""
        return min((since for layer in self._layers if (since := layer.stale_since()) is not None), default=None)

    async def _find(self, user: str) -> tuple[UserInfo, Opened] | None:
        """The same, with the layer."""
        found = None
        left_out = False
        for layer in self._layers:
            try:
                info = await layer.ask(layer.backend.get_user, user)
            except _LeftOutError:
                left_out = True
                continue
            if info is not None:
                found = info, layer
                break
        if left_out:
            self._doubt(user)
        return found

    def _doubt(self, user: str | None) -> None:
        """What is answered for `user` lacks a layer. Where no changes are told, nobody keeps an answer for long."""


class _Lists(LayeredBackend):
    async def get_users(self) -> Sequence[str]:
        """Everybody whom a layer lists, each name once, in the order of the layers."""
        users: dict[str, None] = {}
        left_out = False
        for layer in self._layers:
            if isinstance(lister := layer.backend, ListsUsers):
                try:
                    users |= dict.fromkeys(await layer.ask(lister.get_users))
                except _LeftOutError:
                    left_out = True
        if left_out:
            self._doubt(None)
        return list(users)


class _Sets(LayeredBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set it in the first layer that can. Raises BackendError where one above it knows the user, too."""
        for layer in self._layers:
            if isinstance(setter := layer.backend, SetsStatus):
                return await setter.set_user(user, status, until=until)
            with suppress(_LeftOutError):
                if await layer.ask(layer.backend.get_user, user) is not None:
                    raise BackendError("The status of this user is kept where it cannot be set from here")
        raise AssertionError("this part is only there where a layer can set")


class _KeepsHistory(LayeredBackend):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """That of the layer that answers; of who has no status now, that of the first layer that remembers one."""
        layers = self._layers
        if (found := await self._find(user)) is not None:
            info, layer = found
            if not isinstance(layer.backend, KeepsHistory):  # then the present is all there is
                began = info.since is not None and (before is None or info.since < before)
                return [info][:limit] if began else []
            layers = [layer]
        for layer in layers:
            if isinstance(historian := layer.backend, KeepsHistory):
                with suppress(_LeftOutError):
                    if history := await layer.ask(historian.get_history, user, limit, before):
                        return history
        return []


class TellingBackend(LayeredBackend):
    """The part that emits changes; `run` must run."""

    def __init__(self, layers: Sequence[Opened]) -> None:
        super().__init__(layers)
        self._hub = ChangeHub()
        self._doubts: dict[str | None, None] = {}
        self._doubted = trio.Event()

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        """A feed of every layer's changes, and of what was answered without one. It breaks when a layer's does."""
        async with self._hub.changes() as feed, trio.open_nursery() as nursery:
            for layer in self._layers:
                if isinstance(emitter := layer.backend, EmitsChanges):  # as all of them are
                    await nursery.start(_pour, layer.name, emitter, feed)
            yield feed
            nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """Tell, a while after it, of each answer that was given without a layer. Never returns."""
        while True:
            await self._doubted.wait()
            await trio.sleep(_DOUBT)
            doubts, self._doubts, self._doubted = self._doubts, {}, trio.Event()
            self._hub.emit_all(doubts)

    def _doubt(self, user: str | None) -> None:
        self._doubts[user] = None
        self._doubted.set()


class _FeedEndedError(Exception):
    """A layer's changes ended, which a feed may; ours must break then, for it is not whole."""


async def _pour(
    name: str, emitter: EmitsChanges, feed: ChangeFeed, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Put a layer's changes into `feed`, which takes them without waiting. Started when the layer's own is entered."""
    async with emitter.changes() as changes:
        task_status.started()
        async for change in changes:
            feed.put(change)
    raise _FeedEndedError(f"the changes of {name} ended")


# Each capability with how many of the layers must have it, and the part that makes one of theirs.
_PARTS = (
    (ListsUsers, any, _Lists),
    (SetsStatus, any, _Sets),
    (KeepsHistory, any, _KeepsHistory),
    (EmitsChanges, all, TellingBackend),
)


def pile(layers: Sequence[Opened]) -> LayeredBackend:
    """The backend over `layers`, with the capabilities that they give it."""
    parts = [
        part for capability, enough, part in _PARTS if enough(isinstance(layer.backend, capability) for layer in layers)
    ]
    made: LayeredBackend = type("LayeredBackend", (*parts, LayeredBackend), {})(layers)
    return made
