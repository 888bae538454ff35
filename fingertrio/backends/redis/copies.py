"""What was last known of users, for when Redis is away. Bounded, synchronous; knows neither Redis nor trio.

A copy is what was read and not heard to have changed since. So it says what was true when Redis was last heard, at
worst; but only while Redis is away, since otherwise Redis itself is asked.

An answer can be overtaken: a change is heard while the reply to a question that was carried out before it is still on
another connection. And a change can be late: the answer that is here already knows of it. The `since` of the status
that was set tells one from the other, for it grows along a user's statuses. Whoever asks says so first, so that what is
heard meanwhile counts, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from fingertrio.backends.redis.records import Record, Roster


class Asking:
    """One question under way. To be kept, its answer has to know of what was set at `knows`: any will do, or none."""

    __slots__ = ("knows",)

    def __init__(self) -> None:
        self.knows = -inf


class Copies:
    """The records of at most `size` users, those asked for most recently, and the list of users."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: dict[str, Record] = {}
        self._roster: Roster | None = None
        self._asking: dict[str | None, set[Asking]] = {}  # None: for the list

    def record(self, user: str) -> Record | None:
        """What was last known of `user`, if it is still here."""
        return self._records.get(user)

    @property
    def roster(self) -> Roster | None:
        """The list of users that was last known, if it is still here."""
        return self._roster

    @contextmanager
    def asking(self, user: str | None) -> Iterator[Asking]:
        """While a question for `user`, or for the list, is under way; then the answer may be kept."""
        asking = Asking()
        others = self._asking.setdefault(user, set())
        others.add(asking)
        try:
            yield asking
        finally:
            others.discard(asking)
            if not others:
                self._asking.pop(user, None)

    def keep(self, record: Record, asking: Asking) -> None:
        """Keep a record that has a status. Unknown names are not kept: a flood of them would push out real ones."""
        self._records.pop(record.user, None)  # so that it counts as the youngest
        if record.latest < asking.knows or self._size == 0 or (record.lasting is None and record.passing is None):
            return
        if len(self._records) >= self._size:
            del self._records[next(iter(self._records))]
        self._records[record.user] = record

    def keep_roster(self, roster: Roster, asking: Asking) -> None:
        """Keep the list of users."""
        if asking.knows == -inf and self._size > 0:
            self._roster = roster

    def forget(self, user: str, since: int | None, *, listed: bool) -> None:
        """A change was heard: a status set at `since`, or something else; `listed`: it may concern the list, too."""
        knows = inf if since is None else since
        record = self._records.get(user)
        if record is not None and record.latest < knows:
            del self._records[user]
        self._overtake(user, knows)
        if listed:
            self._roster = None
            self._overtake(None, inf)

    def forget_all(self) -> None:
        """Changes were missed."""
        self._records.clear()
        self._roster = None
        for user in list(self._asking):
            self._overtake(user, inf)

    def _overtake(self, user: str | None, knows: float) -> None:
        for asking in self._asking.get(user, ()):
            asking.knows = max(asking.knows, knows)
