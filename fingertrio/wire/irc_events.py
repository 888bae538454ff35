"""What an `IRCClient` reports. Every decision is made when the line is parsed, by the state at that moment.

There is no event for a NOTICE: programs must never answer it (RFC 1459 section 4.4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fingertrio.wire.irc import Source
from fingertrio.wire.irc_ends import Ended
from fingertrio.wire.irc_sts import STSDuration, STSPort


@dataclass(frozen=True, slots=True)
class Registered:
    """The server accepted our registration, with this nick."""

    nick: str


@dataclass(frozen=True, slots=True)
class Ready:
    """What follows the welcome is done: the server has told its limits, and we are logged in if we can be."""


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """The session goes on without an account."""

    reason: str


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """We are logged in to this account now; None: to none any more."""

    account: str | None


@dataclass(frozen=True, slots=True)
class NickChanged:
    """Our nick is now this, because we asked for it or because the server changed it."""

    nick: str


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """A PRIVMSG to us from another client, or one that everybody in a channel can read.

    Attributes:
        source: the sender.
        text: as received, with formatting codes.
        sent_at: the time in its tag (IRCv3 server-time), if it has one.
        replayed: whether it belongs to a batch of old messages.
        automated: whether its sender is marked as a bot, or is a service of the network.
        account: the account of its sender, if the server vouches for it with this message.
        channel: where it was said, "#chan" or "@#chan"; None: in private.
    """

    source: Source
    text: str
    sent_at: datetime | None = None
    replayed: bool = False
    automated: bool = False
    account: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class PrivateNotice:
    """A NOTICE to us from another client. It is never answered, but shows who has the nick of `source`."""

    source: Source


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
    """The server does not deliver our messages to this nick or channel."""

    nick: str
    paused: bool = False  # too many targets: not for a minute


@dataclass(frozen=True, slots=True)
class ChannelJoined:
    """We are in a channel now."""

    channel: str
    uninvited: bool = False  # an operator put us there


@dataclass(frozen=True, slots=True)
class ChannelLeft:
    """We are not in a channel, or no longer. `again_in`: seconds until we try again, if we do."""

    channel: str
    reason: str
    again_in: float | None = None


@dataclass(frozen=True, slots=True)
class AccountProved:
    """WHO has told which account a question came from; None: none, or no answer."""

    token: int
    account: str | None


@dataclass(frozen=True, slots=True)
class Ponged:
    """The server answered our PING."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line was skipped. The reason contains nothing from the line."""

    reason: str


Event = (
    Registered
    | Ready
    | LoginFailed
    | AccountChanged
    | NickChanged
    | PrivateMessage
    | PrivateNotice
    | CTCPRequest
    | UserRenamed
    | UserGone
    | Undeliverable
    | ChannelJoined
    | ChannelLeft
    | AccountProved
    | STSPort
    | STSDuration
    | Ponged
    | Malformed
    | Ended
)
