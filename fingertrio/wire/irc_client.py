"""One IRC session from the client's side: bytes in, events and lines out. No I/O, no clock, no reconnecting.

`receive` takes the bytes that arrive and returns frozen events. Lines that the protocol requires come from
`take_urgent`, to be sent immediately and in order, and need no event. `message` makes all other lines; the caller sends
these at the rate that the flood rule allows (`irc_outbox`). Whatever waits for time waits for `tick`, at `deadline`.

    start ── CAP LS, PASS, NICK, USER ──> irc_registration ── 001 ──> irc_setup ── Ready ──> irc_channels, irc_regain

Each part is a state machine of its own over one shared `State`. Lines are handled in order, and each decision (is this
message for us?) uses the state when its line is handled: our nick and the server's case mapping can change between two
lines of one packet.

A line that is not a message is skipped and reported (`Malformed`): another user may have made a careless server relay
it, and that must not end our session. After an overlong line the start of the next is unknown: ProtocolError.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import LINE_LIMIT, Message, Source, encode, parse_message
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_channels import Channels
from fingertrio.wire.irc_conversation import LEAST_PARAMS, Conversation
from fingertrio.wire.irc_ends import end_by_error
from fingertrio.wire.irc_events import (
    AccountChanged,
    CTCPRequest,
    Event,
    Malformed,
    NickChanged,
    Ponged,
    Ready,
    Registered,
)
from fingertrio.wire.irc_identity import learn_identity
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_nicks import SAFE_NICKLEN
from fingertrio.wire.irc_numerics import Numeric
from fingertrio.wire.irc_regain import Regain
from fingertrio.wire.irc_registration import Registration
from fingertrio.wire.irc_setup import Setup
from fingertrio.wire.irc_split import split_text
from fingertrio.wire.irc_state import State
from fingertrio.wire.irc_whox import AccountQueries
from fingertrio.wire.lines import LineBuffer

# A CTCP PING carries a time stamp. A longer argument would use us to repeat arbitrary text.
_CTCP_ARGUMENT_LIMIT = 64  # bytes of UTF-8

PING_TOKEN = "fingertrio"


class IRCClient:
    """The state of one session. Make a new client for each session.

    Args:
        login: who we are.
        version: the reply to CTCP VERSION.
        home: the reply to CTCP SOURCE; empty: no reply.
        hold: send nothing but CAP LS at first; see `irc_registration`.
        tls: whether the connection has TLS.
        secure: whether passwords may be sent on it.
        nicklen: the length of a nick on this network, if a session before has learned it.
        channels: the channels to be in.
        rejoin, accept: see `Channels`.
        uniform: returns a random number between its two arguments.
        trace: called with each line of the server.

    Attributes:
        state: what the session knows.
        channels: the channels.
        registration: capabilities and login.
        regain: whether the wanted nick is ours.
    """

    def __init__(
        self,
        login: Login,
        *,
        version: str = "fingertrio",
        home: str = "",
        hold: bool = False,
        tls: bool = False,
        secure: bool = False,
        nicklen: int = SAFE_NICKLEN,
        channels: Sequence[ChannelPlan] = (),
        rejoin: float | None = None,
        accept: Collection[str] | None = (),
        uniform: Callable[[float, float], float] = random.uniform,
        trace: Callable[[bytes], None] | None = None,
    ) -> None:
        self.state = State(login.nick, login.username, secure=secure)
        self.registration = Registration(self.state, login, hold=hold, tls=tls, nicklen=nicklen)
        self.channels = Channels(self.state, channels, rejoin=rejoin, accept=accept, ask_chanserv=login.ask_chanserv)
        self.regain = Regain(self.state, login, uniform=uniform)
        self._setup = Setup(self.state, login)
        self._queries = AccountQueries(self.state)
        self._conversation = Conversation(self.state, login.services)
        self._trace = trace
        self._login = login
        self._version = version
        self._home = home
        self._lines = LineBuffer(LINE_LIMIT)

    @property
    def nick(self) -> str:
        """Our nick."""
        return self.state.nick

    @property
    def registered(self) -> bool:
        """Whether the server has welcomed us."""
        return self.state.registered

    @property
    def is_ready(self) -> bool:
        """Whether the steps after the welcome are done."""
        return self._setup.is_done

    @property
    def deadline(self) -> float:
        """When to call `tick`; inf: not before something arrives."""
        return min(
            self.registration.deadline,
            self._setup.deadline,
            self.regain.deadline,
            self.channels.deadline,
            self._queries.deadline,
        )

    def adopt(self, login: Login, now: float = 0.0) -> None:
        """The operator wants another nick or real name: ask for them."""
        old, self._login = self._login, login
        if login.nick != old.nick:
            self.regain.wish(login, now)
        if login.realname != old.realname and "setname" in self.state.caps:
            self.state.send("SETNAME", login.realname)

    def start(self, now: float = 0.0) -> None:
        """Begin: the first lines are in `take_urgent`."""
        self.registration.start(now)

    def take_urgent(self) -> list[bytes]:
        """Lines to send now, before all others; each is returned once."""
        urgent, self.state.out = self.state.out, []
        return urgent

    def receive(self, data: bytes, now: float = 0.0) -> list[Event]:
        """The events in `data`, after the data received before; often none. Call `take_urgent` afterwards.

        Raises:
            ProtocolError: a line is too long; the session cannot continue.
        """
        self._lines.feed(data)
        events: list[Event] = []
        while (line := self._lines.take()) is not None:
            if self._trace is not None:
                self._trace(line)
            if not line.strip(b" "):  # empty messages are to be ignored (RFC 1459 section 2.3)
                continue
            try:
                events += self._handle(parse_message(line, self.state.isupport.linelen), now)
            except ProtocolError as error:
                events.append(Malformed(str(error)))
        return events

    def tick(self, now: float) -> list[Event]:
        """Do what is due at `now`. Call `take_urgent` afterwards."""
        events: list[Event] = []
        if (event := self.registration.tick(now)) is not None:
            events.append(event)
        if self.state.registered:
            events += self._setup.tick(now)
            self.regain.tick(now)
            events += self.channels.tick(now)
            events += self._queries.tick(now)
        return self._extended(events, now)

    def is_me(self, target: str) -> bool:
        """Whether `target` is our nick."""
        return self.state.is_me(target)

    def fold(self, nick: str) -> str:
        """Case-fold `nick` as the server does: two spellings of one nick give the same result."""
        return self.state.fold(nick)

    def ping(self) -> bytes:
        """A line that a live server answers; its answer is `Ponged`."""
        return encode("PING", PING_TOKEN)

    def quit(self, reason: str) -> bytes:
        """The line that ends the session; the server answers ERROR and closes the connection."""
        return encode("QUIT", reason)

    def room(self, command: str, target: str) -> int:
        """The bytes of text that reach `target` untruncated; see `State.room`."""
        return self.state.room(command, target)

    def message(self, command: str, target: str, text: str) -> list[bytes]:
        """The PRIVMSGs or NOTICEs that carry `text`, which is one line.

        Raises:
            ValueError: `text` has a line end or lone surrogates, or `target` is neither a nick nor a channel.
        """
        if not self.state.is_target(target):
            raise ValueError("not a valid IRC target")
        pieces = split_text(text, self.room(command, target))
        return [encode(command, target, piece, limit=self.state.isupport.linelen) for piece in pieces]

    def ask_account(self, source: Source, now: float) -> int | None:
        """Ask the server which account `source` has; the token of the `AccountProved` that follows.

        None: the server cannot tell, or is being asked too much.
        """
        return self._queries.ask(source, now) if self.state.isupport.has_whox else None

    def ctcp_reply(self, request: CTCPRequest) -> str | None:
        """The text of the NOTICE that answers a request; None: the request is not answered."""
        if len(request.argument.encode()) > _CTCP_ARGUMENT_LIMIT:
            return None
        answers = {"PING": request.argument, "VERSION": self._version, "SOURCE": self._home}
        known = " ".join(sorted(["CLIENTINFO", *(name for name in answers if name != "SOURCE" or self._home)]))
        answers["CLIENTINFO"] = known
        if request.command not in known.split():
            return None
        return f"\x01{request.command} {answers[request.command]}\x01"

    def _handle(self, message: Message, now: float) -> list[Event]:
        if len(message.params) < LEAST_PARAMS.get(message.command, 0):
            raise ProtocolError("message without its params")
        account = self.state.account
        learn_identity(self.state, message)
        events: list[Event] = []
        match message.command:
            case "PING":
                pong = encode("PONG", message.params[-1], encoding=message.encoding, limit=self.state.isupport.linelen)
                self.state.out.append(pong)
            case "PONG":
                return [Ponged()]  # some servers answer with their own name instead of our token
            case Numeric.RPL_WELCOME:
                events.append(self._welcome(message.params[0]))
            case "ERROR" if self.state.registered:
                return [end_by_error(message.params[-1] if message.params else "", registered=True)]
            case _:
                events += self._pass_on(message, now)
        if self.state.account != account:
            events.append(AccountChanged(self.state.account))
        return self._extended(events, now)

    def _pass_on(self, message: Message, now: float) -> list[Event]:
        events: list[Event] = []
        if (event := self.registration.handle(message, now)) is not None:
            events.append(event)
        if (event := self._conversation.handle(message)) is not None:
            events.append(event)
        if self.state.registered:
            events += self._setup.handle(message, now)
            self.regain.handle(message, now)
            events += self.channels.handle(message, now)
            events += self._queries.handle(message)
        return events

    def _welcome(self, nick: str) -> Event:
        if self.state.registered:  # some bouncers send a second welcome
            self.state.take_nick(nick)
            return NickChanged(nick)
        return self.registration.welcomed(nick)

    def _extended(self, events: list[Event], now: float) -> list[Event]:
        """The same events, with what follows from them."""
        extended: list[Event] = []
        for event in events:
            extended.append(event)
            match event:
                case Registered():
                    self._setup.start(now)
                case Ready():
                    extended += self.channels.start(now)
                    self.regain.start(now)
                case NickChanged():
                    self.regain.nick_changed(now)
                case AccountChanged(str()):
                    self.channels.logged_in(now)
        return extended
