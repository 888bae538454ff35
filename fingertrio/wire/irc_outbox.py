"""The order and the rate of the lines sent to an IRC server. No I/O; the caller passes the time.

A server disconnects a client that sends too fast: each line costs two seconds, and a client more than ten seconds ahead
is flooding (RFC 1459 section 8.10). So replies wait here. Three rules keep the waiting fair and bounded:

- askers take turns, line by line: an asker with three open questions gets no more of each round than one with a single
  question;
- the number of open questions is limited, for each asker and in total; a question over the limit is rejected on
  arrival, before it causes any work;
- protocol lines (PONG, registration) do not wait here, but count against the rate, so they delay replies.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from math import inf
from typing import Generic, TypeVar

# RFC 1459 section 8.10, as implemented by every server: two seconds a line, ten seconds in advance.
FLOOD_SECONDS = 2.0
FLOOD_BURST = 5

# Most replies are one line, so the last of 32 is sent within a minute, while its asker still waits. Three for each
# asker allow a typing error and two corrections.
OPEN_LIMIT = 32
OPEN_LIMIT_PER_ASKER = 3


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


class Reply:
    """A question from its admission until the last line of its answer is sent. Subclass it to keep more data.

    Attributes:
        asker: identifies the person across nick changes; turns and limits are counted by it.
    """

    def __init__(self, asker: str) -> None:
        self.asker = asker
        self.lines: deque[bytes] = deque()


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
        self._turns: dict[str, deque[R]] = {}  # askers in the order of their turns; the replies of each are in order
        self._per_asker: Counter[str] = Counter()
        self._open: dict[R, None] = {}  # an ordered set

    @property
    def open(self) -> Sequence[R]:
        """The replies admitted and not completely sent, oldest first."""
        return tuple(self._open)

    def admit(self, reply: R) -> bool:
        """Admit a question; False: its asker, or all askers together, have too many open."""
        if len(self._open) >= self._limit or self._per_asker[reply.asker] >= self._limit_per_asker:
            return False
        self._open[reply] = None
        self._per_asker[reply.asker] += 1
        return True

    def put(self, reply: R, lines: Sequence[bytes]) -> None:
        """Queue the lines of an admitted reply, one or more."""
        if reply not in self._open or not lines:
            raise AssertionError("a reply must be open and have a line")
        reply.lines.extend(lines)
        self._turns.setdefault(reply.asker, deque()).append(reply)

    def charge(self, now: float) -> None:
        """Count a line that was sent without waiting here."""
        self._bucket.charge(now)

    @property
    def ready_at(self) -> float:
        """The earliest time at which `take` returns a line; inf: no line waits."""
        return self._bucket.ready_at if self._turns else inf

    def take(self, now: float) -> tuple[bytes, R | None] | None:
        """The next line to send, and the reply if this is its last line; None: no line before `ready_at`."""
        if not self._turns or not self._bucket.take(now):
            return None
        asker, replies = next(iter(self._turns.items()))
        del self._turns[asker]
        reply = replies[0]
        line = reply.lines.popleft()
        if not reply.lines:
            replies.popleft()
        if replies:
            self._turns[asker] = replies  # at the end, after all other askers
        return line, None if reply.lines else reply

    def close(self, reply: R) -> None:
        """Free the place of a reply that was sent, or that never will be."""
        del self._open[reply]
        self._per_asker[reply.asker] -= 1
        if not self._per_asker[reply.asker]:
            del self._per_asker[reply.asker]
