"""The [irc] section: its own keys are the defaults of all networks, and describe one network if it names a server.

    [irc]                                       one network, called "irc"
    server = "irc.example.net:6667"

    [irc.networks.libera]                       any number of others, each with the keys of [irc]
    servers = ["ircs://irc.libera.chat"]

Secrets stand in files (`*_file`). They are read when the door opens and at each reload; here only their form is
checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fingertrio.config.irc_server import IrcServer, to_server
from fingertrio.config.secret_files import SecretFileError, read_secret
from fingertrio.config.sections import Section, to_list
from fingertrio.net.address import Address
from fingertrio.wire.irc_login import pass_mistake
from fingertrio.wire.when import parse_duration

_NICK_SPECIAL = r"[]\`_^{|}"  # RFC 2812, 2.3.1
_NICK = re.compile(rf"[A-Za-z{re.escape(_NICK_SPECIAL)}][A-Za-z0-9{re.escape(_NICK_SPECIAL)}-]{{0,29}}")
_FINGERPRINT = re.compile(r"sha-256:[0-9a-fA-F]{64}|sha-512:[0-9a-fA-F]{128}")
_CHANNEL = re.compile(r"[#&+!][^\0\a\r\n ,:]{1,199}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")

Sasl = Literal["external", "scram-sha-256", "plain"]


class IrcChannel(Section):
    """One channel."""

    name: str = Field(description="its name")
    key_file: Path | None = Field(None, description="file with its key")
    prefix: str = Field("", max_length=5, description='"!" lets "!finger NAME" ask the bot too')
    answer: bool = Field(True, description="answer questions in the channel")
    announce: Annotated[tuple[str, ...], BeforeValidator(to_list)] = Field(
        (), description='users whose changes are announced, "*" for all'
    )
    notice: bool = Field(False, description="announce by NOTICE")

    @field_validator("name")
    @classmethod
    def _is_channel(cls, value: str) -> str:
        if _CHANNEL.fullmatch(value) is None:
            raise ValueError(f'"{value}" is not a channel: its name starts with # & + or ! and has no space or comma')
        return value


def _to_channel(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _to_invitations(value: object) -> object:
    return () if value is False else value


def _to_servers(value: object) -> object:
    return tuple(to_server(item) for item in value) if isinstance(value, list | tuple) else (to_server(value),)


class IrcNetwork(Section):
    """The keys of a network."""

    servers: Annotated[tuple[IrcServer, ...], BeforeValidator(_to_servers)] = Field(
        (), description='tried in order: "ircs://host" (TLS, 6697), "irc://host" (plain, 6667), "unix:/path"'
    )
    nick: str = Field("fingerbot", description="its nickname there")
    alternates: tuple[str, ...] = Field((), description="nicknames to try first if that one is taken")
    username: str = Field("fingertrio", description="its user name, one word of at most 16 ASCII characters")
    realname: str = Field("Send me a user's name to learn their status", description="its real name, for WHOIS")
    owner: str = Field("", max_length=100, description="who runs it and how to reach them, for WHOIS, help, !botlist")
    password_file: Path | None = Field(None, description="file with the server's password; a bouncer: user/net:pass")
    tls_ca: Path | Literal["system"] = Field("system", description='"system", or a PEM file with authorities')
    tls_fingerprint: Annotated[tuple[str, ...], BeforeValidator(to_list)] = Field(
        (), description='"sha-256:<hex>": accept these certificates and no others, with any issuer'
    )
    tls_certificate: Path | None = Field(None, description="PEM file with our certificate, for SASL EXTERNAL")
    tls_key: Path | None = Field(None, description="PEM file with its key, if it is not in the same file")
    insecure: bool = Field(False, description="allow secrets on a connection that others can read")
    sasl: Annotated[tuple[Sasl, ...], BeforeValidator(to_list)] = Field(
        (), description='ways to log in, in order: "external", "scram-sha-256", "plain"'
    )
    sasl_required: bool | None = Field(None, description="no session without a login; by default true with sasl")
    account: str | None = Field(None, description="account with the network's services")
    account_password_file: Path | None = Field(None, description="file with its password")
    services: str = Field("", description='"NickServ": log in and get the nickname back by its help')
    bot_mode: bool = Field(True, description="set the user mode that marks a bot, where there is one")
    reply: Literal["privmsg", "notice"] = Field("privmsg", description="how a status is sent in private")
    channel: tuple[Annotated[IrcChannel, BeforeValidator(_to_channel)], ...] = Field(
        (), description="channels to be in, as tables with more keys; see the guide"
    )
    channels: tuple[str, ...] = Field((), description="channels to be in, by name")
    rejoin: str = Field("never", description='after a kick: "never", or "after 1h"')
    accept_invites: Annotated[Literal["any"] | tuple[str, ...], BeforeValidator(_to_invitations)] = Field(
        (), description='further channels to join when invited: names, "any", or false'
    )
    chanserv: bool = Field(False, description="ask ChanServ to let the bot in, once a channel")
    botlist: bool = Field(True, description="answer !botlist and !rollcall in channels")
    set_by: dict[str, str] | Literal["same"] | None = Field(
        None, description='who may set a status: { account = "user" }, or "same" where the names are the same'
    )
    ignore: tuple[str, ...] = Field((), description="masks nick!user@host of people who get no answer")
    flood: dict[Literal["burst", "seconds"], float] = Field(
        {"burst": 5, "seconds": 2.0}, description="lines at once, and seconds for each further line"
    )
    announce_every: float = Field(10.0, ge=1, description="seconds between two announcements in a channel")
    quiet_names: bool = Field(True, description="announce names so that they highlight no user")
    catch_up: bool = Field(False, description="after a pause, say in a channel how many changes it missed")
    after_ban: str | None = Field(None, description='"6h": try again after a ban, at least 1 h apart; otherwise stop')
    dry_run: bool = Field(False, description="connect and listen, but only log what would be said or set")
    essential: bool = Field(False, description="the program is not ready without this network")

    @property
    def all_channels(self) -> tuple[IrcChannel, ...]:
        """Both kinds of channels."""
        return (*(IrcChannel(name=name) for name in self.channels), *self.channel)

    @property
    def login_required(self) -> bool:
        """Whether there is no session without a login."""
        return bool(self.sasl) if self.sasl_required is None else self.sasl_required

    @property
    def rejoin_seconds(self) -> float | None:
        """`rejoin` as seconds; None: never."""
        return None if self.rejoin == "never" else _seconds(self.rejoin.removeprefix("after "))

    @property
    def after_ban_seconds(self) -> float | None:
        """`after_ban` as seconds; None: stop."""
        return None if self.after_ban is None else _seconds(self.after_ban)

    @field_validator("nick", "alternates")
    @classmethod
    def _nicks(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for nick in (value,) if isinstance(value, str) else value:
            if _NICK.fullmatch(nick) is None:
                raise ValueError(
                    f'"{nick}" is not a nickname: expected a letter or one of {_NICK_SPECIAL}, then up to 29 of these, '
                    "digits and -"
                )
        return value

    @field_validator("tls_fingerprint")
    @classmethod
    def _fingerprints(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if _FINGERPRINT.fullmatch(text) is None:
                raise ValueError(f'"{text}" is not a fingerprint: expected "sha-256:" and 64 hexadecimal digits')
        return value

    @field_validator("rejoin", "after_ban")
    @classmethod
    def _durations(cls, value: str | None) -> str | None:
        if value is not None and value != "never":
            _seconds(value.removeprefix("after "))
        return value

    @field_validator("channels")
    @classmethod
    def _channel_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            IrcChannel(name=name)
        return value

    @field_validator("password_file", "account_password_file")
    @classmethod
    def _secret_files(cls, value: Path | None, info: Any) -> Path | None:
        if value is None:
            return None
        try:
            secret = read_secret(value)
        except SecretFileError:
            return value  # perhaps readable for the server's user only; the door reports it
        if info.field_name == "password_file" and (mistake := pass_mistake(secret)) is not None:
            raise ValueError(f'the password in "{value}" {mistake}')
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> IrcNetwork:
        for mistake in self._mistakes():
            raise ValueError(mistake)
        return self

    def _mistakes(self) -> Iterator[str]:
        has_secret = self.password_file is not None or self.account_password_file is not None
        plain = [str(server) for server in self.servers if not server.tls and not server.is_local]
        if has_secret and plain and not self.insecure:
            yield (
                f'the network could read the password on the way to "{plain[0]}": use ircs://, or insecure = true if '
                "something else encrypts the connection"
            )
        if "external" in self.sasl and self.tls_certificate is None:
            yield 'sasl = ["external"] needs tls_certificate'
        if {"plain", "scram-sha-256"} & set(self.sasl) and (self.account is None or self.account_password_file is None):
            yield 'sasl = ["plain"] and ["scram-sha-256"] need account and account_password_file'
        if self.tls_key is not None and self.tls_certificate is None:
            yield "tls_key needs tls_certificate"
        if self.flood.get("burst", 5) < 1 or self.flood.get("seconds", 2.0) < 0:
            yield "flood needs a burst of at least 1, and seconds that are not negative"


def _seconds(text: str) -> float:
    return parse_duration(text).total_seconds()


class IrcSection(IrcNetwork):
    """[irc]: a bot that answers questions, on any number of networks."""

    model_config = ConfigDict(extra="forbid")

    server: Address | None = Field(None, description="host and port of one server without TLS")
    networks: dict[str, IrcNetwork] = Field({}, description="networks by name, each with the keys of this section")
    sts_file: Path | None = Field(
        None, description="file for what servers say of TLS; by default in the state directory"
    )

    @property
    def by_name(self) -> dict[str, IrcNetwork]:
        """Every network by its name."""
        own = {"irc": self} if self.servers or self.server is not None else {}
        return {**own, **self.networks}

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, table: Any) -> Any:
        """Give each network the keys of the section as its defaults."""
        if not isinstance(table, Mapping) or not isinstance(networks := table.get("networks"), Mapping):
            return table
        defaults = {key: value for key, value in table.items() if key in IrcNetwork.model_fields and key != "servers"}
        merged = {
            name: {**defaults, **network} if isinstance(network, Mapping) else network
            for name, network in networks.items()
        }
        return {**table, "networks": merged}

    @field_validator("server", mode="before")
    @classmethod
    def _server(cls, value: object) -> object:
        if value is None or isinstance(value, Address):
            return value
        server = to_server(value)
        if server.tls or server.path is not None:
            raise ValueError('"server" is for a plain connection; write servers = ["ircs://..."] instead')
        return Address(server.host, server.port)

    @model_validator(mode="after")
    def _networks_fit(self) -> IrcSection:
        if not self.by_name:
            raise ValueError('needs server = "host:port", or a table [irc.networks.NAME] with servers')
        seen: dict[tuple[str, str], str] = {}
        for name, network in self.networks.items():
            if _NAME.fullmatch(name) is None or name == "irc":
                raise ValueError(f'"{name}" cannot be the name of a network: use letters, digits, "_", "." and "-"')
            if not network.servers:
                raise ValueError(f"networks.{name}: servers is missing")
            for server in network.servers:
                other = seen.setdefault((str(server).lower(), network.nick.lower()), name)
                if other != name:
                    raise ValueError(f"networks {other} and {name} have the same server and the same nick")
        return self
