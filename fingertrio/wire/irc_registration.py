"""Registration with an IRC server: capabilities, SASL, a nick that it accepts, the welcome. No I/O.

    start ─ CAP LS 302, PASS, NICK, USER ─> LS ─ CAP REQ ─> REQ ─ AUTHENTICATE ─> AUTH ─ CAP END ─> END ─ 001 ─> DONE
                                            │ 421, 451, 001 or 10 s: no capabilities here ────────────^

With `hold`, only CAP LS is sent until the server has answered it, or two seconds have passed: a server that wants TLS
says so in that answer, and neither password nor name shall precede that. Whatever the server sends, each wait has an
end: a state, or `Ended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from math import inf

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_authentication import Authentication, Progress
from fingertrio.wire.irc_caps import SASL, WANTED, Caps
from fingertrio.wire.irc_ends import Ended, Verdict, end_by_error, end_by_numeric, sasl_failed, sasl_unavailable
from fingertrio.wire.irc_events import Event, LoginFailed, Registered
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_nicks import SAFE_NICKLEN, nick_candidates
from fingertrio.wire.irc_state import State
from fingertrio.wire.irc_sts import STSDuration, STSPort, parse_duration, parse_port

_HOLD_SECONDS = 2.0  # for the answer to CAP LS, before anything else is sent
_LIST_SECONDS = 10.0  # for the same; then the server knows no capabilities

_TAKEN = frozenset({"432", "433", "436", "437"})
_NO_CAP = frozenset({"400", "410", "421", "451"})
_ALL_TAKEN_PAUSE = 300.0  # seconds until somebody may have left


class Phase(Enum):
    """What the server's next answer is about."""

    LS = auto()
    REQ = auto()
    AUTH = auto()
    END = auto()
    DONE = auto()


