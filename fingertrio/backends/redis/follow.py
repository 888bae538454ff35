"""Follows the change streams and detects every gap.

Redis numbers the changes of each shard. A node that has read number 7 and then reads 8 has missed nothing. Any other
number means that changes were lost: they were trimmed while the node was away or slow, or Redis came back with an older
state. Then nothing that was kept is known to be true. The same holds across connections, so the position outlives
them: after a break the node reads on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import trio

from fingertrio.backends.redis.store import Position, StoredChange


class SilenceError(Exception):
    """Redis did not answer in time."""


class RewoundError(Exception):
    """Redis has fewer changes than it has sent: it was emptied, or went back to an older state."""


class ChangeSource(Protocol):
    """The part of `RedisStore` that is used here."""

    async def counts(self) -> Sequence[int]: ...

    async def last_changes(self) -> Sequence[Position]: ...

    async def next_changes(
        self, positions: Mapping[int, Position], wait: float
    ) -> Mapping[int, Sequence[StoredChange]]: ...


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
        self._moved = trio.Event()

    async def resume(self, store: ChangeSource) -> None:
        """Find the position to read on from: the old one if all later changes are still there, otherwise the end."""
        ends = await store.last_changes()
        if len(self._positions) != len(ends):  # the first time, or another store
            self._positions, complete = list(ends), False
        else:
            complete = True
            for shard, (ours, end) in enumerate(zip(self._positions, ends, strict=True)):
                if ours != end and ours.number >= end.number:
                    self._positions[shard], complete = end, False
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
                for change in changes:
                    self._take(shard, change)
            if found:
                self._moved.set()
                self._moved = trio.Event()

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
        while True:
            read = [position.number for position in self._positions]
            with trio.move_on_after(patience) as silence:
                counts = await store.counts()
            if silence.cancelled_caught:
                raise SilenceError(f"no answer within {patience:g} seconds")
            if any(count < number for count, number in zip(counts, read, strict=True)):
                raise RewoundError("Redis has lost changes that it had sent")
            await trio.sleep(wait)

    def _take(self, shard: int, change: StoredChange) -> None:
        expected = self._positions[shard].number + 1
        self._positions[shard] = change.position
        if change.position.number != expected:
            self._on_gap()
        self._on_change(shard, change)
