"""What a bot does once after it is welcomed, in this order. No I/O; the caller passes the time.

1. Collect what the server tells of itself (005), until the end of its message of the day or for 5 s.
2. Mark itself as a bot, where the network has a mode for that.
3. Log in by a message to the services, if SASL did not: the password travels only where nobody can read along. Wait
   for 900 or for 10 s, since channels may ask for a login.

Then the client is ready: it may join channels and ask for its nick.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_events import Event, LoginFailed, Ready
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_state import State

_COLLECT_SECONDS = 5.0
_LOGIN_SECONDS = 10.0
_END_OF_GREETING = frozenset({"376", "422"})  # end of the message of the day, or none


class _Step(Enum):
    BEFORE = auto()
    COLLECTING = auto()
    LOGGING_IN = auto()
    DONE = auto()


class Setup:
    """The steps after the welcome.

    Attributes:
        deadline: when `tick` goes on.
    """

    def __init__(self, state: State, login: Login) -> None:
        self.deadline = inf
        self._state = state
        self._login = login
        self._step = _Step.BEFORE

    @property
    def is_done(self) -> bool:
        """Whether the client is ready."""
        return self._step is _Step.DONE

    def start(self, now: float) -> None:
        """The server has welcomed us."""
        self._step = _Step.COLLECTING
        self.deadline = now + _COLLECT_SECONDS
        self._state.send("USERHOST", self._state.nick)  # for the length of our source

    def handle(self, message: Message, now: float) -> list[Event]:
        """A line of the server."""
        if self._step is _Step.COLLECTING and message.command in _END_OF_GREETING:
            return self._collected(now)
        if self._step is _Step.LOGGING_IN and self._state.account is not None:
            return self._finish()
        return []

    def tick(self, now: float) -> list[Event]:
        """Time has passed."""
        if now < self.deadline:
            return []
        if self._step is _Step.COLLECTING:
            return self._collected(now)
        return [LoginFailed(f"{self._login.services} did not confirm the login"), *self._finish()]

    def _collected(self, now: float) -> list[Event]:
        self._mark_as_bot()
        login, state = self._login, self._state
        if state.account is not None or not login.services or login.account_password is None:
            return self._finish()
        if state.login_refused:  # the same account and password would be refused again, or go to a server without proof
            return self._finish()
        if not state.secure:
            reason = "the connection is not encrypted, so the password is not sent"
            return [LoginFailed(reason), *self._finish()]
        self._step = _Step.LOGGING_IN
        self.deadline = now + _LOGIN_SECONDS
        words = ["IDENTIFY", login.account or login.nick, login.account_password.reveal()]
        state.send("PRIVMSG", login.services, " ".join(words))
        return []

    def _mark_as_bot(self) -> None:
        mode = self._state.isupport.bot_mode or ("B" if "B" in self._state.user_modes else "")
        if self._login.bot_mode and mode:
            self._state.bot = True
            self._state.send("MODE", self._state.nick, f"+{mode}")

    def _finish(self) -> list[Event]:
        self._step = _Step.DONE
        self.deadline = inf
        return [Ready()]
