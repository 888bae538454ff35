"""What an operator wants of one IRC network, as the front end needs it. Made from the configuration by `door`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login

EVERY_USER = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A server: host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    tls: bool = False
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody on a network can read along."""
        if self.path is not None or self.host == "localhost":
            return True
        address = _ip(self.host)
        return address is not None and address.is_loopback

    @property
    def is_name(self) -> bool:
        """Whether the host is a DNS name: STS is for these only."""
        return self.path is None and self.host != "localhost" and _ip(self.host) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSSettings:
    """How a server proves who it is, and how we do.

    Attributes:
        ca: a file with certificates of authorities; None: those of the system.
        fingerprints: "sha-256:<hex>" or "sha-512:<hex>": one of these certificates, and no other.
        certificate, key: ours, in PEM files.
    """

    ca: Path | None = None
    fingerprints: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """A channel, and what we do in it.

    Attributes:
        plan: its name and key.
        prefix: text before the word "finger" that addresses us, "!"; empty: only our nick does.
        answer: whether questions in it are answered.
        announce: patterns of the users whose changes are announced; empty: none.
        notice: announce by NOTICE.
    """

    plan: ChannelPlan
    prefix: str = ""
    answer: bool = True
    announce: tuple[str, ...] = ()
    notice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """One network; see docs/guide/irc.md for the meaning of each key.

    Attributes:
        set_by: account on this network -> user; "same": account and user have the same name; None: nobody may set.
        accept: channels whose invitations are accepted; None: all.
        rejoin: seconds after a KICK; None: never.
        after_ban: seconds between two attempts after a ban; None: stop.
    """

    name: str
    servers: tuple[ServerAddress, ...]
    login: Login
    owner: str = ""
    tls: TLSSettings = field(default_factory=TLSSettings)
    insecure: bool = False
    reply: str = "PRIVMSG"
    channels: tuple[ChannelSettings, ...] = ()
    accept: tuple[str, ...] | None = ()
    rejoin: float | None = None
    botlist: bool = True
    set_by: Mapping[str, str] | str | None = None
    ignore: tuple[str, ...] = ()
    flood_burst: int = 5
    flood_seconds: float = 2.0
    announce_every: float = 10.0
    quiet_names: bool = True
    catch_up: bool = False
    after_ban: float | None = None
    dry_run: bool = False
    essential: bool = False

    @property
    def plans(self) -> tuple[ChannelPlan, ...]:
        """The channels to be in."""
        return tuple(channel.plan for channel in self.channels)

    def needs_reconnect(self, other: NetworkSettings) -> bool:
        """Whether a session with these settings cannot go on with `other`."""
        mine, theirs = self.login, other.login
        return (
            (self.servers, self.tls, self.insecure) != (other.servers, other.tls, other.insecure)
            or (mine.username, mine.password, mine.sasl, mine.sasl_required)
            != (theirs.username, theirs.password, theirs.sasl, theirs.sasl_required)
            or (mine.account, mine.account_password, mine.services)
            != (theirs.account, theirs.account_password, theirs.services)
            or (self.rejoin, self.accept) != (other.rejoin, other.accept)
        )


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
