"""What goes out to an IRC server, in which order and how fast. No I/O; it is told the time.

A server disconnects who sends too fast: each line counts two seconds, and whoever is more than ten ahead is flooding
(RFC 1459 section 8.10). So answers wait here. Three rules keep the waiting fair and bounded:

- those who asked take turns, line by line: whoever asked three times has no more of each round than who asked once;
- an asker has a few questions open and everybody together some more; what comes beyond is refused when it is asked,
  before it costs anything;
- what the protocol wants (PONG, registration) never comes here, but it counts: the answers pay for it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from math import inf
from typing import Generic, TypeVar

# RFC 1459 section 8.10, as every server has it: two seconds a line, ten of them in advance.
FLOOD_SECONDS = 2.0
FLOOD_BURST = 5

# Each is a short status most times, so the last of 32 is sent within a minute, while its asker still looks. Three from
# one asker are a typing error and two corrections.
OPEN_LIMIT = 32
OPEN_LIMIT_PER_ASKER = 3


class TokenBucket:
    """Starts with `burst` tokens and gets one every `seconds`, up to `burst` again. Times are seconds on any clock."""

    __slots__ = ("_burst", "_full_at", "_seconds")

    def __init__(self, *, seconds: float, burst: int) -> None:
        self._seconds = seconds
        self._burst = burst
        self._full_at = -inf  # the one number there is to know: when the bucket is full again

    @property
    def ready_at(self) -> float:
        """The time from which on `take` succeeds."""
        return self._full_at - self._seconds * (self._burst - 1)

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if now < self.ready_at:
            return False
        self.charge(now)
        return True

    def charge(self, now: float) -> None:
        """Take a token, and where there is none, the next one in advance."""
        self._full_at = max(self._full_at, now) + self._seconds


class Answer:
    """A question from the moment it is let in until its last line is sent. Subclass it to remember more.

    Attributes:
        asker: who shares its turns and its limit: one string for one person, whatever they call themselves now.
    """

    def __init__(self, asker: str) -> None:
        self.asker = asker
        self.lines: deque[bytes] = deque()


A = TypeVar("A", bound=Answer)


class Outbox(Generic[A]):
    """The lines that wait, and the questions that are open."""

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
        self._turns: dict[str, deque[A]] = {}  # askers in the order of their turns; each one's answers are in order too
        self._per_asker: Counter[str] = Counter()
        self._open: dict[A, None] = {}  # a set that keeps its order

    @property
    def open(self) -> Sequence[A]:
        """What was let in and is not sent yet, oldest first."""
        return tuple(self._open)

    def admit(self, answer: A) -> bool:
        """Let a question in; False: it is one too many, of its asker's or of all."""
        if len(self._open) >= self._limit or self._per_asker[answer.asker] >= self._limit_per_asker:
            return False
        self._open[answer] = None
        self._per_asker[answer.asker] += 1
        return True

    def put(self, answer: A, lines: Sequence[bytes]) -> None:
        """Give a question that was let in its answer: one line or more, to be sent in turn."""
        if answer not in self._open or not lines:
            raise AssertionError("an answer is for an open question and has a line")
        answer.lines.extend(lines)
        self._turns.setdefault(answer.asker, deque()).append(answer)

    def charge(self, now: float) -> None:
        """A line went out that did not wait here; the next one of these waits longer for it."""
        self._bucket.charge(now)

    @property
    def ready_at(self) -> float:
        """The time from which on `take` gives a line; inf: nothing waits."""
        return self._bucket.ready_at if self._turns else inf

    def take(self, now: float) -> tuple[bytes, A | None] | None:
        """The next line, to be sent now, and the answer that it ends, if it ends one; None: not before `ready_at`."""
        if not self._turns or not self._bucket.take(now):
            return None
        asker, answers = next(iter(self._turns.items()))
        del self._turns[asker]
        answer = answers[0]
        line = answer.lines.popleft()
        if not answer.lines:
            answers.popleft()
        if answers:
            self._turns[asker] = answers  # at the end: the others come first
        return line, None if answer.lines else answer

    def close(self, answer: A) -> None:
        """Give its place to others: the answer was sent, or its session is over and nothing will be."""
        del self._open[answer]
        self._per_asker[answer.asker] -= 1
        if not self._per_asker[answer.asker]:
            del self._per_asker[answer.asker]
