r"""IRC messages: the bytes of one line to a frozen `Message`, and back through the one encoder.

This file knows what a line means to the protocol and nothing of what a client does with it (that is `irc_client`). It
speaks client: it reads everything that a server may send and writes only what a client may, so neither tags nor a
source ever go out.

The grammar (RFC 1459 section 2.3.1, with the tags of IRCv3), and where we read more than it says:

    message  = ["@" tags SPACE] [":" source SPACE] command *(SPACE param) [SPACE ":" trailing]
    tags     = tag *(";" tag)               tag = key ["=" value], in value  \: \s \\ \r \n  are  ; SPACE \ CR LF
    source   = server | nick ["!" user] ["@" host]
    command  = 1*letter | 3digit
    param    = 1*any byte but SPACE, NUL, CR, LF; the first is not ":"
    trailing = *any byte but NUL, CR, LF
    SPACE    = 1*" "                        anywhere, also before the command and at the end: servers are seen to do it

The grammar stops at 15 params; we do not count, since the line's length bounds them. A line over its length is an
error, and not cut, since a cut one may say something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fingertrio.wire import ProtocolError

# A message with its CRLF, its tags not counted (RFC 1459 section 2.3), either way.
MESSAGE_LIMIT = 512
# The tags a server may put before it, with their "@" and the space (IRCv3 message tags, "Size limit").
TAGS_LIMIT = 8191
# The line that a LineBuffer must let through, its CRLF not counted.
LINE_LIMIT = TAGS_LIMIT + MESSAGE_LIMIT - 2

# A nick that no network's NICKLEN reaches. It keeps the room for a text positive, whatever nick a server hands us.
NICK_LIMIT = 64  # bytes of UTF-8

_COMMAND = re.compile(r"[A-Za-z]+|[0-9]{3}")
_NEVER = re.compile(r"[\r\n\0]")
_NEVER_BYTES = re.compile(rb"[\r\n\0]")
_NOT_IN_NICK = re.compile(r"[\0-\x20,*?!@\x7f]")
_CHANNEL_OR_MASK = ("#", "&", "+", "~", "%", "$", ":")  # what a target that is no nick can start with
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_UNESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}  # every other character stands for itself

# The case mapping every server starts from: {}|^ are the lower case of []\~ (RFC 1459 section 2.2).
_FOLD = str.maketrans(r"ABCDEFGHIJKLMNOPQRSTUVWXYZ[]\~", "abcdefghijklmnopqrstuvwxyz{}|^")


@dataclass(frozen=True, slots=True)
class Source:
    """Who a message comes from. A server is a `nick` with a dot in it and neither `user` nor `host`."""

    nick: str
    user: str | None = None
    host: str | None = None

    @property
    def is_server(self) -> bool:
        """Whether this is a server's name, as far as a name can tell."""
        return self.user is None and self.host is None and "." in self.nick

    def __str__(self) -> str:
        user = "" if self.user is None else f"!{self.user}"
        host = "" if self.host is None else f"@{self.host}"
        return f"{self.nick}{user}{host}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was received.

    Attributes:
        command: a verb in upper case, or three digits.
        params: the trailing one is the last and like any other.
        source: None means the server at the other end.
        tags: unescaped; a tag without a value has the empty one, of two with one key the last counts.
        encoding: what the line was decoded by: "utf-8", or "latin-1" where it was no UTF-8. Whoever must send a param
            back byte by byte encodes it so.
    """

    command: str
    params: tuple[str, ...] = ()
    source: Source | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    encoding: str = "utf-8"


def parse_message(line: bytes) -> Message:
    """The message in `line`, which comes without its CRLF.

    Raises:
        ProtocolError: the line is none, or over its length.
    """
    if _NEVER_BYTES.search(line):
        raise ProtocolError("CR, LF or NUL inside a message")
    tags: Mapping[str, str] = MappingProxyType({})
    if line.startswith(b"@"):
        head, _, line = line.partition(b" ")
        if len(head) + 1 > TAGS_LIMIT:
            raise ProtocolError("tags too long")
        tags = MappingProxyType(_parse_tags(_decode(head[1:])[0]))
    if len(line) > MESSAGE_LIMIT - 2:
        raise ProtocolError("message too long")
    text, encoding = _decode(line)
    # The source's colon has no space before it, so the first " :" starts the trailing param.
    head_text, colon, trailing = text.lstrip(" ").partition(" :")
    words = [word for word in head_text.split(" ") if word]
    source = _parse_source(words.pop(0)[1:]) if words and words[0].startswith(":") else None
    if not words or not _COMMAND.fullmatch(words[0]):
        raise ProtocolError("a message without a command")
    params = (*words[1:], trailing) if colon else tuple(words[1:])
    return Message(words[0].upper(), params, source, tags, encoding)


def encode(command: str, *params: str, encoding: str = "utf-8") -> bytes:
    """The one way onto the wire: a whole line with its CRLF, of at most 512 bytes.

    Only the last param may be empty, hold a space or start with a colon.

    Raises:
        ValueError: what was to be sent is no single message, for whatever reason; CR, LF and NUL come first among them.
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
    if len(line) > MESSAGE_LIMIT:
        raise ValueError(f"an IRC message longer than {MESSAGE_LIMIT} bytes")
    return line


def split_text(text: str, limit: int) -> list[str]:
    """`text` in pieces of at most `limit` bytes of UTF-8 each; joined, they are `text` again. No text, no pieces.

    A piece ends after a space where its second half has one: a space further ahead would cost more messages than a
    broken word costs readers. Otherwise it ends between two characters.

    Raises:
        ValueError: `limit` is too small for every character (4 bytes), or `text` has lone surrogates.
    """
    if limit < 4:
        raise ValueError("a piece cannot hold one character")
    data = text.encode()
    pieces = []
    start = 0
    while len(data) - start > limit:
        end = start + limit
        if (space := data.rfind(b" ", start + limit // 2, end)) >= 0:
            end = space + 1
        else:
            while data[end] & 0xC0 == 0x80:  # a continuation byte: its character began before
                end -= 1
        pieces.append(data[start:end].decode())
        start = end
    if start < len(data):
        pieces.append(data[start:].decode())
    return pieces


def is_nick(text: str) -> bool:
    """Whether `text` can be the nick of one person: no channel, no mask, no list of targets.

    Servers differ in what they allow besides, and say so with ERR_ERRONEUSNICKNAME.
    """
    return (
        0 < len(text.encode(errors="replace")) <= NICK_LIMIT
        and not text.startswith(_CHANNEL_OR_MASK)
        and not _NOT_IN_NICK.search(text)
    )


def fold(nick: str) -> str:
    """`nick` as it is compared: equal for two spellings of one nick."""
    return nick.translate(_FOLD)


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
        raise ProtocolError("a source without a name")
    return Source(nick, user if bang else None, host if at else None)


def _needs_colon(param: str) -> bool:
    return not param or " " in param or param.startswith(":")
