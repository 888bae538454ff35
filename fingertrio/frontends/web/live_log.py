"""Which users changed, and when: the numbering of the live feed. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

# Names in the log. A client that missed changes of more users is better served by a snapshot.
LOG_LIMIT = 10_000


class ChangeLog:
    """Numbers changes and keeps, for each user, the number of the latest one; at most `limit` users."""

    def __init__(self, limit: int = LOG_LIMIT) -> None:
        self.number = 0  # of the latest change
        self._floor = 0  # changes up to this number may have been dropped
        self._limit = limit
        self._numbers: OrderedDict[str, int] = OrderedDict()  # ascending

    def add(self, user: str) -> None:
        """Record a change of `user`."""
        self.number += 1
        self._numbers[user] = self.number
        self._numbers.move_to_end(user)
        if len(self._numbers) > self._limit:
            self._floor = self._numbers.popitem(last=False)[1]

    def forget(self) -> None:
        """Record that any user may have changed."""
        self.number += 1
        self._floor = self.number
        self._numbers.clear()

    def reaches(self, number: int) -> bool:
        """Whether the log has every change after `number`."""
        return self._floor <= number <= self.number

    def since(self, number: int, users: Collection[str] | None = None) -> list[tuple[int, str]] | None:
        """The changes after `number`, of `users` or of all, ascending; None if the log does not reach `number`."""
        if not self.reaches(number):
            return None
        if users is not None:
            found = [(at, user) for user in users if (at := self._numbers.get(user, 0)) > number]
            return sorted(found)
        found = []
        for user, at in reversed(self._numbers.items()):
            if at <= number:
                break
            found.append((at, user))
        found.reverse()
        return found
