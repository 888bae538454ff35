"""One IRC session from the client's side: bytes in, events and lines out. No I/O, no clock, no reconnecting.

`IRCClient.receive` takes the bytes that arrive and returns frozen events. Lines that the protocol requires
(registration, another nick if ours is in use, PONG) come from `take_urgent`, to be sent immediately and in order, and
need no event. `privmsg` and `ctcp_reply` make all other lines; the caller sends these at the rate that the flood rule
allows (`irc_outbox`).

    start() ── NICK, USER ──> 433? next nick ──> 001: Registered ──> messages, PING, NICK ──> ERROR: Ended

A line that is not a message is skipped and reported (`Malformed`): another user may have made a careless server relay
it, and that must not end our session. After an overlong line the start of the next is unknown: ProtocolError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import (
    LINE_LIMIT,
    MESSAGE_LIMIT,
    Message,
    Source,
    encode,
    fold,
    is_nick,
    parse_message,
    split_text,
)
from fingertrio.wire.lines import LineBuffer


class Numeric(StrEnum):
    """The numeric replies that the session acts on, with their names from RFC 2812 section 5."""

    RPL_WELCOME = "001"
    ERR_ERRONEUSNICKNAME = "432"
    ERR_NICKNAMEINUSE = "433"
    ERR_NICKCOLLISION = "436"
    ERR_UNAVAILRESOURCE = "437"  # the nick is temporarily unavailable


# A server sends its NICKLEN only after registration (RPL_ISUPPORT). Every server allows nine (RFC 1459 section 1.2).
_SAFE_NICKLEN = 9
# If nine sessions of our own still hold nicks, a tenth nick does not solve the problem.
_NICK_ATTEMPTS = 10

# The server puts our source before each message that it relays. The server chooses its host, at most 63 bytes (RFC 2812
# section 2.3.1), and its user: ten characters on most servers, often with a "~" before it.
_HOST_ROOM = 63
_USER_ROOM = 10

# A CTCP PING carries a time stamp. A longer argument would use us to repeat arbitrary text.
_CTCP_ARGUMENT_LIMIT = 64  # bytes of UTF-8


@dataclass(frozen=True, slots=True)
class Registered:
    """The server accepted our registration, with this nick."""

    nick: str


@dataclass(frozen=True, slots=True)
class NickChanged:
    """Our nick is now this, because we asked for it or because the server changed it."""

    nick: str


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """A PRIVMSG. It is private if `IRCClient.is_me(target)`; channels get PRIVMSG too."""

    source: Source
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A NOTICE. Programs must never answer it automatically (RFC 1459 section 4.4.2). CTCP replies are NOTICEs."""

    source: Source | None
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class CTCPRequest:
    """A PRIVMSG with a request to the client program: `command` is in upper case, `argument` may be empty."""

    source: Source
    target: str
    command: str
    argument: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line was skipped. The reason contains nothing from the line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; the reason is the server's, unmodified."""

    reason: str


