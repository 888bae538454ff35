"""The sections of the configuration: what can be written in each, what it means where it is left out, what is refused.

The backend's own options are not here but with the backend, and those of other people's front ends with these.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StrictInt,
    field_validator,
    model_validator,
)

from fingertrio.net.address import Address, parse_address
from fingertrio.net.targets import parse_target


def _to_address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError('expected an address in quotes, such as "127.0.0.1:7979"')  # noqa: TRY004 -- pydantic's way
    return parse_address(value)


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Listen = Annotated[tuple[Annotated[Address, BeforeValidator(_to_address)], ...], BeforeValidator(_to_list)]

# TOML has types of its own: "5" is not 5 there, and who writes it has mistaken the key or the value. Strict as a whole
# a model cannot be, for its tuples are arrays in TOML, and its paths strings.
Number = Annotated[float, Strict()]  # an integer, too, but no boolean


class Section(BaseModel):
    """What all sections have in common: they cannot be changed, and keys that nobody knows are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True)


class OptionError(ValueError):
    """A value that was found to be wrong only when it was used: told as a mistake in its section, under its key."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")


class BackendSection(BaseModel):
    """[backend]: which one, by name; all other keys are its own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str

    @property
    def options(self) -> dict[str, Any]:
        """The backend's own options, unchecked."""
        return dict(self.model_extra or {})


class ServiceSection(Section):
    """[service]: what stands between every door and the backend."""

    deadline: Number = Field(5.0, gt=0, description="seconds that the backend may take for one question")
    cache_ttl: Number = Field(1.0, ge=0, description="seconds that an answer holds where the backend emits no changes")
    cache_size: StrictInt = Field(10_000, ge=1, description="answers kept in memory at most")
    grace: Number = Field(5.0, ge=0, description="seconds that what is in flight may take to finish at a stop")


