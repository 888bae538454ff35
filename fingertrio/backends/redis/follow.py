"""Following the changes, without a gap or knowing of it.

Redis numbers the changes of each shard. Whoever has heard number 7 and then hears 8 has missed none; whatever else he
hears, changes were lost to him: they were trimmed while he was away or slow, or Redis came back with an older state.
Then nothing that was kept is known to be true. This holds within one connection and from one to the next, so where we
are is remembered beyond connections, and after a break we read on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from fingertrio.backends.redis.store import Position, Store, Told


class SilenceError(Exception):
    """Redis did not answer in time."""


class RewoundError(Exception):
    """Redis has fewer changes than we heard of: it was emptied, or set back to an older state."""


class Follower:
    """Where we are in the changes of every shard.

    Args:
        heard: called with the shard and each change of it.
        lost: called when changes were missed: everything may differ.
    """

    def __init__(self, heard: Callable[[int, Told], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._positions: list[Position] = []
        self._moved = trio.Event()

    async def resume(self, store: Store) -> None:
        """Find the place to read on from: where we were, if all that followed is still there; otherwise the end."""
        ends = await store.last_changes()
        if len(self._positions) != len(ends):  # the first time, or another store
            self._positions, complete = list(ends), False
        else:
            complete = True
            for shard, (ours, end) in enumerate(zip(self._positions, ends, strict=True)):
                if ours != end and ours.number >= end.number:
                    self._positions[shard], complete = end, False
        if not complete:
            self._lost()

    async def read(self, store: Store, shards: Iterable[int], *, wait: float, patience: float) -> None:
        """Hear the changes of `shards`; never returns.

        Args:
            store: where.
            shards: those of one connection.
            wait: seconds after which Redis says that there was no change.
            patience: seconds for it to say so.

        Raises:
            SilenceError: it did not.
        """
        shards = list(shards)
        while True:
            positions = {shard: self._positions[shard] for shard in shards}
            with trio.move_on_after(wait + patience) as silence:
                found = await store.next_changes(positions, wait)
            if silence.cancelled_caught:
                raise SilenceError(f"no sign of life within {wait + patience:g} seconds")
            for shard, changes in found.items():
                for told in changes:
                    self._hear(shard, told)
            if found:
                self._moved.set()
                self._moved = trio.Event()

    async def catch_up(self, store: Store) -> None:
        """Wait until everything was heard that had happened when this was called."""
        counts = await store.counts()
        while any(position.number < count for position, count in zip(self._positions, counts, strict=True)):
            await self._moved.wait()

    async def beat(self, store: Store, *, wait: float, patience: float) -> None:
        """Make sure every `wait` seconds that Redis answers questions, and that it is the one we follow; never returns.

        The connection that questions take needs this: were it cut in silence, each would wait until its own deadline.

        Raises:
            SilenceError: it does not.
            RewoundError: it is not.
        """
        while True:
            heard = [position.number for position in self._positions]
            with trio.move_on_after(patience) as silence:
                counts = await store.counts()
            if silence.cancelled_caught:
                raise SilenceError(f"no answer within {patience:g} seconds")
            if any(count < number for count, number in zip(counts, heard, strict=True)):
                raise RewoundError("it has forgotten changes that it told of")
            await trio.sleep(wait)

    def _hear(self, shard: int, told: Told) -> None:
        expected = self._positions[shard].number + 1
        self._positions[shard] = told.position
        if told.position.number != expected:
            self._lost()
        self._heard(shard, told)
