"""Change feeds of bounded size: one writer that never waits, and any number of readers, however slow.

A backend that knows when an answer changes keeps one `ChangeHub`, calls `emit` and returns `changes()`: that is all of
the capability EmitsChanges. This module knows only trio and the contract. It must not be used from other threads.

A reader needs to know which answers to ask for again, not how often they changed. So a feed holds a set of names, each
once. Past a limit it holds a single change instead that covers them all: anything may have changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import trio

from fingertrio.backend import Change

# Names that may wait for one reader. Asking again for a thousand users costs about as much as emptying the cache, and a
# thousand names take some tens of kilobytes per reader.
FEED_LIMIT = 1024

# Names that a reader gets before it yields to other tasks: few enough for a short turn, enough to spread its cost.
_TURN = 32


class ChangeFeed:
    """The changes that one reader has not read yet: an endless async iterator. A cancelled read loses nothing."""

    __slots__ = ("_arrived", "_read", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[str | None, None] = {}  # a dict for its order: the oldest change comes first
        self._arrived = trio.Event()
        self._read = 0

    @property
    def pending(self) -> bool:
        """Whether a change waits to be read."""
        return bool(self._waiting)

    def put(self, change: Change) -> None:
        """Add a change, without waiting for the reader."""
        waiting = self._waiting
        if change.user not in waiting and None not in waiting:
            if change.user is None or len(waiting) >= FEED_LIMIT:
                waiting.clear()
                waiting[None] = None
            else:
                waiting[change.user] = None
        self._arrived.set()

    def __aiter__(self) -> ChangeFeed:
        return self

    async def __anext__(self) -> Change:
        # A reader in a loop must yield to other tasks, and be cancellable. Yielding at every name would cost a round of
        # trio's loop for each, which is most of the cost of a change.
        self._read += 1
        if self._read % _TURN:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        user = next(iter(self._waiting))
        del self._waiting[user]
        return Change(user)


class ChangeHub:
    """Sends each change to every reader's own feed."""

    __slots__ = ("_feeds",)

    def __init__(self) -> None:
        self._feeds: set[ChangeFeed] = set()

    def emit(self, change: Change) -> None:
        """Send a change to every present reader."""
        for feed in self._feeds:
            feed.put(change)

    def emit_all(self, users: Collection[str | None]) -> None:
        """Send a change for each of `users`; if they are more than a feed can hold, one for everything."""
        for user in users if len(users) <= FEED_LIMIT else (None,):
            self.emit(Change(user))

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[ChangeFeed]:
        """A feed of all changes from now on, until the context ends."""
        feed = ChangeFeed()
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