class LogSection(Section):
    """[log]: standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe event that is logged")
    format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text on a terminal, JSON lines otherwise"
    )
    anonymize_addresses: StrictBool = Field(False, description="cut peers' addresses: IPv4 to /24, IPv6 to /48")


class ProcessSection(Section):
    """[process]: as whom to run, after the ports are bound."""

    user: str | None = Field(None, description="login name to become; needs root at start")
    group: str | None = Field(None, description="group to become; by default the user's own")
    run_as_root: StrictBool = Field(False, description="stay root where no user is given, instead of refusing to run")


def _to_network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError('expected a network in quotes, such as "192.0.2.0/24"')  # noqa: TRY004 -- pydantic's way
    try:
        return ip_network(value)
    except ValueError:
        raise ValueError(f'"{value}" is no network: expected "192.0.2.0/24", "2001:db8::/32" or one address') from None


def _to_proxy(value: object) -> object:
    return value if value == "unix" else _to_network(value)


Networks = tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_to_network)], ...]


# A second: about one a day. Whoever is refused is told how many seconds to wait, so there has to be such a number; a
# mistyped 1e-310 gives none.
_SELDOMEST = 0.00001


class LimitsSection(Section):
    """[limits]: how often one address (IPv6: one /64) may ask, each door counted apart."""

    queries: Number = Field(50.0, ge=_SELDOMEST, description="queries a second, for ever")
    query_burst: Number = Field(500.0, ge=1, description="queries at once, after a silence")
    writes: Number = Field(2.0, ge=_SELDOMEST, description="statuses set a second, for ever")
    write_burst: Number = Field(60.0, ge=1, description="statuses set at once, after a silence")
    exempt: Networks = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")), description="addresses that are not limited"
    )


class ListeningSection(Section):
    """What every section that listens can say."""

    # Whether the client speaks first, so that the kernel may keep silent connections to itself.
    client_speaks_first: ClassVar[bool] = False

    @property
    def local_only(self) -> bool:
        """Whether it may be served to this machine alone, as it is configured."""
        return False

    listen: Listen = Field(description="addresses; empty where the service manager passes the sockets")
    max_connections: StrictInt = Field(20_000, ge=1, description="connections open at once")
    max_connections_per_address: StrictInt = Field(256, ge=1, description="of these, from one address (IPv6: one /64)")


class FingerSection(ListeningSection):
    """[finger]: RFC 1288."""

    client_speaks_first: ClassVar[bool] = True

    answer: Literal["status", "full"] = Field("status", description="the status alone, or RFC 1288's user information")
    user_list: StrictBool = Field(True, description="false answers an empty query with a refusal")
    show: tuple[str, ...] | None = Field(None, description="facts that a full answer may show; without it, all")
    ambiguous: StrictBool = Field(False, description="the beginning of a name shows everybody it fits")
    forwarding: StrictBool = Field(False, description="pass user@host on to the hosts of forward_to")
    forward_to: tuple[str, ...] = Field((), description="hosts and networks that may be asked: names, addresses, CIDR")

    @field_validator("forward_to")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_target(text)
        return value

    @model_validator(mode="after")
    def _forwards_somewhere(self) -> FingerSection:
        if self.forwarding and not self.forward_to:
            raise ValueError('forwarding = true needs forward_to = ["host", ...]')
        return self


class SetterSection(ListeningSection):
    """[setter]: two lines set a status."""

    auth: Literal["none"] = Field("none", description="who may set: anybody who can reach it")

    @property
    def local_only(self) -> bool:
        return self.auth == "none"

    @model_validator(mode="after")
    def _local_only(self) -> SetterSection:
        for address in self.listen:
            if not address.is_local:
                raise ValueError(
                    f'listen = "{address}" with auth = "none" lets anybody set anyone\'s status: '
                    'use a loopback address or "unix:/path"'
                )
        return self


def _to_origin(value: object) -> object:
    """An origin as browsers write it; the standard ports, which they leave out, are left out."""
    if not isinstance(value, str) or value == "*":
        return value
    parts = urlsplit(value.lower())
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or f"{parts.scheme}://{parts.netloc}" != value.lower()
    ):
        raise ValueError(f'"{value}" is no origin: expected "https://example.org", without a path, or "*"')
    standard = {"http": ":80", "https": ":443"}[parts.scheme]
    return value.lower().removesuffix(standard)


class HttpSection(ListeningSection):
    """[http]: pages, JSON, XML-RPC and the live feed."""

    certfile: Path | None = Field(None, description="PEM file with the certificate chain; makes it https")
    keyfile: Path | None = Field(None, description="PEM file with the private key")
    trusted_proxies: tuple[Annotated[IPv4Network | IPv6Network | Literal["unix"], BeforeValidator(_to_proxy)], ...] = (
        Field((), description='networks whose X-Forwarded headers are believed, "unix" for whoever uses a unix socket')
    )
    keep_alive: Number = Field(5.0, gt=0, description="seconds that an idle connection is kept")
    allowed_origins: tuple[Annotated[str, BeforeValidator(_to_origin)], ...] = Field(
        (), description='other sites whose pages may open the live feed, "https://example.org"; "*": all'
    )
    max_watchers: StrictInt = Field(2000, ge=0, description="connections that may follow the live feed at once")
    max_watchers_per_address: StrictInt = Field(64, ge=1, description="of these, from one address (IPv6: one /64)")

    @field_validator("certfile", "keyfile")
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        try:
            if value is not None and not value.is_file():
                raise ValueError(f'there is no file "{value}"')
        except PermissionError as error:  # a directory on the way; whether the file itself can be read, its door tells
            raise ValueError(f'"{value}" cannot be read: {error.strerror}') from None
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> HttpSection:
        if (self.certfile is None) != (self.keyfile is None):
            raise ValueError("certfile and keyfile go together")
        return self


_NICK_SPECIAL = r"[]\`_^{|}"  # RFC 2812, 2.3.1
_NICK = re.compile(rf"[A-Za-z{re.escape(_NICK_SPECIAL)}][A-Za-z0-9{re.escape(_NICK_SPECIAL)}-]{{0,29}}")


class IrcSection(Section):
    """[irc]: a bot that answers private messages."""

    server: Address = Field(description="host and port of the IRC server")
    nick: str = Field("fingerbot", description="what it is called there")

    @field_validator("server", mode="before")
    @classmethod
    def _server(cls, value: object) -> Address:
        if isinstance(value, Address):
            return value
        if not isinstance(value, str):
            raise ValueError('expected an address in quotes, "irc.example.net:6667"')  # noqa: TRY004 -- pydantic's way
        expected = f'"{value}" is not the address of a server: expected a host and a port, "irc.example.net:6667"'
        try:
            address = parse_address(value)
        except ValueError:
            raise ValueError(expected) from None
        if address.path is not None or not address.port:
            raise ValueError(expected)
        return address

    @field_validator("nick")
    @classmethod
    def _nick(cls, value: str) -> str:
        if _NICK.fullmatch(value) is None:
            raise ValueError(
                f'"{value}" is no nickname: expected a letter or one of {_NICK_SPECIAL}, and up to 29 more of these, '
                "digits and -"
            )
        return value


class AdminSection(ListeningSection):
    """[admin]: /metrics, /healthz and /readyz, for who runs the server. They tell who asks how much, and what fails."""

    listen: Listen = Field((Address("127.0.0.1", 9079),), description="addresses of its own")
    max_connections: StrictInt = Field(64, ge=1, description="connections open at once")
    allow_public: StrictBool = Field(False, description="listen where other machines can reach it, too")

    @property
    def local_only(self) -> bool:
        return not self.allow_public

    @model_validator(mode="after")
    def _never_public_by_accident(self) -> AdminSection:
        for address in self.listen:
            if not address.is_local and not self.allow_public:
                raise ValueError(
                    f'listen = "{address}" may be reached by strangers: use a loopback address or "unix:/path", '
                    "or say allow_public = true where something else keeps them out"
                )
        return self