class Registration:
    """The registration of one session, and later changes of its capabilities and its login.

    Args:
        state: of the session.
        login: who we are.
        hold: whether to send nothing but CAP LS at first.
        tls: whether the connection has TLS.
        nicklen: the length of a nick on this network, if a session before has learned it.
    """

    def __init__(
        self, state: State, login: Login, *, hold: bool = False, tls: bool = False, nicklen: int = SAFE_NICKLEN
    ) -> None:
        self.phase = Phase.LS
        self.mechanism = ""  # by which we are logged in
        self._state = state
        self._login = login
        self._tls = tls
        self._hold = hold
        self._introduced = False
        self._caps = Caps(state, (*WANTED, SASL) if login.sasl else WANTED)
        self._authentication: Authentication | None = None
        self._candidates = nick_candidates(login.nick, login.alternates, nicklen)
        self._only_invalid = True  # every refusal of a nick was 432
        self._list_deadline = inf
        self._hold_deadline = inf
        next(self._candidates)

    @property
    def offered(self) -> Mapping[str, str]:
        """The capabilities that the server offers, with their values."""
        return self._caps.offered

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        waiting = self._authentication.deadline if self._authentication is not None else inf
        return min(self._list_deadline, self._hold_deadline, waiting)

    def start(self, now: float) -> None:
        """Send the first lines."""
        self._list_deadline = now + _LIST_SECONDS
        self._state.send("CAP", "LS", "302")
        if self._hold:
            self._hold_deadline = now + _HOLD_SECONDS
        else:
            self._introduce()

    def handle(self, message: Message, now: float) -> Event | None:
        """A line of the server, of any kind."""
        if message.command == "CAP":
            return self._handle_cap(message.params, now)
        if (authentication := self._authentication) is not None:
            authentication.handle(message, now)
            if (event := self._after_login(authentication)) is not None:
                return event
        return None if self._state.registered else self._handle_before(message)

    def welcomed(self, nick: str) -> Event:
        """001: the nick is the one that the server says, whatever was asked for."""
        self._state.take_nick(nick)
        if self._login.sasl_required and self._state.account is None:
            return sasl_unavailable("the server does not offer it")
        self._state.registered = True
        self.phase = Phase.DONE
        self._list_deadline = self._hold_deadline = inf
        return Registered(nick)

    def tick(self, now: float) -> Event | None:
        """Time has passed."""
        if now >= self._hold_deadline:
            self._introduce()
        if now >= self._list_deadline:
            return self._without_caps(say_end=True)
        if (authentication := self._authentication) is not None:
            authentication.tick(now)
            return self._after_login(authentication)
        return None

    def _introduce(self) -> None:
        self._hold_deadline = inf
        if self._introduced:
            return
        self._introduced = True
        if self._login.password is not None:
            self._state.send("PASS", self._login.password.reveal())
        self._state.send("NICK", self._state.nick)
        # "0" is the user mode, "*" is unused (RFC 2812 section 3.1.3).
        self._state.send("USER", self._login.username, "0", "*", self._login.realname)

    def _handle_before(self, message: Message) -> Event | None:
        """Before 001."""
        command, params = message.command, message.params
        text = params[-1] if params else ""
        if command in _TAKEN:
            return self._next_nick(command)
        if command == "ERROR":
            return end_by_error(text, registered=False)
        if command == "FAIL" and len(params) > 1 and params[1].startswith("ACCOUNT_REQUIRED"):
            return sasl_unavailable(text) if self._login.sasl else Ended(text, Verdict.STOP, outcome="sasl")
        if (end := end_by_numeric(command, text)) is not None:
            return end
        is_about_cap = "CAP" in (param.upper() for param in params[:-1]) or command == "451"
        if self.phase is Phase.LS and command in _NO_CAP and is_about_cap:
            return self._without_caps()
        return None

    def _next_nick(self, numeric: str) -> Event | None:
        self._only_invalid = self._only_invalid and numeric == "432"
        nick = next(self._candidates, None)
        if nick is None:
            self._state.send("QUIT", "no nickname left to try")
            if self._only_invalid:
                return Ended("no valid nick here: the server rejects every nickname", Verdict.STOP)
            return Ended("no nickname was accepted", Verdict.LATER, _ALL_TAKEN_PAUSE)
        self._state.nick = nick
        self._state.send("NICK", nick)
        return None

    def _handle_cap(self, params: tuple[str, ...], now: float) -> Event | None:
        if len(params) < 3:
            return None
        subcommand, text = params[1].upper(), params[-1]
        match subcommand:
            case "LS":
                self._caps.learn(text)
                more = len(params) > 3 and params[2] == "*"
                if not more and self.phase is Phase.LS:
                    return self._listed(now)
            case "ACK" | "NAK":
                return self._answered(subcommand, text, now)
            case "NEW":
                names = self._caps.learn(text)
                self._caps.request(names)
                return self._transport(names)
            case "DEL":
                self._caps.withdrawn(text)
        return None

    def _answered(self, subcommand: str, text: str, now: float) -> Event | None:
        """An answer to a request has come."""
        granted: list[str] = []
        if subcommand == "ACK":
            granted = self._caps.acknowledged(text)
        else:
            self._caps.rejected(text)
        if self.phase is Phase.REQ:
            return self._requested(now)
        return self._log_in(now) if SASL in granted and self._login.sasl and self._state.registered else None

    def _listed(self, now: float) -> Event | None:
        """The list is complete."""
        self._list_deadline = inf
        event = self._transport(list(self._caps.offered))
        if isinstance(event, STSPort):
            return event  # nothing more is sent here
        self._introduce()
        self.phase = Phase.REQ
        if not self._caps.request():
            return self._requested(now) or event
        return event

    def _transport(self, names: list[str]) -> Event | None:
        if "sts" not in names:
            return None
        value = self._caps.offered["sts"]
        if self._tls:
            seconds = parse_duration(value)
            return None if seconds is None else STSDuration(seconds)
        port = parse_port(value)
        return STSPort(port) if port is not None and self._hold else None

    def _requested(self, now: float) -> Event | None:
        """Go on if every request has its answer."""
        if not self._caps.is_settled:
            return None
        if not self._login.sasl:
            self._end_caps()
            return None
        if SASL in self._state.caps:
            self.phase = Phase.AUTH
            return self._log_in(now)
        if self._login.sasl_required:
            return sasl_unavailable("the server does not offer it")
        self._end_caps()
        return None

    def _log_in(self, now: float) -> Event | None:
        if self._state.account is not None:
            self._end_caps()
            return None
        self._authentication = Authentication(self._state, self._login, self._caps.mechanisms())
        self._authentication.start(now)
        return self._after_login(self._authentication)

    def _after_login(self, authentication: Authentication) -> Event | None:
        if authentication.progress is Progress.GOING:
            return None
        self._authentication = None
        required = self._login.sasl_required and not self._state.registered
        if authentication.progress is Progress.SUCCEEDED:
            self.mechanism = authentication.name
            if self._state.account is None:  # no 900 has named it
                self._state.account = self._login.account or self._state.nick
            self._end_caps()
            return None
        self._state.login_refused = True
        if required and authentication.progress is Progress.REJECTED:
            return sasl_failed(authentication.reason)
        if required:
            return sasl_unavailable(authentication.reason)
        self._end_caps()
        return LoginFailed(authentication.reason)

    def _without_caps(self, *, say_end: bool = False) -> Event | None:
        """The server knows no capabilities."""
        self._list_deadline = inf
        self._introduce()
        if self._login.sasl_required:
            return sasl_unavailable("the server does not offer it")
        if say_end:
            self._state.send("CAP", "END")
        self.phase = Phase.DONE
        return None

    def _end_caps(self) -> None:
        if self.phase in {Phase.REQ, Phase.AUTH}:
            self.phase = Phase.END
            self._state.send("CAP", "END")
