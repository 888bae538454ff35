"""One SASL login on an IRC connection: mechanisms in turn, until one succeeds or none is left. No I/O.

    AUTHENTICATE PLAIN ──> server: AUTHENTICATE + ──> AUTHENTICATE <base64> ──> 903: done
                                                                           ──> 902 904 905 906: the next mechanism

It works before registration and, after CAP NEW, later. A server whose services are away acknowledges `sasl` and then
never answers (InspIRCd), so each step has a deadline.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from math import inf

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_sasl import Challenges, External, Mechanism, Plain, SASLError, ScramSHA256, split_response
from fingertrio.wire.irc_state import State

STEP_SECONDS = 20.0  # without a line of the exchange

_FAILED = frozenset({"902", "904", "905", "906"})


class Progress(Enum):
    """How far a login is."""

    GOING = auto()
    SUCCEEDED = auto()
    REJECTED = auto()  # the account or its proof is wrong
    UNAVAILABLE = auto()  # nobody checks it now


class Authentication:
    """One login.

    Args:
        state: of the session.
        login: the account, and the mechanisms to try.
        offered: the mechanisms that the server lists, in upper case; None: it does not tell.

    Attributes:
        progress: how far it is.
        reason: why it failed.
        name: the mechanism of the moment, in upper case.
        deadline: when `tick` ends it.
    """

    def __init__(self, state: State, login: Login, offered: Collection[str] | None) -> None:
        self.progress = Progress.GOING
        self.reason = ""
        self.name = ""
        self.deadline = inf
        self._state = state
        self._login = login
        self._offered = offered
        self._names = [name.upper() for name in login.sasl]
        self._mechanism: Mechanism | None = None
        self._challenges = Challenges()

    def start(self, now: float) -> None:
        """Begin with the first mechanism."""
        self.reason = "no mechanism that the server offers can be used"
        self._next(now)

    def handle(self, message: Message, now: float) -> None:
        """A line of the server, of any kind."""
        params = message.params
        match message.command:
            case "AUTHENTICATE" if params:
                self.deadline = now + STEP_SECONDS
                self._respond(params[0])
            case "903" | "907":
                self._succeed()
            case "908" if len(params) > 1:
                self._offered = frozenset(params[1].upper().split(","))
            case numeric if numeric in _FAILED:
                self.reason = params[-1] if params else numeric
                self._next(now, unavailable=numeric == "906")
            case "FAIL" if params and params[0].upper() == "AUTHENTICATE":
                self._abort(params[-1])
            case "421" if "AUTHENTICATE" in params[:-1]:
                self._abort(params[-1])

    def tick(self, now: float) -> None:
        """Time has passed."""
        if now >= self.deadline:
            self._abort("the services do not answer")

    def _next(self, now: float, *, unavailable: bool = False) -> None:
        while self._names:
            name = self._names.pop(0)
            if self._offered is not None and name not in self._offered:
                continue
            if (mechanism := self._make(name)) is None:
                continue
            self._mechanism, self._challenges, self.name = mechanism, Challenges(), name
            self.deadline = now + STEP_SECONDS
            self._state.send("AUTHENTICATE", name)
            return
        self._end(Progress.UNAVAILABLE if unavailable else Progress.REJECTED)

    def _make(self, name: str) -> Mechanism | None:
        account, password = self._login.account, self._login.account_password
        if name == "EXTERNAL":
            return External()
        if account is None or password is None:
            return None
        try:
            if name == "SCRAM-SHA-256":
                return ScramSHA256(account, password)
        except SASLError as error:
            self.reason = str(error)
            return None
        return Plain(account, password) if name == "PLAIN" and self._state.secure else None

    def _respond(self, piece: str) -> None:
        if self._mechanism is None:
            return
        try:
            challenge = self._challenges.feed(piece)
            if challenge is None:
                return
            response = self._mechanism.respond(challenge)
        except SASLError as error:
            # No other mechanism: PLAIN would give the password to a server that may not be the right one.
            self._names.clear()
            self._state.send("AUTHENTICATE", "*")
            self._reject(str(error))
            return
        for part in split_response(response):
            self._state.send("AUTHENTICATE", part)

    def _succeed(self) -> None:
        if self._mechanism is not None and not self._mechanism.is_satisfied:
            self._reject("the server did not prove that it knows the password")
        else:
            self._end(Progress.SUCCEEDED)

    def _reject(self, reason: str) -> None:
        self._mechanism = None
        self.reason = reason
        self._end(Progress.REJECTED)

    def _abort(self, reason: str) -> None:
        self._state.send("AUTHENTICATE", "*")
        self.reason = reason
        self._end(Progress.UNAVAILABLE)

    def _end(self, progress: Progress) -> None:
        self.deadline = inf
        self.progress = progress
