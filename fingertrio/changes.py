"""Change feeds that cannot grow: one writer who never waits, any number of readers who may be as slow as they like.

A backend that knows when an answer changes keeps one `ChangeHub`, calls `emit` and hands out `changes()`, which is the
whole of the capability EmitsChanges. Knows trio and the contract, nothing else; not for use from other threads.

A reader wants to know whose answer to ask for again, not how often it changed. So what waits for a reader is a set of
names, each once, and past a limit it is the one statement that covers them all: anything may have changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import trio

from fingertrio.backend import Change

# Names that may wait for one reader. Asking anew for a thousand users costs about what forgetting them all does, and a
# thousand names are some tens of kilobytes per reader.
FEED_LIMIT = 1024

# Names that are read in one turn of the reader: their share of a round of the loop is small then, and the turn too.
_TURN = 32


class ChangeFeed:
    """What one reader has not read yet: an endless asynchronous iterator. Cancelling a read loses nothing."""

    __slots__ = ("_arrived", "_read", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[str | None, None] = {}  # a dict for its order: the oldest is told first
        self._arrived = trio.Event()
        self._read = 0

    def put(self, change: Change) -> None:
        """Tell the reader, without waiting for it."""
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
        # A reader in a loop must let others run, and be cancellable. To let them run at every name would cost a round
        # of the loop for each, which is most of what a change costs.
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
    """Gives each reader a feed of its own and tells all of them."""

    __slots__ = ("_feeds",)

    def __init__(self) -> None:
        self._feeds: set[ChangeFeed] = set()

    def emit(self, change: Change) -> None:
        """Tell every reader that is there now."""
        for feed in self._feeds:
            feed.put(change)

    def emit_all(self, users: Collection[str | None]) -> None:
        """Tell every reader of every one of `users`, or, where no feed could hold them, that anything may differ."""
        for user in users if len(users) <= FEED_LIMIT else (None,):
            self.emit(Change(user))

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[ChangeFeed]:
        """A feed of what is emitted from now on, until the context ends."""
        feed = ChangeFeed()
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
