"""Whether the calendar clock can be right, and statuses whose times cannot.

Clocks are wrong at times: a machine without a battery starts in 1970 or where it stopped, a broken one in 2038, and the
network corrects them some seconds later. An answer based on a wrong time is wrong for these seconds only. Two things
would last: history that is deleted because it seems old, and statuses that seem to have been set in the future.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fingertrio.backends.sqlite.rows import StatusRow
from fingertrio.wire.times import to_microseconds

_SECOND = 1_000_000  # microseconds
_DAY = 24 * 60 * 60 * _SECOND
_YEAR = 366 * _DAY

# No clock is right that is before this version of the program.
_EARLIEST = to_microseconds(datetime(2026, 1, 1, tzinfo=UTC))

# How far ahead of our clock a status may have been set: clocks of machines differ, and are corrected by seconds.
TOLERANCE = _DAY

# Seconds for which the clock must have run without a jump before history is deleted: the network corrects a wrong
# clock in less. And the jump that counts as one.
SETTLING = 600.0
_JUMP = 3600.0

# Seconds after which a clock that is years ahead of all statuses is believed, because it was not corrected.
_CONFIRMED = 7 * 24 * 3600.0

# Statuses whose median time stands for the time of the last statuses: more than are set while a clock is wrong.
_SAMPLE = 25


class ClockGuard:
    """Decides whether the clock may be used to delete history.

    Args:
        now: the calendar clock, in microseconds since 1970.
        monotonic: in seconds.
        settling: see SETTLING.
    """

    def __init__(
        self, now: Callable[[], int], *, monotonic: Callable[[], float] = time.monotonic, settling: float = SETTLING
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._settling = settling
        self._steady_since = monotonic()
        self._offset = self._find_offset()

    def poll(self) -> bool:
        """Whether the clock has jumped since the last poll. To be called regularly."""
        offset = self._find_offset()
        has_jumped = abs(offset - self._offset) > _JUMP
        if has_jumped:
            self._steady_since = self._monotonic()
        self._offset = offset
        return has_jumped

    def is_steady(self, seconds: float | None = None) -> bool:
        """Whether the clock has run without a jump for `seconds`, by default for as long as it must."""
        return self._monotonic() - self._steady_since >= (self._settling if seconds is None else seconds)

    def is_behind(self, now: int) -> bool:
        """Whether the clock is certainly behind."""
        return now < _EARLIEST

    def doubt(self, last: int | None) -> str | None:
        """Why history must not be deleted because of its age; None: it may be.

        Args:
            last: the time of the last statuses; see `time_of_last_statuses`.
        """
        now = self._now()
        if self.is_behind(now):
            return "it is years behind"
        if not self.is_steady():
            return "it has not run for long enough"
        if last is not None and now - last > _YEAR and not self.is_steady(_CONFIRMED):
            return "it is more than a year ahead of the last statuses"
        return None

    def _find_offset(self) -> float:
        return self._now() / _SECOND - self._monotonic()


def time_of_last_statuses(connection: sqlite3.Connection) -> int | None:
    """The median time of the statuses that were set last, whatever the clock said during a few of them; None: none."""
    times = [since for (since,) in connection.execute("SELECT since FROM status ORDER BY id DESC LIMIT ?", (_SAMPLE,))]
    return sorted(times)[(len(times) - 1) // 2] if times else None


def is_confirmed_by(connection: sqlite3.Connection, now: int) -> bool:
    """Whether most of the last statuses were set before `now`. If not, the clock may be behind now."""
    last = time_of_last_statuses(connection)
    return now >= _EARLIEST and last is not None and last <= now + TOLERANCE


def correct_times(statuses: Sequence[StatusRow], now: int) -> list[StatusRow]:
    """The `statuses` of a user, oldest first, with those of the future set right before `now`, in their order.

    The end of a status is shifted with its beginning, because it was given by the same wrong clock.
    """
    corrected: list[StatusRow] = []
    for number, row in enumerate(statuses):
        since = row.since
        if since > now + TOLERANCE:
            since = now - (len(statuses) - number)
            if corrected:
                since = max(since, corrected[-1].since + 1)
        until = None if row.until is None else row.until - (row.since - since)
        corrected.append(replace(row, since=since, until=until))
    return corrected
