"""A budget of bytes, so that memory is bounded for all clients together and not only for each.

Limits per connection alone do not bound a server's memory: ten thousand connections, each within its limits, can hold
gigabytes. What clients make a door keep in memory is taken from a budget, and refused when the budget is used up.
"""

from __future__ import annotations


class ByteBudget:
    """Counts bytes.

    Attributes:
        limit: the most bytes at once.
        used: the bytes taken now.
    """

    __slots__ = ("_shared", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._shared: dict[int, int] = {}  # by id of the bytes, how often they are held

    def take(self, size: int) -> bool:
        """Take `size` bytes; False: there are not enough left, and none are taken."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Return bytes that were taken."""
        self.used -= size

    def has_room(self, data: bytes) -> bool:
        """Whether `hold` would succeed."""
        return id(data) in self._shared or self.used + len(data) <= self.limit

    def hold(self, data: bytes) -> bool:
        """Take the size of `data`, once for one object however many hold it; False: there is not enough left."""
        held = self._shared.get(id(data), 0)
        if not held and not self.take(len(data)):
            return False
        self._shared[id(data)] = held + 1
        return True

    def release(self, data: bytes) -> None:
        """Undo one `hold`. `data` is the same object, which has been referenced since."""
        held = self._shared.pop(id(data)) - 1
        if held:
            self._shared[id(data)] = held
        else:
            self.give_back(len(data))
