"""Changes of statuses that channels hear of: few lines, never an outdated one. No I/O; the caller passes the time.

Each channel has a table of users who changed, with their status before and now. Nothing is said for five seconds after
the first change, so corrections merge, and a status that is back where it was is not mentioned. Then one line follows
another at a distance; if many users wait, one line names them all. What happens while a channel does not hear us is
forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from fingertrio.wire.irc_masks import matches
from fingertrio.wire.irc_outbox import TokenBucket

MERGE_SECONDS = 5.0
EVERY = 10.0  # seconds between two lines in one channel
_BURST = 3
_MANY = 5  # users; more of them share a line
_USER_LIMIT = 2000  # in one table; the oldest is forgotten

_WORD_JOINER = "\u2060"  # invisible; a nick with it in the middle highlights nobody


@dataclass(frozen=True, slots=True)
class AnnouncePlan:
    """A channel, the users it hears of, and how.

    Attributes:
        channel: its name.
        patterns: of user names, * and ?.
        notice: by NOTICE instead of PRIVMSG.
    """

    channel: str
    patterns: Sequence[str]
    notice: bool = False


@dataclass(frozen=True, slots=True)
class Announcement:
    """One line for a channel. `changes` is how many it tells of."""

    channel: str
    command: str
    text: str
    changes: int


class _Table:
    def __init__(self, plan: AnnouncePlan, every: float) -> None:
        self.plan = plan
        self.bucket = TokenBucket(seconds=every, burst=_BURST)
        self.waiting: dict[str, tuple[str, str]] = {}  # user: the status before, and now
        self.ready_at = inf
        self.missed = 0

    @property
    def deadline(self) -> float:
        return max(self.ready_at, self.bucket.ready_at) if self.waiting else inf


class Announcer:
    """The announcements of one session.

    Args:
        plans: the channels.
        every: seconds between two lines in one channel.
        quiet_names: put an invisible character into each name, so that it highlights nobody.
        catch_up: after a time in which a channel did not hear us, say how many changes it missed.
        counts: counts changes: "sent", "merged" (replaced or undone by another one), "dropped" (no channel could hear).
    """

    def __init__(
        self,
        plans: Sequence[AnnouncePlan],
        *,
        every: float = EVERY,
        quiet_names: bool = True,
        catch_up: bool = False,
        counts: Counter[str] | None = None,
    ) -> None:
        self._tables = [_Table(plan, every) for plan in plans]
        self._quiet_names = quiet_names
        self._catch_up = catch_up
        self.counts: Counter[str] = Counter() if counts is None else counts

    @property
    def deadline(self) -> float:
        """When `take` may have a line; inf: nothing waits."""
        return min((table.deadline for table in self._tables), default=inf)

    def changed(self, user: str, before: str, after: str, now: float, hears: Callable[[str], bool]) -> None:
        """The status of `user` was `before` and is `after`, one line each, empty for none.

        `hears` tells whether a channel hears us now.
        """
        for table in self._tables:
            if not any(matches(pattern, user) for pattern in table.plan.patterns):
                continue
            if not hears(table.plan.channel):
                table.missed += 1 + len(table.waiting)
                self.counts["dropped"] += 1 + len(table.waiting)
                table.waiting.clear()
                continue
            if (known := table.waiting.get(user)) is not None:
                self.counts["merged"] += 1
                before = known[0]
            elif not table.waiting:
                table.ready_at = now + MERGE_SECONDS
            table.waiting[user] = before, after
            if before == after:
                del table.waiting[user]
                self.counts["merged"] += 1
            if len(table.waiting) > _USER_LIMIT:
                del table.waiting[next(iter(table.waiting))]
                self.counts["dropped"] += 1

    def forget(self) -> None:
        """What waits may be outdated: say nothing of it."""
        for table in self._tables:
            self.counts["dropped"] += len(table.waiting)
            table.waiting.clear()

    def take(self, now: float, hears: Callable[[str], bool]) -> Announcement | None:
        """A line that is due; None: none is, or its channel does not hear us."""
        for table in self._tables:
            if now < table.deadline:
                continue
            if not hears(table.plan.channel):
                table.missed += len(table.waiting)
                self.counts["dropped"] += len(table.waiting)
                table.waiting.clear()
                continue
            table.bucket.charge(now)
            line = self._line(table)
            self.counts["sent"] += line.changes
            return line
        return None

    def _line(self, table: _Table) -> Announcement:
        command = "NOTICE" if table.plan.notice else "PRIVMSG"
        if self._catch_up and table.missed:
            missed, table.missed = table.missed, 0
            return Announcement(table.plan.channel, command, f"missed {missed} changes", 0)
        if len(table.waiting) > _MANY:
            names = [self._show(user) for user in table.waiting]
            text = f"{len(names)} changed: {', '.join(names[:_MANY])} and {len(names) - _MANY} more"
            table.waiting.clear()
            return Announcement(table.plan.channel, command, text, len(names))
        user, (_, status) = next(iter(table.waiting.items()))
        del table.waiting[user]
        text = f"{self._show(user)} is now: {status}" if status else f"{self._show(user)} has no status now"
        return Announcement(table.plan.channel, command, text, 1)

    def _show(self, user: str) -> str:
        return user[0] + _WORD_JOINER + user[1:] if self._quiet_names and len(user) > 1 else user
