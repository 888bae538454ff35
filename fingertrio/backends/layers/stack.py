"""Combines open backends into one. Knows what the layers can do, not which backends they are.

A capability is a method that exists (see `fingertrio.backend`), so a capability that the layers lack must be absent
from the whole. Each capability is a class of its own here, and `stack_layers` gives its method to the whole if a layer
has it. Emitting changes is different, because all layers must do it and a task must run: that is `EmittingBackend`.
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
    ClearsStatus,
    EmitsChanges,
    KeepsHistory,
    ListsUsers,
    SetsStatus,
    TellsStaleness,
    UserInfo,
)
from fingertrio.changes import ChangeFeed, ChangeHub

# Seconds after which an answer without one of the layers is announced as changed. It is the service's default
# `cache_ttl`, the time for which the service keeps an answer from a backend that does not emit changes.
_INCOMPLETE_TTL = 1.0

# Seconds between two log messages about one layer's failures. A layer that fails for some names only could otherwise
# fill the log.
_LOG_INTERVAL = 60.0

_ELSEWHERE = "The status of this user comes from a source that cannot be set here"

_log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SkippedError(Exception):
    """A layer failed and is skipped."""


class OpenLayer:
    """An open layer, and whether its last request failed. The arguments are those of `Layer`."""

    def __init__(self, name: str, backend: Backend, skip_after: float | None = None) -> None:
        self.name = name
        self.backend = backend
        self._skip_after = skip_after
        self._tells_staleness = backend if isinstance(backend, TellsStaleness) else None
        self._failing_since: datetime | None = None
        self._failing_from = inf  # the same on trio's clock
        self._failure_logged = False
        self._logged_at = -inf

    def stale_since(self) -> datetime | None:
        """Since when its answers, or its absence from answers, may be out of date; None: they are current."""
        own = None if self._tells_staleness is None else self._tells_staleness.stale_since()
        # A failure for one name, followed by an answer for the next, makes no other answer stale.
        failing = self._failing_since if trio.current_time() - self._failing_from >= _INCOMPLETE_TTL else None
        return min((since for since in (own, failing) if since is not None), default=None)

    async def ask(self, method: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call `method`, one of the backend's.

        Raises:
            SkippedError: it failed, and the layer may be skipped.
            Exception: it failed, and the layer may not be skipped.
        """
        if self._skip_after is None:
            return await method(*args)
        try:
            with trio.fail_after(self._skip_after):
                answer = await method(*args)
        except Exception as error:
            self._log_failure(error)
            raise SkippedError from error
        self._failing_since, self._failing_from = None, inf
        if self._failure_logged:
            self._failure_logged = False
            _log.warning("%s answers again", self.name)
        return answer

    def _log_failure(self, error: Exception) -> None:
        """Once until it answers again, and at most once a minute.

        An exception other than BackendError and a timeout is a bug in the backend, so it is logged as an error.
        """
        now = trio.current_time()
        if self._failing_since is None:
            self._failing_since, self._failing_from = datetime.now(UTC), now
        if self._failure_logged or now - self._logged_at < _LOG_INTERVAL:
            return
        self._failure_logged, self._logged_at = True, now
        if isinstance(error, trio.TooSlowError):
            _log.warning("%s is skipped: no answer within %g seconds", self.name, self._skip_after)
        else:
            level = logging.WARNING if isinstance(error, BackendError) else logging.ERROR
            _log.log(level, "%s failed and is skipped", self.name, exc_info=error)


class LayeredBackend:
    """Answers from several layers. Made by `stack_layers`, which adds the capabilities below."""

    def __init__(self, layers: Sequence[OpenLayer]) -> None:
        self.layers = layers

    async def get_user(self, user: str) -> UserInfo | None:
        """The answer of the first layer that knows `user`."""
        found = await self.find(user)
        return None if found is None else found[0]

    def stale_since(self) -> datetime | None:
        """Since when a layer is out of date or skipped, so that answers may be out of date."""
        return min((since for layer in self.layers if (since := layer.stale_since()) is not None), default=None)

    async def find(self, user: str) -> tuple[UserInfo, OpenLayer] | None:
        """The answer of the first layer that knows `user`, and that layer."""
        found = None
        skipped = False
        for layer in self.layers:
            try:
                info = await layer.ask(layer.backend.get_user, user)
            except SkippedError:
                skipped = True
                continue
            if info is not None:
                found = info, layer
                break
        if skipped:
            self.mark_incomplete(user)
        return found

    def mark_incomplete(self, user: str | None) -> None:
        """An answer for `user`, or the list (None), lacks a skipped layer.

        Nothing to do here: without changes the service keeps an answer for its `cache_ttl` only.
        """