Event = Registered | NickChanged | PrivateMessage | Notice | CTCPRequest | Malformed | Ended


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
        self._wish = nick
        self._wish_taken = False
        self._candidates = nick_candidates(nick)
        self._user_room = max(_USER_ROOM, len(username) + 1)
        self._version = version
        self._lines = LineBuffer(LINE_LIMIT)
        next(self._candidates)
        # "0" is the user mode, "*" is unused (RFC 2812 section 3.1.3).
        self._urgent = [encode("NICK", nick), encode("USER", username, "0", "*", realname)]

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
                event = self._handle(parse_message(line))
            except ProtocolError as error:
                event = Malformed(str(error))
            if event is not None:
                events.append(event)
        return events

    def is_me(self, target: str) -> bool:
        """Whether `target` is our nick."""
        return fold(target) == fold(self.nick)

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
        """The bytes of text that reach `target` untruncated: the server relays our line with our source before it."""
        us = 1 + len(self.nick.encode()) + 1 + self._user_room + 1 + _HOST_ROOM  # :nick!user@host
        return MESSAGE_LIMIT - us - len(f" {command} {target} :\r\n".encode())

    def privmsg(self, target: str, text: str) -> list[bytes]:
        """The PRIVMSGs that carry `text`, which is one line.

        Raises:
            ValueError: `text` has a line end or lone surrogates, or `target` is not a nick.
        """
        if not is_nick(target):
            raise ValueError("not a valid IRC nickname")
        return [encode("PRIVMSG", target, piece) for piece in split_text(text, self.room("PRIVMSG", target))]

    def ctcp_reply(self, request: CTCPRequest) -> bytes | None:
        """The NOTICE that answers a request; None: the request is not answered."""
        if not self.is_me(request.target) or len(request.argument.encode()) > _CTCP_ARGUMENT_LIMIT:
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
        return encode("NOTICE", request.source.nick, f"\x01{request.command} {answer}\x01")

    def _handle(self, message: Message) -> Event | None:
        event: Event | None = None
        match message.command, message.params:
            case "PING", (token, *_):
                self._urgent.append(encode("PONG", token, encoding=message.encoding))
            case "PRIVMSG", (target, text, *_):
                event = _parse_privmsg(message.source, target, text)
            case "NOTICE", (target, text, *_):
                event = Notice(message.source, target, text)
            case "NICK", (nick, *_) if message.source is not None and self.is_me(message.source.nick):
                event = self._take_nick(NickChanged(nick))
            case Numeric.RPL_WELCOME, (nick, *_):
                # Some bouncers send a second welcome.
                event = self._take_nick(NickChanged(nick) if self.registered else Registered(nick))
                self.registered = True
            case "ERROR", params:
                event = Ended(params[-1] if params else "")
            case (
                (Numeric.ERR_NICKNAMEINUSE | Numeric.ERR_NICKCOLLISION | Numeric.ERR_UNAVAILRESOURCE),
                _,
            ) if not self.registered:
                self._wish_taken = self._wish_taken or self.nick == self._wish
                event = self._next_nick()
            case Numeric.ERR_ERRONEUSNICKNAME, _ if not self.registered:
                event = self._next_nick()
            case (("PING" | "PRIVMSG" | "NOTICE" | Numeric.RPL_WELCOME), _):
                raise ProtocolError("message without its params")
        return event

    def _take_nick(self, event: Registered | NickChanged) -> Event:
        if not is_nick(event.nick):
            raise ProtocolError("invalid nickname")
        self.nick = event.nick
        return event

    def _next_nick(self) -> Ended | None:
        nick = next(self._candidates, None)
        if nick is None:
            return Ended("no nickname was accepted")
        self.nick = nick
        self._urgent.append(encode("NICK", nick))
        return None


def nick_candidates(wish: str) -> Iterator[str]:
    """The nicks to try in order, always the same: `wish`, then nicks short enough for every NICKLEN.

    `fingerbot`, `fingerbo1`, `fingerbo2`, ...; `statusserver`, `statusser`, `statusse1`, ...
    """
    yield wish
    left = _NICK_ATTEMPTS - 1
    if len(wish) > _SAFE_NICKLEN:
        yield wish[:_SAFE_NICKLEN]
        left -= 1
    for number in range(1, left + 1):
        suffix = str(number)
        yield wish[: _SAFE_NICKLEN - len(suffix)] + suffix


def _parse_privmsg(source: Source | None, target: str, text: str) -> PrivateMessage | CTCPRequest | None:
    """A CTCP request stands between two 0x01 bytes; some clients omit the second."""
    if source is None or source.is_server or not is_nick(source.nick):
        return None  # an answer could not reach the sender
    if not text.startswith("\x01"):
        return PrivateMessage(source, target, text)
    command, _, argument = text[1:].partition("\x01")[0].partition(" ")
    return CTCPRequest(source, target, command.upper(), argument)
