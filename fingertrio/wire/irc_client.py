"""One IRC session from the client's side: bytes in, events and lines out. No I/O, no clock, no reconnecting.

`IRCClient.receive` takes the bytes that arrive and returns frozen events. Lines that the protocol requires
(registration, another nick if ours is in use, PONG) come from `take_urgent`, to be sent immediately and in order, and
need no event. `message` makes all other lines; the caller sends these at the rate that the flood rule allows
(`irc_outbox`).

    start() ── NICK, USER ──> 433? next nick ──> 001: Registered ──> messages, PING, NICK ──> ERROR: Ended

Lines are handled in order, and each decision (is this message for us?) uses the state when its line is handled: our
nick and the server's case mapping can change between two lines of one packet.

A line that is not a message is skipped and reported (`Malformed`): another user may have made a careless server relay
it, and that must not end our session. After an overlong line the start of the next is unknown: ProtocolError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import LINE_LIMIT, Message, Source, encode, is_nick, parse_message
from fingertrio.wire.irc_events import (
    CTCPRequest,
    Ended,
    Event,
    Malformed,
    NickChanged,
    PrivateMessage,
    Registered,
    Undeliverable,
    UserGone,
    UserRenamed,
)
from fingertrio.wire.irc_isupport import ISupport
from fingertrio.wire.irc_nicks import nick_candidates
from fingertrio.wire.irc_numerics import GONE, REJECTED, UNDELIVERABLE, Numeric
from fingertrio.wire.irc_split import split_text
from fingertrio.wire.irc_tags import Batches, is_automated, sent_at
from fingertrio.wire.lines import LineBuffer

# Commands with fewer params are malformed.
_LEAST_PARAMS = {"PING": 1, "PRIVMSG": 2, "NOTICE": 2, "NICK": 1, "KILL": 1, "BATCH": 1, Numeric.RPL_WELCOME: 1}

# Bytes of a user and of a host; longer ones do not count. They leave 200 bytes of every message for its text.
_USER_LIMIT = 32
_HOST_LIMIT = 128

# A CTCP PING carries a time stamp. A longer argument would use us to repeat arbitrary text.
_CTCP_ARGUMENT_LIMIT = 64  # bytes of UTF-8


class IRCClient:
    """The state of one session. Make a new client for each session.

    Args:
        nick: the nick we want.
        username: the user in our source: one word of ASCII, at most 16 bytes (servers truncate it at about ten).
        realname: shown by WHOIS.
        version: the reply to CTCP VERSION.

    Raises:
        ValueError: one of the arguments cannot be sent.
    """

    def __init__(self, nick: str, *, username: str, realname: str, version: str = "fingertrio") -> None:
        if not is_nick(nick):
            raise ValueError("not a valid IRC nickname")
        if not (is_nick(username) and username.isascii() and len(username) <= 16):
            raise ValueError("an IRC user name must be one word of at most 16 ASCII characters")
        self.nick = nick  # after registration, the nick that the server reports
        self.registered = False
        self.isupport = ISupport()
        self._wish = nick
        self._wish_taken = False
        self._candidates = nick_candidates(nick)
        self._user_bytes = len(username)  # of the longest user and host of ours that the server has shown
        self._host_bytes = 0
        self._version = version
        self._batches = Batches()
        self._lines = LineBuffer(LINE_LIMIT)
        next(self._candidates)
        # "0" is the user mode, "*" is unused (RFC 2812 section 3.1.3).
        self._urgent = [encode("NICK", nick), encode("USER", username, "0", "*", realname)]
        self._handlers: Mapping[str, Callable[[Message], Event | None]] = {
            "PING": self._handle_ping,
            "PRIVMSG": self._handle_privmsg,
            "NICK": self._handle_nick,
            "QUIT": self._handle_departure,
            "KILL": self._handle_departure,
            "BATCH": self._handle_batch,
            "ERROR": self._handle_error,
        }

    def take_urgent(self) -> list[bytes]:
        """Lines to send now, before all others; each is returned once. In a new session: the registration."""
        urgent, self._urgent = self._urgent, []
        return urgent

    def receive(self, data: bytes) -> list[Event]:
        """The events in `data`, after the data received before; often none. Call `take_urgent` afterwards.

        Raises:
            ProtocolError: a line is too long; the session cannot continue.
        """
        self._lines.feed(data)
        events: list[Event] = []
        while (line := self._lines.take()) is not None:
            if not line.strip(b" "):  # empty messages are to be ignored (RFC 1459 section 2.3)
                continue
            try:
                event = self._handle(parse_message(line, self.isupport.linelen))
            except ProtocolError as error:
                event = Malformed(str(error))
            if event is not None:
                events.append(event)
        return events

    def is_me(self, target: str) -> bool:
        """Whether `target` is our nick."""
        return self.fold(target) == self.fold(self.nick)

    def fold(self, nick: str) -> str:
        """Case-fold `nick` as the server does: two spellings of one nick give the same result."""
        return self.isupport.fold(nick)

    def ping(self, token: str) -> bytes:
        """A line that a live server answers."""
        return encode("PING", token)

    def quit(self, reason: str) -> bytes:
        """The line that ends the session; the server answers ERROR and closes the connection."""
        return encode("QUIT", reason)

    def reclaim(self) -> list[bytes]:
        """The line that asks for the wanted nick again if it was in use; usually none.

        Often our own previous session still holds it. If the nick is still in use, nothing changes.
        """
        if self.registered and self._wish_taken and not self.is_me(self._wish):
            return [encode("NICK", self._wish)]
        return []

    def room(self, command: str, target: str) -> int:
        """The bytes of text that reach `target` untruncated: the server relays our line with our source before it.

        The source counts with the longest user and host that the server allows or has shown: a server that hides hosts
        may show others a longer one than us.
        """
        user = max(self._user_bytes, self.isupport.userlen) + 1  # a "~" before it
        host = max(self._host_bytes, self.isupport.hostlen)
        source = 1 + len(self.nick.encode()) + 1 + user + 1 + host  # :nick!user@host
        return self.isupport.linelen - source - len(f" {command} {target} :\r\n".encode())

    def message(self, command: str, target: str, text: str) -> list[bytes]:
        """The PRIVMSGs or NOTICEs that carry `text`, which is one line.

        Raises:
            ValueError: `text` has a line end or lone surrogates, or `target` is not a nick.
        """
        if not is_nick(target):
            raise ValueError("not a valid IRC nickname")
        pieces = split_text(text, self.room(command, target))
        return [encode(command, target, piece, limit=self.isupport.linelen) for piece in pieces]

    def ctcp_reply(self, request: CTCPRequest) -> str | None:
        """The text of the NOTICE that answers a request; None: the request is not answered."""
        if len(request.argument.encode()) > _CTCP_ARGUMENT_LIMIT:
            return None
        match request.command:
            case "PING":
                answer = request.argument
            case "VERSION":
                answer = self._version
            case "CLIENTINFO":
                answer = "CLIENTINFO PING VERSION"
            case _:
                return None
        return f"\x01{request.command} {answer}\x01"

    def _handle(self, message: Message) -> Event | None:
        if len(message.params) < _LEAST_PARAMS.get(message.command, 0):
            raise ProtocolError("message without its params")
        if message.command.isdigit():
            return self._handle_numeric(message.command, message.params)
        handle = self._handlers.get(message.command)
        return None if handle is None else handle(message)

    def _handle_ping(self, message: Message) -> None:
        pong = encode("PONG", message.params[0], encoding=message.encoding, limit=self.isupport.linelen)
        self._urgent.append(pong)

    def _handle_batch(self, message: Message) -> None:
        self._batches.handle(message.params[0], message.params[1:], message.tags)

    def _handle_error(self, message: Message) -> Event:
        return Ended(message.params[-1] if message.params else "")

    def _handle_numeric(self, numeric: str, params: tuple[str, ...]) -> Event | None:
        match numeric, params:
            case Numeric.RPL_WELCOME, (nick, *_):
                return self._handle_welcome(nick)
            case Numeric.RPL_ISUPPORT, _:
                self.isupport.update(params)
            case Numeric.RPL_USERHOST, (_, replies, *_):
                self._learn_userhost(replies)
            case Numeric.RPL_VISIBLEHOST, (_, host, *_):
                self._learn_mask("", host.rpartition("@")[2])
            case _, (*_, text) if numeric in REJECTED and not self.registered:
                return Ended(text)
            case _ if not self.registered:
                return self._handle_refused_nick(numeric)
            case _, (_, target, *_) if numeric in GONE:
                return UserGone(target)
            case _, (_, target, *_) if numeric in UNDELIVERABLE:
                return Undeliverable(target)
        return None

    def _handle_welcome(self, nick: str) -> Event:
        # Some bouncers send a second welcome.
        event = self._take_nick(NickChanged(nick) if self.registered else Registered(nick))
        if not self.registered:
            self.registered = True
            self._urgent.append(encode("USERHOST", self.nick))  # for the length of our source
        return event

    def _handle_refused_nick(self, numeric: str) -> Event | None:
        if numeric in {Numeric.ERR_NICKNAMEINUSE, Numeric.ERR_NICKCOLLISION, Numeric.ERR_UNAVAILRESOURCE}:
            self._wish_taken = self._wish_taken or self.nick == self._wish
        elif numeric != Numeric.ERR_ERRONEUSNICKNAME:
            return None
        nick = next(self._candidates, None)
        if nick is None:
            self._urgent.append(self.quit("no nickname left to try"))
            return Ended("no nickname was accepted")
        self.nick = nick
        self._urgent.append(encode("NICK", nick))
        return None

    def _handle_nick(self, message: Message) -> Event | None:
        source, nick = message.source, message.params[0]
        if source is None:
            return None
        if not is_nick(nick):
            raise ProtocolError("invalid nickname")
        if not self.is_me(source.nick):
            return UserRenamed(source.nick, nick)
        self._learn_mask(source.user or "", source.host or "")
        return self._take_nick(NickChanged(nick))

    def _handle_departure(self, message: Message) -> Event | None:
        """QUIT: its source left. KILL: its target was disconnected."""
        if message.command == "KILL":
            nick = message.params[0]
        else:
            nick = message.source.nick if message.source is not None else ""
        return UserGone(nick) if nick and not self.is_me(nick) else None

    def _handle_privmsg(self, message: Message) -> Event | None:
        """A CTCP request stands between two 0x01 bytes; some clients omit the second."""
        source, (target, text, *_) = message.source, message.params
        if source is None or not self.is_me(target) or self.is_me(source.nick) or not self._can_answer(source):
            return None
        if text.startswith("\x01"):
            command, _, argument = text[1:].partition("\x01")[0].partition(" ")
            return CTCPRequest(source, command.upper(), argument)
        return PrivateMessage(
            source,
            text,
            sent_at=sent_at(message.tags),
            replayed=self._batches.has(message.tags),
            automated=is_automated(source, message.tags),
        )

    def _can_answer(self, source: Source) -> bool:
        """Whether `source` is a person. Servers that send ISUPPORT always send users with user and host."""
        if source.is_server or not is_nick(source.nick):
            return False
        return (source.user is not None and source.host is not None) or not self.isupport.received

    def _take_nick(self, event: Registered | NickChanged) -> Event:
        if not is_nick(event.nick):
            raise ProtocolError("invalid nickname")
        self.nick = event.nick
        return event

    def _learn_userhost(self, replies: str) -> None:
        """302: `nick[*]=(+|-)user@host`, separated by spaces."""
        for reply in replies.split():
            nick, _, mask = reply.partition("=")
            if self.is_me(nick.removesuffix("*")):
                user, _, host = mask[1:].partition("@")
                self._learn_mask(user, host)

    def _learn_mask(self, user: str, host: str) -> None:
        self._user_bytes = max(self._user_bytes, min(len(user.encode()), _USER_LIMIT))
        self._host_bytes = max(self._host_bytes, min(len(host.encode()), _HOST_LIMIT))
