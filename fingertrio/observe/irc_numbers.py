"""The numbers of one IRC network. Names of channels, nicks and accounts are never in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class NetworkNumbers:
    """One network's state and counters.

    Attributes:
        registered: whether the server has welcomed us.
        nick_wished: whether we have the nick that we want.
        logged_in: whether the network's services know us.
        channels_in: channels that we are in.
        channels_wanted: channels that are configured.
        lag: seconds from our last PING to its answer.
        queue_lines: lines of answers that wait.
        connects: attempts by outcome: "registered", "unreachable", "tls", "refused", "sasl", "banned".
        sent: lines by kind: "answer", "announcement", "notice", "protocol".
        dropped: questions and answers that came to nothing, by reason.
        announcements: changes by outcome: "sent", "merged", "dropped".
    """

    registered: bool = False
    nick_wished: bool = False
    logged_in: bool = False
    channels_in: int = 0
    channels_wanted: int = 0
    lag: float = 0.0
    queue_lines: int = 0
    connects: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    announcements: Counter[str] = field(default_factory=Counter)
