"""Which account a person is logged in to, asked of the server by WHO with fields (WHOX). No I/O.

    WHO alice %tuhna,137  ──>  354 me 137 ~al host.example alice alice_account      "0": not logged in

Only for networks without account-tag, where a message itself does not tell. The answer counts if it has our token and
the same user and host as the question, within ten seconds.
"""

from __future__ import annotations

from math import inf

from fingertrio.wire.irc import Message, Source
from fingertrio.wire.irc_events import AccountProved
from fingertrio.wire.irc_numerics import Numeric
from fingertrio.wire.irc_state import State

_SECONDS = 10.0
_LIMIT = 8  # questions at once
_TOKENS = range(100, 1000)


class AccountQueries:
    """The questions without an answer yet."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: dict[int, tuple[Source, float]] = {}  # by token: of whom, and until when
        self._next = 0

    @property
    def deadline(self) -> float:
        """When the oldest question is given up."""
        return min((until for _, until in self._open.values()), default=inf)

    def ask(self, source: Source, now: float) -> int | None:
        """Ask for the account of `source`; the token of the answer, or None: too many are being asked for."""
        if len(self._open) >= _LIMIT:
            return None
        token = _TOKENS[self._next % len(_TOKENS)]
        self._next += 1
        self._open[token] = source, now + _SECONDS
        self._state.send("WHO", source.nick, f"%tuhna,{token}")
        return token

    def handle(self, message: Message) -> list[AccountProved]:
        """A line of the server."""
        params = message.params
        if message.command == Numeric.RPL_WHOSPCRPL and len(params) >= 6 and params[1].isascii():
            token = int(params[1]) if params[1].isdigit() and len(params[1]) == 3 else 0
            source, _ = self._open.get(token, (None, 0.0))
            if source is None:
                return []
            same = (params[2], params[3]) == (source.user, source.host)
            if not same or self._state.fold(params[4]) != self._state.fold(source.nick):
                return []
            del self._open[token]
            return [AccountProved(token, None if params[5] in {"0", "*"} else params[5])]
        if message.command == Numeric.RPL_ENDOFWHO and len(params) > 1:
            ended = [
                token
                for token, (source, _) in self._open.items()
                if self._state.fold(source.nick) == self._state.fold(params[1])
            ]
            return [self._give_up(token) for token in ended[:1]]
        return []

    def tick(self, now: float) -> list[AccountProved]:
        """Time has passed."""
        late = [token for token, (_, until) in self._open.items() if now >= until]
        return [self._give_up(token) for token in late]

    def _give_up(self, token: int) -> AccountProved:
        del self._open[token]
        return AccountProved(token, None)
