"""What one webhook still has to deliver, and when. Sans-IO: the caller brings the time, and makes the attempts.

- Of each user one message waits. A newer one takes its place: a receiver needs the present status, not earlier ones.
  While a message is on its way, the next one of the same user waits, so messages of one user arrive in order.
- A message whose attempt failed waits by a schedule of its own: `FIRST` seconds, each pause up to twice the previous
  one, `LONGEST` at most, each less a random part of up to half. After `LIFETIME` it is given up.
- If the receiver cannot take any message (no answer, 429, 502, ...), all of them wait by one such schedule, and then a
  single message tries. So a receiver that is down is not asked by every message. Messages of `DISTRUST` users rejected
  in a row count as the same: then it is not the message.
- A Retry-After makes a pause longer, up to `MOST_PATIENCE`, and never shorter.
- Of more than `limit` users, the message that was put first is dropped.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from fingertrio.wire.backoff import Backoff
from fingertrio.wire.webhook import Verdict

FIRST = 5.0  # seconds before the second attempt, at most
LONGEST = 900.0  # seconds between two attempts, at most: a receiver that is back waits no longer
LIFETIME = 86_400.0  # seconds after which a status is no news

# A receiver may ask for hours, not for longer than its messages live.
MOST_PATIENCE = 6 * 3600.0

DISTRUST = 5

# At once to one receiver: a slow answer does not hold up the messages of other users, and none of this is a flood.
AT_ONCE = 4

_SLACK = 64  # entries of the heap that may have become void, besides as many as wait


@dataclass(eq=False, slots=True)
class Waiting:
    """A message that waits, or is on its way.

    Attributes:
        user: whose status it has.
        id: of the message.
        deadline: when it is given up.
        due: not before this time.
        attempts: that have failed.
        is_outdated: whether a newer one of the same user has been put since.
    """

    user: str
    id: str
    deadline: float
    due: float
    attempts: int = 0
    is_outdated: bool = False
    _backoff: Backoff | None = field(default=None, repr=False)

    def next_pause(self, uniform: Callable[[float, float], float]) -> float:
        """Seconds until it may be tried again."""
        self.attempts += 1
        if self._backoff is None:
            self._backoff = Backoff(FIRST, LONGEST, uniform=uniform)
        return self._backoff.pause()


class DeliveryQueue:
    """The messages of one webhook.

    Args:
        limit: users whose message may wait.
        uniform: returns a random number between two numbers.

    Attributes:
        gone: whether the receiver wants no more; then nothing is put and nothing taken.
    """

    def __init__(self, limit: int, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self.limit = limit
        self.gone = False
        self._uniform = uniform
        self._waiting: dict[str, Waiting] = {}  # by user, the oldest first
        self._under_way: dict[str, Waiting] = {}
        self._heap: list[tuple[float, int, Waiting]] = []  # of those that wait; others are left in it and skipped
        self._numbers = count()
        self._pause = Backoff(FIRST, LONGEST, uniform=uniform)
        self._paused_until = -inf
        self._is_troubled = False
        self._rejected: set[str] = set()  # users, since the last success

    def __len__(self) -> int:
        """The messages that are not delivered yet, those on their way included."""
        return len(self._waiting.keys() | self._under_way.keys())

    @property
    def is_troubled(self) -> bool:
        """Whether the receiver could not take the last message, whichever it was."""
        return self._is_troubled

    @property
    def is_busy(self) -> bool:
        """Whether a message is on its way."""
        return bool(self._under_way)

    def put(self, user: str, message_id: str, now: float, *, age: float = 0.0) -> list[Waiting]:
        """Add a message, due at once; the messages that it replaced or that were dropped for it.

        Args:
            user: whose status it has.
            message_id: of the message.
            now: the present time.
            age: seconds since the event.
        """
        message = Waiting(user, message_id, now + LIFETIME - age, now)
        if self.gone:
            return [message]
        removed = [old] if (old := self._waiting.pop(user, None)) is not None else []
        self._waiting[user] = message
        if (outdated := self._under_way.get(user)) is not None:
            outdated.is_outdated = True
        else:
            self._push(message)
        if len(self._waiting) > self.limit:
            removed.append(self._waiting.pop(next(iter(self._waiting))))
        return removed

    def take(self, now: float) -> Waiting | None:
        """The next message to try, which is on its way from now on; None: none is due."""
        if now < self._paused_until or len(self._under_way) >= (1 if self._is_troubled else AT_ONCE):
            return None
        self._clean()
        if not self._heap or self._heap[0][0] > now:
            return None
        message = heappop(self._heap)[2]
        del self._waiting[message.user]
        self._under_way[message.user] = message
        return message

    def next_time(self) -> float:
        """When `take` may return a message, if nothing happens before; infinity: never."""
        self._clean()
        if not self._heap or len(self._under_way) >= (1 if self._is_troubled else AT_ONCE):
            return inf
        return max(self._heap[0][0], self._paused_until)

    def delivered(self, message: Waiting) -> None:
        """The receiver has it."""
        self._finish(message)
        self.retry_now()

    def retry_now(self) -> None:
        """What is due need not wait for the receiver any more: it works, or is another one."""
        self._pause.reset()
        self._paused_until = -inf
        self._is_troubled = False
        self._rejected.clear()

    def failed(self, message: Waiting, now: float, verdict: Verdict, retry_after: float = 0.0) -> list[Waiting]:
        """An attempt failed; the messages that are given up.

        Args:
            message: from `take`.
            now: the present time.
            verdict: REJECTED or UNAVAILABLE.
            retry_after: seconds that the receiver asks for; 0: none.
        """
        if self.gone:
            self._finish(message)
            return []
        asked = min(retry_after, MOST_PATIENCE)
        if verdict is Verdict.REJECTED and len(self._rejected) < DISTRUST:
            self._rejected.add(message.user)
        if verdict is Verdict.UNAVAILABLE or len(self._rejected) >= DISTRUST:
            # Of several that were on their way together, the first failure decides.
            if now >= self._paused_until:
                self._paused_until = now + max(self._pause.pause(), asked)
            self._is_troubled = True
            message.attempts += 1
            message.due = self._paused_until  # behind those that have not been tried
        else:
            message.due = now + max(message.next_pause(self._uniform), asked)
        message.due = min(message.due, max(message.deadline, now))
        expired = []
        if self._finish(message):
            self._waiting[message.user] = message
            self._push(message)
            expired = [other for other in self._waiting.values() if now >= other.deadline]
        for other in expired:
            del self._waiting[other.user]
        return expired

    def drop(self, message: Waiting) -> None:
        """Forget a message from `take`: it need not be delivered any more."""
        self._finish(message)

    def close(self) -> list[Waiting]:
        """The receiver wants no more: forget every message. Returns them, without those on their way."""
        self.gone = True
        left = list(self._waiting.values())
        self._waiting.clear()
        self._heap.clear()
        return left

    def reopen(self, now: float) -> None:
        """Take messages again, and try at once what waits."""
        self.gone = False
        self.retry_now()
        for message in self._waiting.values():
            message.due = now
        self._refill()

    def _push(self, message: Waiting) -> None:
        heappush(self._heap, (message.due, next(self._numbers), message))
        if len(self._heap) > 2 * len(self._waiting) + _SLACK:
            self._refill()

    def _refill(self) -> None:
        """Put into the heap what waits, and nothing else."""
        self._heap = [
            (message.due, next(self._numbers), message)
            for message in self._waiting.values()
            if message.user not in self._under_way
        ]
        heapify(self._heap)

    def _clean(self) -> None:
        """Remove from the top of the heap what does not wait any more."""
        while self._heap and not self._is_current(*self._heap[0]):
            heappop(self._heap)

    def _is_current(self, due: float, _number: int, message: Waiting) -> bool:
        return self._waiting.get(message.user) is message and message.due == due

    def _finish(self, message: Waiting) -> bool:
        """The message is no longer on its way; whether it is still the newest of its user."""
        del self._under_way[message.user]
        newer = self._waiting.get(message.user)
        if newer is not None:
            self._push(newer)
        return not message.is_outdated
