r"""IRC messages: parses one line into a frozen `Message`; `encode` is the only way to write a line.

This file knows the grammar, not what a client does with a message (see `irc_client`). It is for clients: it reads
everything a server may send and writes only what a client may send, so neither tags nor a source are ever written.

The grammar (RFC 1459 section 2.3.1, with the tags of IRCv3), and where the parser accepts more:

    message  = ["@" tags SPACE] [":" source SPACE] command *(SPACE param) [SPACE ":" trailing]
    tags     = tag *(";" tag)               tag = key ["=" value], in value  \: \s \\ \r \n  are  ; SPACE \ CR LF
    source   = server | nick ["!" user] ["@" host]
    command  = 1*letter | 3digit
    param    = 1*any byte but SPACE, NUL, CR, LF; the first is not ":"
    trailing = *any byte but NUL, CR, LF
    SPACE    = 1*" "                        anywhere, also before the command and at the end: some servers do this

The grammar allows 15 params; the parser does not count, since the line's length bounds them. A line that is too long is
an error. It is not truncated, because a truncated line may mean something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fingertrio.wire import ProtocolError

# Bytes of a message with its CRLF, without its tags, in both directions (RFC 1459 section 2.3).
MESSAGE_LIMIT = 512
# Bytes of the tags before a server's message, with the "@" and the space (IRCv3 message tags, "Size limit").
TAGS_LIMIT = 8191
# Bytes of the longest message that a server can announce (LINELEN) and that is used here.
LINELEN_LIMIT = 4096
# The longest line that a LineBuffer must accept, without its CRLF.
LINE_LIMIT = TAGS_LIMIT + LINELEN_LIMIT - 2

# Longer than the NICKLEN of any network. It keeps the room for a text positive, whatever nick a server assigns.
NICK_LIMIT = 64  # bytes of UTF-8

_COMMAND = re.compile(r"[A-Za-z]+|[0-9]{3}")
_NEVER = re.compile(r"[\r\n\0]")
_NEVER_BYTES = re.compile(rb"[\r\n\0]")
NOT_IN_CHANNEL = re.compile(r"[\0\a\r\n ,:]")  # RFC 2812 section 2.3.1
_NOT_IN_NICK = re.compile(r"[\0-\x20,*?!@\x7f]")
_CHANNEL_OR_MASK = ("#", "&", "+", "~", "%", "$", ":")  # the first characters of targets that are not nicks
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_UNESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}  # after a backslash, every other character stands for itself


@dataclass(frozen=True, slots=True)
class Source:
    """The sender of a message. A server has a dot in `nick`, and neither `user` nor `host`."""

    nick: str
    user: str | None = None
    host: str | None = None

    @property
    def is_server(self) -> bool:
        """Whether this looks like a server's name."""
        return self.user is None and self.host is None and "." in self.nick

    def __str__(self) -> str:
        user = "" if self.user is None else f"!{self.user}"
        host = "" if self.host is None else f"@{self.host}"
        return f"{self.nick}{user}{host}"


@dataclass(frozen=True, slots=True)
class Message:
    """One received message.

    Attributes:
        command: a verb in upper case, or three digits.
        params: all params; the trailing param is the last.
        source: None means the server at the other end.
        tags: unescaped. A tag without a value has an empty value; of two tags with the same key, the last counts.
        encoding: the encoding of the line: "utf-8", or "latin-1" if it was not valid UTF-8. Encode a param with this
            to send the same bytes back.
    """

    command: str
    params: tuple[str, ...] = ()
    source: Source | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    encoding: str = "utf-8"


def parse_message(line: bytes, limit: int = MESSAGE_LIMIT) -> Message:
    """Parse `line`, which has no CRLF.

    Args:
        line: the line.
        limit: bytes of the longest message, with its CRLF and without tags.

    Raises:
        ProtocolError: the line is not a message, or too long.
    """
    if _NEVER_BYTES.search(line):
        raise ProtocolError("CR, LF or NUL in a message")
    tags: Mapping[str, str] = MappingProxyType({})
    if line.startswith(b"@"):
        head, _, line = line.partition(b" ")
        if len(head) + 1 > TAGS_LIMIT:
            raise ProtocolError("tags too long")
        tags = MappingProxyType(_parse_tags(_decode(head[1:])[0]))
    if len(line) > limit - 2:
        raise ProtocolError("message too long")
    text, encoding = _decode(line)
    # The source's colon has no space before it, so the first " :" starts the trailing param.
    head_text, colon, trailing = text.lstrip(" ").partition(" :")
    words = [word for word in head_text.split(" ") if word]
    source = _parse_source(words.pop(0)[1:]) if words and words[0].startswith(":") else None
    if not words or not _COMMAND.fullmatch(words[0]):
        raise ProtocolError("message without a command")
    params = (*words[1:], trailing) if colon else tuple(words[1:])
    return Message(words[0].upper(), params, source, tags, encoding)


def encode(command: str, *params: str, encoding: str = "utf-8", limit: int = MESSAGE_LIMIT) -> bytes:
    """A whole line with its CRLF, at most `limit` bytes. Every line that is sent comes from here.

    Only the last param may be empty, hold a space or start with a colon.

    Raises:
        ValueError: the arguments are not exactly one message; CR, LF and NUL are never accepted.
    """
    if not _COMMAND.fullmatch(command):
        raise ValueError("not an IRC command")
    words = [command, *params]
    for param in params[:-1]:
        if _needs_colon(param):
            raise ValueError("only the last IRC param may be empty, hold a space or start with a colon")
    if params and _needs_colon(params[-1]):
        words[-1] = f":{params[-1]}"
    text = " ".join(words)
    if _NEVER.search(text):
        raise ValueError("CR, LF or NUL in an IRC message")
    line = text.encode(encoding) + b"\r\n"
    if len(line) > limit:
        raise ValueError(f"IRC message longer than {limit} bytes")
    return line


def is_nick(text: str) -> bool:
    """Whether `text` can be the nick of one person, and not a channel, a mask or a list of targets.

    Servers have further rules of their own, and report a violation with ERR_ERRONEUSNICKNAME.
    """
    return (
        0 < len(text.encode(errors="replace")) <= NICK_LIMIT
        and not text.startswith(_CHANNEL_OR_MASK)
        and not _NOT_IN_NICK.search(text)
    )


def _decode(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _parse_tags(text: str) -> dict[str, str]:
    tags = {}
    for tag in text.split(";"):
        key, _, value = tag.partition("=")
        if key:
            tags[key] = _ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[1]), value)
    return tags


def _parse_source(text: str) -> Source:
    name, at, host = text.partition("@")
    nick, bang, user = name.partition("!")
    if not nick:
        raise ProtocolError("source without a name")
    return Source(nick, user if bang else None, host if at else None)


def _needs_colon(param: str) -> bool:
    return not param or " " in param or param.startswith(":")
