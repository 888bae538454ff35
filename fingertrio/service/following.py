"""The service's side of a backend's change feed: entered, read, and entered again when it breaks."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import trio

from fingertrio.backend import Change, EmitsChanges
from fingertrio.observe.observer import Observer, error_text
from fingertrio.wire.backoff import Backoff

# Seconds before a broken change feed is entered again: at first, and at most. A source that was away must be followed
# again within five seconds of its return.
_BACKOFF = (0.25, 2.0)


class Following:
    """Follows the changes of a backend.

    Args:
        emitter: the backend.
        changed: called with each change, and with `Change(None)` whenever changes may have been missed.
        observer: reports a broken feed.

    Attributes:
        is_live: whether every change is heard at present.
    """

    def __init__(self, emitter: EmitsChanges, changed: Callable[[Change], None], observer: Observer) -> None:
        self._emitter = emitter
        self._changed = changed
        self._observer = observer
        self.is_live = False

    async def run(self, tried: trio.Event) -> None:
        """Follow until cancelled. `tried` is set once the feed has been entered or has failed."""
        backoff = Backoff(*_BACKOFF)
        while True:
            entered = inf
            try:
                async with self._emitter.changes() as feed:
                    entered = trio.current_time()
                    self.is_live = True
                    self._changed(Change(None))
                    self._observer.recovered("change_feed")
                    tried.set()
                    async for change in feed:
                        self._changed(change)
                self._observer.degraded("change_feed", "the backend ended the feed", essential=False)
            except Exception as error:  # noqa: BLE001 -- the doors stay open whatever a backend's feed raises
                self._observer.degraded("change_feed", error_text(error), essential=False)
            finally:
                self.is_live = False
                self._changed(Change(None))
            tried.set()
            if trio.current_time() - entered > _BACKOFF[1]:  # a feed that breaks at once is no success
                backoff.reset()
            await trio.sleep(backoff.pause())
