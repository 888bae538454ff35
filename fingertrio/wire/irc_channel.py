"""One channel of a bot: what is wanted of it, and how it stands. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

from fingertrio.wire.irc_secrets import Secret

FIRST_RETRY = 600.0  # seconds after the first rejection
REJOINS = 3  # a day, after a KICK, if the operator of the bot wants any


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel to be in, and its key if it has one."""

    name: str
    key: Secret | None = None


class Channel:
    """How we stand with one channel."""

    __slots__ = ("due", "inside", "invited", "joining", "leave_at", "name", "plan", "retry", "silent_until", "times")

    def __init__(self, plan: ChannelPlan, due: float = inf, *, invited: bool = False) -> None:
        self.plan = plan
        self.name = plan.name  # as the server spells it
        self.inside = False
        self.invited = invited
        self.due = due  # when to send JOIN; inf: never
        self.joining = 0  # JOINs without an answer
        self.retry = FIRST_RETRY
        self.silent_until = -inf
        self.leave_at = inf
        self.times: deque[float] = deque(maxlen=REJOINS)  # of rejoins after a KICK