class LayeredList(ListsUsers):
    """The capability ListsUsers of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    async def get_users(self) -> Sequence[str]:
        """The users of all layers, each name once, in the order of the layers."""
        users: dict[str, None] = {}
        skipped = False
        for layer in self._whole.layers:
            if isinstance(lister := layer.backend, ListsUsers):
                try:
                    users |= dict.fromkeys(await layer.ask(lister.get_users))
                except SkippedError:
                    skipped = True
        if skipped:
            self._whole.mark_incomplete(None)
        return list(users)


class LayeredSetting(SetsStatus):
    """The capability SetsStatus of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set it in the first layer that can. Raises BackendError if a layer above that one knows the user too."""
        return await (await _find_setter(self._whole, user)).set_user(user, status, until=until)


class LayeredClearing(ClearsStatus):
    """The capability ClearsStatus of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    async def clear_user(self, user: str) -> UserInfo | None:
        """Clear it in the layer that `set_user` would set it in. Raises BackendError if it comes from another layer."""
        setter = await _find_setter(self._whole, user)
        if isinstance(setter, ClearsStatus):
            cleared = await setter.clear_user(user)
            if cleared is None and await self._whole.get_user(user) is not None:
                raise BackendError(_ELSEWHERE)
            return cleared
        raise AssertionError("the whole has this capability only if that layer has it")


async def _find_setter(whole: LayeredBackend, user: str) -> SetsStatus:
    """The first layer that can set. Raises BackendError if a layer above it knows the user."""
    for layer in whole.layers:
        if isinstance(setter := layer.backend, SetsStatus):
            return setter
        with suppress(SkippedError):
            if await layer.ask(layer.backend.get_user, user) is not None:
                raise BackendError(_ELSEWHERE)
    raise AssertionError("the whole has this capability only if a layer has it")


class LayeredHistory(KeepsHistory):
    """The capability KeepsHistory of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """The history in the layer that answers for the user; without a current status, in the first that has one."""
        layers = self._whole.layers
        if (found := await self._whole.find(user)) is not None:
            info, layer = found
            if not isinstance(layer.backend, KeepsHistory):  # only the current status is known
                began = info.since is not None and (before is None or info.since < before)
                return [info][:limit] if began else []
            layers = [layer]
        for layer in layers:
            if isinstance(historian := layer.backend, KeepsHistory):
                with suppress(SkippedError):
                    if history := await layer.ask(historian.get_history, user, limit, before):
                        return history
        return []


class EmittingBackend(LayeredBackend):
    """A layered backend that emits changes, because each of its layers does; `run` must run."""

    def __init__(self, layers: Sequence[OpenLayer]) -> None:
        super().__init__(layers)
        self._hub = ChangeHub()
        self._incomplete: dict[str | None, None] = {}
        self._marked = trio.Event()

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        """A feed of every layer's changes, and of incomplete answers. It ends when a layer's feed ends."""
        async with self._hub.changes() as feed, trio.open_nursery() as nursery:
            for layer in self.layers:
                if isinstance(emitter := layer.backend, EmitsChanges):  # true for all of them
                    await nursery.start(_forward_changes, layer.name, emitter, feed)
            yield feed
            nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """Announce each incomplete answer as changed after a while. Never returns."""
        while True:
            await self._marked.wait()
            await trio.sleep(_INCOMPLETE_TTL)
            incomplete, self._incomplete, self._marked = self._incomplete, {}, trio.Event()
            self._hub.emit_all(incomplete)

    def mark_incomplete(self, user: str | None) -> None:
        self._incomplete[user] = None
        self._marked.set()


class _FeedEndedError(Exception):
    """A layer's feed ended, as it may; the feed of the whole must then end too, because it is incomplete."""


async def _forward_changes(
    name: str, emitter: EmitsChanges, feed: ChangeFeed, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Put a layer's changes into `feed`, without waiting for its reader. Started once the layer's feed is entered."""
    async with emitter.changes() as changes:
        task_status.started()
        async for change in changes:
            feed.put(change)
    raise _FeedEndedError(f"the change feed of {name} ended")


def _can(capability: type) -> Callable[[Sequence[Backend]], bool]:
    return lambda backends: any(isinstance(backend, capability) for backend in backends)


def _setter_can_clear(backends: Sequence[Backend]) -> bool:
    return isinstance(next((backend for backend in backends if isinstance(backend, SetsStatus)), None), ClearsStatus)


# The method of each capability, the class above that provides it, and whether certain layers give it.
_CAPABILITIES = (
    ("get_users", LayeredList, _can(ListsUsers)),
    ("set_user", LayeredSetting, _can(SetsStatus)),
    ("clear_user", LayeredClearing, _setter_can_clear),
    ("get_history", LayeredHistory, _can(KeepsHistory)),
)


def stack_layers(layers: Sequence[OpenLayer]) -> LayeredBackend:
    """The backend over `layers`, with the capabilities that they give it."""
    backends = [layer.backend for layer in layers]
    emits = all(isinstance(backend, EmitsChanges) for backend in backends)
    whole = EmittingBackend(layers) if emits else LayeredBackend(layers)
    for method, provider, applies in _CAPABILITIES:
        if applies(backends):
            setattr(whole, method, getattr(provider(whole), method))
    return whole
