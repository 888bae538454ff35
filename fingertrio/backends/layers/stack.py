"""Combines open backends into one. Knows what the layers can do, not which backends they are.

A capability is a method that exists (see `fingertrio.backend`), so a capability that the layers lack must be absent
from the whole. Each capability is a class of its own here, and `stack_layers` gives its method to the whole if a layer
has it. Emitting changes is different, because all layers must do it and a task must run: that is `EmittingBackend`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

import trio

from fingertrio.backend import (
    AnswersAtOnce,
    Backend,
    BackendError,
    Change,
    ClearsStatus,
    EmitsChanges,
    KeepsHistory,
    ListsUsers,
    SetsDetails,
    SetsStatus,
    UserInfo,
)
from fingertrio.backends.layers.open_layer import INCOMPLETE_TTL, OpenLayer, SkippedError
from fingertrio.backends.layers.recent import LayeredRecent, can_list_recent
from fingertrio.changes import ChangeFeed, ChangeHub

_ELSEWHERE = "The status of this user comes from a source that cannot be set here"


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
        """The answer of the first layer that knows `user`, and that layer.

        The answer of a layer that falls through is completed by the next one that knows the user; then the layer is the
        one that the status comes from.
        """
        found = None
        skipped = False
        for layer in self.layers:
            try:
                info = await layer.ask(layer.backend.get_user, user)
            except SkippedError:
                skipped = True
                continue
            if info is not None:
                found = (info, layer) if found is None else _completed(*found, info, layer)
                if not layer.falls_through:
                    break
        if skipped:
            self.mark_incomplete(user)
        return found

    def mark_incomplete(self, user: str | None) -> None:
        """An answer for `user`, or the list (None), lacks a skipped layer.

        Nothing to do here: without changes the service keeps an answer for its `cache_ttl` only.
        """


def _completed(above: UserInfo, upper: OpenLayer, below: UserInfo, lower: OpenLayer) -> tuple[UserInfo, OpenLayer]:
    """What two layers show together, and the one of them that the status comes from."""
    shown, layer = (above, upper) if above.status else (below, lower)
    details = MappingProxyType({**below.details, **above.details})
    return replace(shown, name=above.name or below.name, details=details), layer


class LayeredAnswers(AnswersAtOnce):
    """The capability AnswersAtOnce of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    def get_user_now(self, user: str) -> UserInfo | None:
        """The answer, if the layer that gives it and all layers above answer at once."""
        for layer in self._whole.layers:
            if (info := layer.ask_now(user)) is not None:
                if layer.falls_through:  # the layers below are rarely in memory, too
                    raise LookupError(user)
                return info
        return None


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


class LayeredDetails(SetsDetails):
    """The capability SetsDetails of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        """Set them in the layer that `set_user` would set a status in. Raises BackendError as clear_user does."""
        setter: object = await _find_setter(self._whole, user)
        found = await self._whole.find(user)
        if found is not None and found[1].backend is not setter and await _get_own(setter, user) is None:
            raise BackendError(_ELSEWHERE)
        if isinstance(setter, SetsDetails):
            return await setter.set_details(user, name, details)
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


async def _get_own(setter: object, user: str) -> UserInfo | None:
    """What this layer itself has of the user, where another one shows through it."""
    return await setter.get_user(user) if isinstance(setter, Backend) else None


class LayeredHistory(KeepsHistory):
    """The capability KeepsHistory of `whole`."""

    def __init__(self, whole: LayeredBackend) -> None:
        self._whole = whole

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """The history in the layer that answers for the user; without a current status, in the first that has one."""
        layers = self._whole.layers
        if (found := await self._whole.find(user)) is not None:
            info, layer = found
            through = [above for above in layers[: layers.index(layer)] if above.falls_through]
            if not isinstance(layer.backend, KeepsHistory) and not through:  # only the current status is known
                began = info.since is not None and (before is None or info.since < before)
                return [info][:limit] if began else []
            layers = [*through, layer]
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
            await trio.sleep(INCOMPLETE_TTL)
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


def _setter_can(capability: type) -> Callable[[Sequence[Backend]], bool]:
    """Whether the layer that takes statuses can do something else, too."""
    return lambda backends: isinstance(
        next((backend for backend in backends if isinstance(backend, SetsStatus)), None), capability
    )


def _first_answers_at_once(backends: Sequence[Backend]) -> bool:
    return isinstance(backends[0], AnswersAtOnce)


# The method of each capability, the class above that provides it, and whether certain layers give it.
_CAPABILITIES = (
    ("get_user_now", LayeredAnswers, _first_answers_at_once),
    ("get_users", LayeredList, _can(ListsUsers)),
    ("set_user", LayeredSetting, _can(SetsStatus)),
    ("clear_user", LayeredClearing, _setter_can(ClearsStatus)),
    ("set_details", LayeredDetails, _setter_can(SetsDetails)),
    ("get_recent", LayeredRecent, can_list_recent),
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
