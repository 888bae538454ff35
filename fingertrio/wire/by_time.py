"""Names sorted by a time each, the newest first: for backends that have everything in memory and list by time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from datetime import datetime
from math import inf

from fingertrio.wire.times import to_microseconds

# Minus a time, and a name: sorts as described below, and faster than an object with an order of its own.
_Key = tuple[float, str]


def _key(name: str, time: datetime | None) -> _Key:
    return (inf if time is None else -to_microseconds(time), name)


class ByTime:
    """The newest come first, equal times go by name, and names without a time are last.

    A change is one search and one insertion: about 7 us among 10,000 names.
    """

    def __init__(self, times: Iterable[tuple[str, datetime | None]] = ()) -> None:
        self._keys = {name: _key(name, time) for name, time in times}
        self._sorted = sorted(self._keys.values())

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def put(self, name: str, time: datetime | None) -> None:
        """Add `name`, or move it to another time."""
        self.discard(name)
        key = self._keys[name] = _key(name, time)
        insort(self._sorted, key)

    def discard(self, name: str) -> None:
        """Remove `name`, if it is there."""
        if (key := self._keys.pop(name, None)) is not None:
            del self._sorted[bisect_left(self._sorted, key)]

    def behind(self, limit: int, time: datetime | None, name: str) -> list[str]:
        """At most `limit` names behind the place of `name` at `time`, whether or not there is such a name."""
        start = bisect_right(self._sorted, _key(name, time))
        return [each for _, each in self._sorted[start : start + limit]]

    def first(self, limit: int) -> list[str]:
        """The first `limit` names."""
        return [name for _, name in self._sorted[:limit]]
