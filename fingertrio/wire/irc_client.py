"""One IRC session from the client's side: bytes in, events and lines out. No I/O, no clock, no reconnecting.

Feed `IRCClient.receive` whatever arrives and get frozen events for what a person or a program wants to know. What the
protocol wants by itself (registration, another nick where ours is taken, PONG) goes to `take_urgent`, to be sent at
once and in order; nobody else needs to know it happened. What is said of our own accord is made by `privmsg` and
`ctcp_reply` and is the caller's to send, as slowly as the flood rule wants (`irc_outbox`).

    start() ── NICK, USER ──> 433? next nick ──> 001: Registered ──> messages, PING, NICK ──> ERROR: Ended

A line that is no message is skipped and told (`Malformed`): what another user got a careless server to relay must not
end our session. A line longer than any can be leaves no way to find the next one, and is a ProtocolError.
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
    """The replies that steer a session, by the names of RFC 2812 section 5."""

    RPL_WELCOME = "001"
    ERR_ERRONEUSNICKNAME = "432"
    ERR_NICKNAMEINUSE = "433"
    ERR_NICKCOLLISION = "436"
    ERR_UNAVAILRESOURCE = "437"  # the nick is held back for a while


# A server tells its NICKLEN only after registration (RPL_ISUPPORT); nine is what every server allows (RFC 1459 1.2).
_SAFE_NICKLEN = 9
# Whoever has nine ghosts of itself on a network has a trouble that a tenth nick does not solve.
_NICK_ATTEMPTS = 10

# The source that the server puts before what it relays of ours. Its host is the server's choice, at most 63 bytes
# (RFC 2812 section 2.3.1); so is its user, often with a "~" before it, and ten characters with most servers.
_HOST_ROOM = 63
_USER_ROOM = 10

# A CTCP PING carries a time stamp. A longer argument is somebody using us as an echo.
_CTCP_ARGUMENT_LIMIT = 64  # bytes of UTF-8


@dataclass(frozen=True, slots=True)
class Registered:
    """The server took us in, under this nick."""

    nick: str


@dataclass(frozen=True, slots=True)
class NickChanged:
    """We are called so from now on, by our wish or by the server's."""

    nick: str


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """A PRIVMSG. Whether it is private, `IRCClient.is_me(target)` tells: channels get PRIVMSG too."""

    source: Source
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A NOTICE, which no program ever answers by itself (RFC 1459 section 4.4.2); replies to CTCP are among them."""

    source: Source | None
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class CTCPRequest:
    """A PRIVMSG that is a request to our program: `command` in upper case, `argument` may be empty."""

    source: Source
    target: str
    command: str
    argument: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line was skipped. The reason holds nothing of the line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; the reason is as it came from the server."""

    reason: str


Event = Registered | NickChanged | PrivateMessage | Notice | CTCPRequest | Malformed | Ended


class IRCClient:
    """The state of one session. For the next one, make another.

    Args:
        nick: the one we wish for.
        username: what stands after the "!": one word of ASCII, 16 bytes at most (servers cut it at about ten).
        realname: what WHOIS shows.
        version: what CTCP VERSION is answered with.

    Raises:
        ValueError: one of them cannot be sent.
    """

    def __init__(self, nick: str, *, username: str, realname: str, version: str = "fingertrio") -> None:
        if not is_nick(nick):
            raise ValueError("not an IRC nick")
        if not (is_nick(username) and username.isascii() and len(username) <= 16):
            raise ValueError("an IRC user name is one word of at most 16 ASCII characters")
        self.nick = nick  # the server's word counts, once there is one
        self.registered = False
        self._wish = nick
        self._wish_taken = False
        self._candidates = nick_candidates(nick)
        self._user_room = max(_USER_ROOM, len(username) + 1)
        self._version = version
        self._lines = LineBuffer(LINE_LIMIT)
        next(self._candidates)
        # The two zeros are the mode, and a field that is unused (RFC 2812 section 3.1.3).
        self._urgent = [encode("NICK", nick), encode("USER", username, "0", "*", realname)]

    def take_urgent(self) -> list[bytes]:
        """Lines to send now, ahead of everything else, each given once. A new session has its registration here."""
        urgent, self._urgent = self._urgent, []
        return urgent

    def receive(self, data: bytes) -> list[Event]:
        """What `data` tells, together with what came before; often nothing. Look at `take_urgent` afterwards.

        Raises:
            ProtocolError: a line passed its limit; the session cannot go on.
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
        """A line that makes a living server say something."""
        return encode("PING", token)

    def quit(self, reason: str) -> bytes:
        """The line that ends the session; the server answers ERROR and closes."""
        return encode("QUIT", reason)

    def reclaim(self) -> list[bytes]:
        """The line that asks for the wished nick again, where somebody else had it; mostly there is none to send.

        Often it is the ghost of our own broken session that held it. If it still does, nothing changes.
        """
        if self.registered and self._wish_taken and not self.is_me(self._wish):
            return [encode("NICK", self._wish)]
        return []

    def room(self, command: str, target: str) -> int:
        """The bytes of text that reach `target` whole: the server relays our line with our source before it."""
        us = 1 + len(self.nick.encode()) + 1 + self._user_room + 1 + _HOST_ROOM  # :nick!user@host
        return MESSAGE_LIMIT - us - len(f" {command} {target} :\r\n".encode())

    def privmsg(self, target: str, text: str) -> list[bytes]:
        """`text`, which is one line, as the PRIVMSGs it takes.

        Raises:
            ValueError: it is not one line, or not text; or `target` is nobody's nick.
        """
        if not is_nick(target):
            raise ValueError("not an IRC nick")
        return [encode("PRIVMSG", target, piece) for piece in split_text(text, self.room("PRIVMSG", target))]

    def ctcp_reply(self, request: CTCPRequest) -> bytes | None:
        """The NOTICE that answers a request; None: it gets none."""
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
                event = self._take_nick(Registered(nick))
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
                raise ProtocolError("a message without its params")
        return event

    def _take_nick(self, event: Registered | NickChanged) -> Event:
        if not is_nick(event.nick):
            raise ProtocolError("a nick that is none")
        self.nick = event.nick
        return event

    def _next_nick(self) -> Ended | None:
        nick = next(self._candidates, None)
        if nick is None:
            return Ended("no nick was accepted")
        self.nick = nick
        self._urgent.append(encode("NICK", nick))
        return None


def nick_candidates(wish: str) -> Iterator[str]:
    """The nicks to try, one after the other, the same ones each time: `wish`, then what every NICKLEN lets through.

    `fingerbot`, `fingerbo1`, `fingerbo2`, ...; and for `statusserver` after itself `statusser`, `statusse1`, ...
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
    """A CTCP request is wrapped in 0x01; some clients forget the second one."""
    if source is None or source.is_server or not is_nick(source.nick):
        return None  # nobody whom an answer could reach
    if not text.startswith("\x01"):
        return PrivateMessage(source, target, text)
    command, _, argument = text[1:].partition("\x01")[0].partition(" ")
    return CTCPRequest(source, target, command.upper(), argument)
