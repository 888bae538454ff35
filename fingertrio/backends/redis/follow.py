"""Follows the change streams and detects every gap.

Redis numbers the changes of each shard. A node that has read number 7 and then reads 8 has missed nothing. Any other
number means that changes were lost: they were trimmed while the node was away or slow, or Redis came back with an older
state. Then nothing that was kept is known to be true. The same holds across connections, so the position outlives
them: after a break the node reads on from there.

After a gap the node starts over at the end of the stream, at the number that Redis counts. It never takes a number from
an entry, unless it is the expected one: another program may have written the entry. Such junk counts as a gap. So does
a stream that does not deliver what Redis has counted, because its ids were used up, or somebody removed entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import getLogger
from math import inf
from typing import Protocol

import trio

from fingertrio.backends.redis.changes import JunkEntry, Position, StoredChange

# Seconds between two log messages about junk, so that a program that writes much of it cannot fill the log.
_LOG_INTERVAL = 60.0

_log = getLogger(__name__)


class SilenceError(Exception):
    """Redis did not answer in time."""


class RewoundError(Exception):
    """Redis has fewer changes than it has sent: it was emptied, or went back to an older state."""


class ChangeSource(Protocol):
    """The part of `RedisStore` that is used here."""

    async def counts(self) -> Sequence[int]: ...

    async def last_change(self, shard: int) -> Position: ...

    async def last_changes(self) -> Sequence[Position]: ...

    async def next_changes(
        self, positions: Mapping[int, Position], wait: float
    ) -> Mapping[int, Sequence[StoredChange | JunkEntry]]: ...


class ChangeFollower:
    """The position in the changes of every shard.

    Args:
        on_change: called with the shard and each change of it.
        on_gap: called when changes were missed: everything may differ.
    """

    def __init__(self, on_change: Callable[[int, StoredChange], None], on_gap: Callable[[], None]) -> None:
        self._on_change = on_change
        self._on_gap = on_gap
        self._positions: list[Position] = []
        self._unknown: set[int] = set()  # shards that start over, and whose position does not count
        self._moved = trio.Event()
        self._logged_at = -inf

    async def resume(self, store: ChangeSource) -> None:
        """Find the position to read on from: the old one if all later changes are still there, otherwise the end."""
        ends = await store.last_changes()
        if len(self._positions) != len(ends):  # the first time, or another store
            self._positions, complete = list(ends), False
        else:
            complete = True
            for shard, (ours, end) in enumerate(zip(self._positions, ends, strict=True)):
                if shard in self._unknown or (ours != end and ours.number >= end.number):
                    self._positions[shard], complete = end, False
        self._unknown.clear()
        if not complete:
            self._on_gap()

    async def read(self, store: ChangeSource, shards: Iterable[int], *, wait: float, patience: float) -> None:
        """Read the changes of `shards`; never returns.

        Args:
            store: where.
            shards: those of one connection.
            wait: seconds after which Redis reports that there was no change.
            patience: seconds that this report may be late.

        Raises:
            SilenceError: Redis sent nothing.
        """
        shards = list(shards)
        while True:
            positions = {shard: self._positions[shard] for shard in shards}
            with trio.move_on_after(wait + patience) as silence:
                found = await store.next_changes(positions, wait)
            if silence.cancelled_caught:
                raise SilenceError(f"nothing received for {wait + patience:g} seconds")
            for shard, changes in found.items():
                if not all(self._take(shard, change) for change in changes):
                    await self._start_over(store, shard)
            if found:
                self._wake()

    async def catch_up(self, store: ChangeSource) -> None:
        """Wait until every change made before this call has been read."""
        counts = await store.counts()
        while any(position.number < count for position, count in zip(self._positions, counts, strict=True)):
            await self._moved.wait()

    async def beat(self, store: ChangeSource, *, wait: float, patience: float) -> None:
        """Check every `wait` seconds that Redis answers, and that it still has the changes it sent; never returns.

        The connection for requests needs this: if it were cut silently, each request would wait for its own deadline.

        Raises:
            SilenceError: Redis does not answer.
            RewoundError: it has lost changes.
        """
        behind: dict[int, tuple[Position, float]] = {}  # shards that lag: their position, and since when it is that
        while True:
            read = list(self._positions)
            with trio.move_on_after(patience) as silence:
                counts = await store.counts()
            if silence.cancelled_caught:
                raise SilenceError(f"no answer within {patience:g} seconds")
            if any(count < position.number for count, position in zip(counts, read, strict=True)):
                raise RewoundError("Redis has lost changes that it had sent")
            now = trio.current_time()
            for shard, (count, position) in enumerate(zip(counts, read, strict=True)):
                if count == position.number:
                    behind.pop(shard, None)
                elif shard not in behind or behind[shard][0] != position:
                    behind[shard] = position, now
                elif now - behind[shard][1] >= patience:
                    await self._start_over(store, shard)
            await trio.sleep(wait)

    def _take(self, shard: int, change: StoredChange | JunkEntry) -> bool:
        """Accept an entry of the stream. Returns whether it was the expected one, or one from before the position."""
        position = self._positions[shard]
        if not position.precedes(change.id):
            return True
        if isinstance(change, JunkEntry):
            self._log_junk(change)
            return False
        if change.number != position.number + 1:
            return False
        self._positions[shard] = Position(change.number, change.id)
        self._on_change(shard, change)
        return True

    async def _start_over(self, store: ChangeSource, shard: int) -> None:
        """Go on at the end of a shard's changes. What came before that is lost, and known to be."""
        self._unknown.add(shard)  # if this is interrupted, `resume` must not go on from the old position
        self._positions[shard] = await store.last_change(shard)
        self._unknown.discard(shard)
        self._on_gap()
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    def _log_junk(self, entry: JunkEntry) -> None:
        now = trio.current_time()
        if now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            _log.warning(
                "the key %s has an entry that fingertrio cannot have written, %s. It is skipped, and cached answers "
                "are dropped. Another program must not write there, or needs another prefix",
                entry.key,
                entry.id.decode(),
            )
