"""What an `IRCClient` reports. Every decision is made when the line is parsed, by the state at that moment.

There is no event for a NOTICE: programs must never answer it (RFC 1459 section 4.4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fingertrio.wire.irc import Source


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
    """A PRIVMSG to us from another client.

    Attributes:
        source: the sender.
        text: as received, with formatting codes.
        sent_at: the time in its tag (IRCv3 server-time), if it has one.
        replayed: whether it belongs to a batch of old messages.
        automated: whether its sender is marked as a bot, or is a service of the network.
    """

    source: Source
    text: str
    sent_at: datetime | None = None
    replayed: bool = False
    automated: bool = False


@dataclass(frozen=True, slots=True)
class CTCPRequest:
    """A PRIVMSG to us with a request to the client program: `command` is in upper case, `argument` may be empty."""

    source: Source
    command: str
    argument: str


@dataclass(frozen=True, slots=True)
class UserRenamed:
    """Another user's nick changed."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class UserGone:
    """Another user left the network, or the server does not know the nick (any more)."""

    nick: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """The server does not deliver our messages to this nick."""

    nick: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line was skipped. The reason contains nothing from the line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; the reason is the server's, unmodified."""

    reason: str


Event = (
    Registered | NickChanged | PrivateMessage | CTCPRequest | UserRenamed | UserGone | Undeliverable | Malformed | Ended
)
