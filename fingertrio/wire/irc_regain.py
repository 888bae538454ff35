"""Getting the wanted nick back: from a ghost of ourselves, from services, after a forced change. No I/O.

MONITOR reports the moment at which the nick is free; without it, NICK is tried after 15, 30, 60 ... 600 s, whatever the
traffic. After two failures the network's services are asked, if they know us: REGAIN for a nick in use, RELEASE for one
that they hold. A refused NICK after registration never ends anything.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from math import inf

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_state import State

_FIRST_PAUSE = 15.0
_LONGEST_PAUSE = 600.0
_VARIATION = 0.25
_RELEASE_SECONDS = 2.0  # from RELEASE to NICK
_AT_ONCE_SECONDS = 5.0  # between two attempts without a pause

_SERVICES_AFTER = 2  # failures
_SERVICES_LIMIT = 3  # requests to services in one hour
_HOUR = 3600.0

_REFUSED = frozenset({"432", "433", "436", "437", "438", "447", "484"})
_TOO_FAST = "438"
_RESERVED = "432"


class Regain:
    """Whether the wanted nick is ours, and the attempts to get it.

    Attributes:
        deadline: of the next attempt.
    """

    def __init__(
        self, state: State, login: Login, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self.deadline = inf
        self._state = state
        self._login = login
        self._uniform = uniform
        self._started = False
        self._pause = _FIRST_PAUSE
        self._failures = 0
        self._monitoring = False
        self._tried_at = -inf  # at once, because the nick seemed to be free
        self._online: bool | None = None  # by MONITOR; None: not known
        self._asked: deque[float] = deque(maxlen=_SERVICES_LIMIT)

    @property
    def is_held(self) -> bool:
        """Whether we have the nick that we want, or all of it that the server accepts."""
        state, wish = self._state, self._login.nick
        if state.is_me(wish):
            return True
        is_cut = state.fold(wish).startswith(state.fold(state.nick)) and len(wish) > state.isupport.nicklen
        return is_cut and len(state.nick) >= min(state.isupport.nicklen, len(wish))

    def start(self, now: float) -> None:
        """The client is ready."""
        self._started = True
        self.nick_changed(now)

    def wish(self, login: Login, now: float) -> None:
        """The operator wants another nick."""
        if self._monitoring:
            self._state.send("MONITOR", "-", self._login.nick)
        self._login, self._monitoring, self._online = login, False, None
        self.deadline, self._pause, self._failures = inf, _FIRST_PAUSE, 0
        if self._started and not self.is_held:
            self._try()
        self.nick_changed(now)

    def nick_changed(self, now: float) -> None:
        """Our nick is another one now."""
        if not self._started:
            return
        if self.is_held:
            if self._monitoring:
                self._state.send("MONITOR", "-", self._login.nick)
            self.deadline, self._pause, self._failures = inf, _FIRST_PAUSE, 0
            self._monitoring, self._online = False, None
            return
        if self.deadline == inf:
            self._schedule(now)
        if self._state.isupport.has_monitor and not self._monitoring:
            self._monitoring = True
            self._state.send("MONITOR", "+", self._login.nick)

    def handle(self, message: Message, now: float) -> None:
        """A line of the server."""
        if not self._started or self.is_held:
            return
        command, params = message.command, message.params
        match command:
            case "730" | "731" if len(params) > 1 and self._is_wish(params[1]):
                self._online = command == "730"
                if not self._online:
                    self._try_at_once(now)
            case "734":
                self._monitoring, self._online = False, None
            case "QUIT" | "NICK" if message.source is not None and self._is_wish(message.source.nick):
                if not (command == "NICK" and self._state.is_me(params[0])):  # not us, by force
                    self._try_at_once(now)  # seen in a channel that we share
            case _ if command in _REFUSED and len(params) > 2 and self._is_wish(params[1]):
                self._refused(command, now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        if now < self.deadline:
            return
        self._schedule(now)
        if self._online:
            self._failures += 1
            self._ask_services("REGAIN", now)
        else:
            self._try()

    def _refused(self, numeric: str, now: float) -> None:
        self._failures += 1
        if numeric == _TOO_FAST:
            self.deadline = now + 2 * (self.deadline - now)
        elif self._ask_services("RELEASE" if numeric == _RESERVED else "REGAIN", now) and numeric == _RESERVED:
            self.deadline = now + _RELEASE_SECONDS

    def _ask_services(self, what: str, now: float) -> bool:
        login, state = self._login, self._state
        may = login.services and state.secure and self._failures >= _SERVICES_AFTER
        has_proof = state.account is not None or login.account_password is not None
        if len(self._asked) == _SERVICES_LIMIT and now - self._asked[0] < _HOUR:
            return False
        if not may or not has_proof:
            return False
        self._asked.append(now)
        words = [what, login.nick]
        if state.account is None and login.account_password is not None:
            words.append(login.account_password.reveal())
        state.send("PRIVMSG", login.services, " ".join(words))
        return True

    def _try_at_once(self, now: float) -> None:
        """The nick seems to be free; whoever takes and leaves it again and again does not make us flood."""
        if now - self._tried_at >= _AT_ONCE_SECONDS:
            self._tried_at = now
            self._try()

    def _try(self) -> None:
        self._state.send("NICK", self._login.nick)

    def _schedule(self, now: float) -> None:
        self.deadline = now + self._pause * self._uniform(1 - _VARIATION, 1 + _VARIATION)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _is_wish(self, names: str) -> bool:
        wish = self._state.fold(self._login.nick)
        return any(self._state.fold(name.partition("!")[0]) == wish for name in names.split(","))
