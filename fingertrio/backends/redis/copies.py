"""Last known answers, for use while Redis is unavailable. Bounded and synchronous; uses neither Redis nor trio.

A copy is an answer for which no later change has been received. So at worst it is what was true when Redis was last
heard. Copies are served only while Redis is unavailable; otherwise Redis itself is asked.

Changes and replies arrive on different connections, so either can overtake the other. A change can arrive while the
reply to an earlier read is still on its way; that reply must not be kept. Or a change can arrive late, when the copy
already includes it; that copy must not be dropped. The `since` of the status tells the two cases apart, because it
grows with each status of a user. Each read is announced before it starts, so that changes received meanwhile count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from heapq import nsmallest
from math import inf
from operator import itemgetter

from fingertrio.backend import UserInfo
from fingertrio.backends.redis.records import Roster, UserRecord


class PendingRead:
    """A read under way. Its answer may be kept only if it includes a status set at `min_since` or later."""

    __slots__ = ("min_since",)

    def __init__(self) -> None:
        self.min_since = -inf


class Copies:
    """The records of at most `size` users, those requested most recently, and the list of users."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: dict[str, UserRecord] = {}
        self._roster: Roster | None = None
        self._pending: dict[str | None, set[PendingRead]] = {}  # None: reads of the list

    def record(self, user: str) -> UserRecord | None:
        """The copy of `user`, if there is one."""
        return self._records.get(user)

    @property
    def roster(self) -> Roster | None:
        """The copy of the list of users, if there is one."""
        return self._roster

    def recent(self, limit: int, before: tuple[int, str] | None, now: int) -> list[UserInfo]:
        """The newest statuses of the copies, or those behind the place `before`: minus a time, and a user."""
        found = (
            ((-status.since, record.user), record)
            for record in self._records.values()
            if (status := record.status(now)) is not None and status.text
        )
        behind = (each for each in found if before is None or before < each[0])
        records = (record for _, record in nsmallest(limit, behind, key=itemgetter(0)))
        return [info for record in records if (info := record.info(now)) is not None]

    @contextmanager
    def reading(self, user: str | None) -> Iterator[PendingRead]:
        """Announce a read of `user` or, with None, of the list. The result goes to `keep` or `keep_roster`."""
        pending = PendingRead()
        others = self._pending.setdefault(user, set())
        others.add(pending)
        try:
            yield pending
        finally:
            others.discard(pending)
            if not others:
                self._pending.pop(user, None)

    def keep(self, record: UserRecord, pending: PendingRead) -> None:
        """Keep a record that has a status. Unknown names are not kept: a flood of them would evict real users."""
        self._records.pop(record.user, None)  # so that it becomes the youngest
        if record.latest < pending.min_since or self._size == 0 or (record.lasting is None and record.passing is None):
            return
        if len(self._records) >= self._size:
            del self._records[next(iter(self._records))]
        self._records[record.user] = record

    def keep_roster(self, roster: Roster, pending: PendingRead) -> None:
        """Keep the list of users."""
        if pending.min_since == -inf and self._size > 0:
            self._roster = roster

    def forget(self, user: str, since: int | None, *, listed: bool) -> None:
        """A change was received.

        Args:
            user: the user concerned.
            since: the `since` of the new status; None: something else changed.
            listed: whether the list of users may differ.
        """
        min_since = inf if since is None else since
        record = self._records.get(user)
        if record is not None and record.latest < min_since:
            del self._records[user]
        self._overtake(user, min_since)
        if listed:
            self._roster = None
            self._overtake(None, inf)

    def forget_all(self) -> None:
        """Changes were missed."""
        self._records.clear()
        self._roster = None
        for user in list(self._pending):
            self._overtake(user, inf)

    def _overtake(self, user: str | None, min_since: float) -> None:
        for pending in self._pending.get(user, ()):
            pending.min_since = max(pending.min_since, min_since)
