"""The order and the rate of the lines sent to an IRC server. No I/O; the caller passes the time.

A server disconnects a client that sends too fast: each line costs two seconds, and a client more than ten seconds ahead
is flooding (RFC 1459 section 8.10). So replies wait here. These rules keep the waiting fair and bounded:

- askers take turns in the order of their questions, line by line: an asker with three open questions gets no more of
  each round than one with a single question;
- every second line goes first to askers who have heard nothing for a minute, and of them to who asks least;
- the number of open questions is limited, for each asker and in total, and so is the number of waiting lines; a
  question over a limit is rejected on arrival, before it causes any work;
- when all places are taken, somebody who has heard nothing and waits for nothing gets the place of a question of
  a client that asks again and again, or was answered lately;
- a reply that has waited too long for its first line is dropped, since by then another person may have the nick;
- protocol lines (PONG, registration) do not wait here, but count against the rate, so they delay replies;
- announcements, which nobody asked for, come last: only while no line of a reply waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from math import inf
from typing import Generic, TypeVar

# RFC 1459 section 8.10, as implemented by every server: two seconds a line, ten seconds in advance.
FLOOD_SECONDS = 2.0
FLOOD_BURST = 5

# Most replies are one line, so the last of 32 is sent within a minute, while its asker still waits. Three for each
# asker allow a typing error and two corrections. 60 lines are two minutes.
OPEN_LIMIT = 32
OPEN_LIMIT_PER_ASKER = 3
LINE_LIMIT = 60

# An asker to whom nothing was sent for so many seconds is new: every second line goes to the new ones first, so a few
# people who ask all the time do not delay somebody who asks once.
NEW_AFTER = 60.0
_SERVED_LIMIT = 1000

# Seconds from a question to the first line of its reply. 32 replies of one line need 54.
REPLY_LIFETIME = 60.0


class TokenBucket:
    """Starts with `burst` tokens and gains one every `seconds`, up to `burst`. Times are seconds on any clock."""

    __slots__ = ("_burst", "_full_at", "_seconds")

    def __init__(self, *, seconds: float, burst: int) -> None:
        self._seconds = seconds
        self._burst = burst
        self._full_at = -inf  # when the bucket is full again; the whole state

    @property
    def ready_at(self) -> float:
        """The earliest time at which `take` succeeds."""
        return self._full_at - self._seconds * (self._burst - 1)

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if now < self.ready_at:
            return False
        self.charge(now)
        return True

    def charge(self, now: float) -> None:
        """Take a token; if there is none, take the next one in advance."""
        self._full_at = max(self._full_at, now) + self._seconds


class Rejection(StrEnum):
    """Why a question is not admitted."""

    FLOOD = "flood"  # its asker has too many open
    BUSY = "busy"  # all askers together have too many open


class Reply:
    """A question from its admission until the last line of its answer is sent. Subclass it to keep more data.

    Attributes:
        asker: identifies the person across nick changes; turns and limits are counted by it.
        target: the nick or the channel to send to.
        nick: the nick of the person; the same, unless they asked in a channel.
        received_at: when the question arrived.
        command: PRIVMSG or NOTICE.
        lines: the texts that wait to be sent.
        started: whether a line was sent.
        firm: whether it keeps its place, since its question changes something.
    """

    def __init__(self, asker: str, target: str, received_at: float, *, nick: str | None = None) -> None:
        self.asker = asker
        self.target = target
        self.nick = target if nick is None else nick
        self.received_at = received_at
        self.command = "NOTICE"
        self.lines: deque[str] = deque()
        self.started = False
        self.firm = False


R = TypeVar("R", bound=Reply)


class Outbox(Generic[R]):
    """The open questions, and the lines that wait to be sent."""

    def __init__(
        self,
        *,
        seconds: float = FLOOD_SECONDS,
        burst: int = FLOOD_BURST,
        limit: int = OPEN_LIMIT,
        limit_per_asker: int = OPEN_LIMIT_PER_ASKER,
    ) -> None:
        self._bucket = TokenBucket(seconds=seconds, burst=burst)
        self._limit = limit
        self._limit_per_asker = limit_per_asker
        self._open: dict[R, None] = {}  # an ordered set
        self._served: dict[str, float] = {}  # when a line was last sent to an asker; the longest ago first
        self._new_first = True  # every second line
        self._asked: dict[str, tuple[int, float]] = {}  # how often each asked since when; the longest ago first
        self._turns: dict[str, list[R]] = {}  # the open replies of each asker; the askers in the order of their turns

    @property
    def open(self) -> Sequence[R]:
        """The replies admitted and not completely sent, oldest first."""
        return tuple(self._open)

    def __contains__(self, reply: R) -> bool:
        return reply in self._open

    def admit(self, reply: R) -> Rejection | None:
        """Admit a question; otherwise the reason why not."""
        if len(self._turns.get(reply.asker, ())) >= self._limit_per_asker:
            return Rejection.FLOOD
        if len(self._open) >= self._limit or self.waiting >= LINE_LIMIT:
            return Rejection.BUSY
        self._open[reply] = None
        self._turns.setdefault(reply.asker, []).append(reply)
        return None

    def asked(self, asker: str, now: float) -> None:
        """Count a question, whether or not it will be admitted."""
        number, since = self._asked.pop(asker, (0, now))
        if now - since >= NEW_AFTER:
            number, since = 0, now
        self._asked[asker] = (number + 1, since)
        if len(self._asked) > _SERVED_LIMIT:
            del self._asked[next(iter(self._asked))]

    def yielding(self, asker: str, now: float) -> R | None:
        """The question that gives its place to one of `asker` that was not admitted; None: none does.

        The latest question of who has asked most in the last minute, counting what was rejected. Who has not asked
        more than `asker` only yields if something was sent to them lately. An answer that has begun is finished.
        """
        if asker in self._turns or not self._is_new(asker, now):
            return None
        mine = self._insistence(asker)
        candidates = [
            (self._insistence(other), replies[-1])
            for other, replies in reversed(self._turns.items())
            if (self._insistence(other) > mine or not self._is_new(other, now))
            and not (replies[-1].started or replies[-1].firm)
        ]
        if not candidates:
            return None
        reply = max(candidates, key=lambda each: each[0])[1]
        return reply if self.waiting - len(reply.lines) < LINE_LIMIT else None

    def put(self, reply: R, lines: Sequence[str]) -> None:
        """Queue the lines of a reply, one or more; nothing happens if it was closed meanwhile."""
        if not lines:
            raise AssertionError("a reply must have a line")
        if reply in self._open:
            reply.lines.extend(lines)

    def adjust(self, *, seconds: float, burst: int) -> None:
        """Use another rate from now on, beginning with a full bucket."""
        self._bucket = TokenBucket(seconds=seconds, burst=burst)

    def charge(self, now: float) -> None:
        """Count a line that was sent without waiting here."""
        self._bucket.charge(now)

    def has_token(self, now: float) -> bool:
        """Whether a line may be sent now."""
        return now >= self._bucket.ready_at

    @property
    def ready_at(self) -> float:
        """The earliest time at which `take` returns a line; inf: no line waits."""
        return self._bucket.ready_at if self.waiting else inf

    @property
    def waiting(self) -> int:
        """How many lines wait to be sent."""
        return sum(len(reply.lines) for reply in self._open)

    @property
    def spare_at(self) -> float:
        """The earliest time at which `take_spare` succeeds; inf: lines of replies come first."""
        return inf if self.waiting else self._bucket.ready_at

    def take_spare(self, now: float) -> bool:
        """Take the right to send a line that is no reply; False while any line of a reply waits."""
        return not self.waiting and self._bucket.take(now)

    def take(self, now: float) -> tuple[R, str] | None:
        """The next line to send, with its reply; None: no line before `ready_at`. Close the reply after its last."""
        if not self.has_token(now):
            return None
        reply = (self._first_new(now) if self._new_first else None) or self._first()
        if reply is None:
            return None
        self._new_first = not self._new_first
        self._bucket.charge(now)
        self._remember(reply.asker, now)
        self._turns[reply.asker] = self._turns.pop(reply.asker)  # to the end, after all other askers
        reply.started = True
        return reply, reply.lines.popleft()

    def _first(self) -> R | None:
        """The next reply in the order of turns."""
        return next((reply for replies in self._turns.values() for reply in replies if reply.lines), None)

    def _first_new(self, now: float) -> R | None:
        """The same among the askers to whom nothing was sent lately; whoever asks least comes first."""
        new = [
            (self._insistence(asker), reply)
            for asker, replies in self._turns.items()
            if self._is_new(asker, now)
            for reply in replies
            if reply.lines
        ]
        return min(new, key=lambda each: each[0])[1] if new else None

    def _insistence(self, asker: str) -> tuple[int, int]:
        return self._asked.get(asker, (0, 0.0))[0], max(len(self._turns.get(asker, ())), 1)

    def _is_new(self, asker: str, now: float) -> bool:
        return now - self._served.get(asker, -inf) >= NEW_AFTER

    def _remember(self, asker: str, now: float) -> None:
        self._served.pop(asker, None)
        self._served[asker] = now
        if len(self._served) > _SERVED_LIMIT:
            del self._served[next(iter(self._served))]

    def expired(self, now: float) -> list[R]:
        """The replies that have waited too long for their first line. The caller closes them."""
        return [reply for reply in self._open if not reply.started and now - reply.received_at > REPLY_LIFETIME]

    def close(self, reply: R) -> None:
        """Free the place of a reply that was sent, or that never will be."""
        if reply not in self._open:
            raise AssertionError("a reply is closed once")
        del self._open[reply]
        reply.lines.clear()
        self._turns[reply.asker].remove(reply)
        if not self._turns[reply.asker]:
            del self._turns[reply.asker]
