"""The sections that belong to no front end, and the base of all: their keys, defaults, and what is rejected.

The options of a backend are defined by the backend, and those of a front end from another package by that package.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from fingertrio.net.address import Address, parse_address
from fingertrio.wire.status import check_status
from fingertrio.wire.when import parse_duration, parse_when


def to_address(value: object) -> Address:
    match value:
        case Address():
            return value
        case str():
            return parse_address(value)
    raise ValueError('expected an address in quotes, such as "127.0.0.1:7979"')


def to_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Listen = Annotated[tuple[Annotated[Address, BeforeValidator(to_address)], ...], BeforeValidator(to_list)]


class Section(BaseModel):
    """The base of all sections: frozen, and a key that the section lacks is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True)


class OptionError(ValueError):
    """A value that turned out wrong when it was used; reported as a mistake in its section, with its key."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")


class BackendSection(BaseModel):
    """[backend]: the backend's name in `use`; all other keys are its own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str

    @property
    def options(self) -> dict[str, Any]:
        """The backend's own options, not validated."""
        return dict(self.model_extra or {})


class ServiceSection(Section):
    """[service]: deadlines and the cache, between every door and the backend."""

    deadline: float = Field(5.0, gt=0, description="seconds that the backend may take for one query")
    cache_ttl: float = Field(1.0, ge=0, description="seconds that an answer is cached if the backend emits no changes")
    cache_size: int = Field(10_000, ge=1, description="most answers kept in memory")
    grace: float = Field(5.0, ge=0, description="seconds that requests in progress may take to finish at a stop")
    default_for: str | None = Field(
        None, description='how long a status lasts that is set without an end, such as "8h"; without it, until the next'
    )

    @field_validator("default_for")
    @classmethod
    def _is_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value

    @property
    def default_length(self) -> timedelta | None:
        """`default_for` as a length of time."""
        return None if self.default_for is None else parse_duration(self.default_for)


class LogSection(Section):
    """[log]: the log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe event that is logged")
    format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text on a terminal, JSON lines otherwise"
    )
    statuses: bool = Field(False, description="put each status that is set into its audit line")
    anonymize_addresses: bool = Field(False, description="cut peers' addresses: IPv4 to /24, IPv6 to /48")


class ProcessSection(Section):
    """[process]: the user to run as, after the ports are bound."""

    user: str | None = Field(None, description="login name to switch to; needs root at start")
    group: str | None = Field(None, description="group to switch to; by default the user's own")
    run_as_root: bool = Field(False, description="run as root if no user is given, instead of refusing to start")


def to_network(value: object) -> object:
    match value:
        case IPv4Network() | IPv6Network():
            return value
        case str():
            try:
                return ip_network(value)
            except ValueError:
                raise ValueError(
                    f'"{value}" is not a network: expected "192.0.2.0/24", "2001:db8::/32" or one address'
                ) from None
    raise ValueError('expected a network in quotes, such as "192.0.2.0/24"')


Networks = tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(to_network)], ...]


# Per second: about one a day. A refused client learns how many seconds to wait; a mistyped 1e-310 would make that
# infinite.
_LOWEST_RATE = 0.00001


class LimitsSection(Section):
    """[limits]: how often one address (IPv6: one /64) may query, counted separately at each door."""

    queries: float = Field(50.0, ge=_LOWEST_RATE, description="queries per second, sustained")
    query_burst: float = Field(500.0, ge=1, description="queries at once, after a pause")
    writes: float = Field(2.0, ge=_LOWEST_RATE, description="statuses set per second, sustained")
    write_burst: float = Field(60.0, ge=1, description="statuses set at once, after a pause")
    exempt: Networks = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")), description="addresses that are not limited"
    )


# Read and write for owner, group and others; whether a file may be executed means nothing for a socket.
_MODE = re.compile("0?[0-7]{3}")


class ListeningSection(Section):
    """The keys of every section that listens."""

    # Whether the client sends first, so that the kernel may hold back silent connections.
    client_speaks_first: ClassVar[bool] = False

    @property
    def local_only(self) -> bool:
        """Whether only clients on this machine may reach it, as configured."""
        return False

    listen: Listen = Field(description="addresses; empty if the service manager passes the sockets")
    max_connections: int = Field(20_000, ge=1, description="connections open at once")
    max_connections_per_address: int = Field(256, ge=1, description="the same for one address (IPv6: one /64)")
    socket_mode: str = Field(
        "0600",
        description='mode of unix sockets, in octal: "0660" lets the group connect, "0666" every local user',
    )
    socket_group: str | None = Field(None, description="group of unix sockets; by default that of the process")

    @field_validator("socket_mode", mode="before")
    @classmethod
    def _octal(cls, value: object) -> str:
        match value:
            case str() if _MODE.fullmatch(value):
                return value
        raise ValueError('expected an octal mode in quotes, such as "0660"')

    @model_validator(mode="after")
    def _has_unix_socket(self) -> Self:
        for key in sorted({"socket_mode", "socket_group"} & self.model_fields_set):
            if not any(address.path for address in self.listen):
                raise ValueError(
                    f'{key} needs a "unix:" address in listen; for a socket that systemd passes, use SocketMode= and '
                    "SocketGroup= in its unit"
                )
        return self


class Preset(Section):
    """One status with a name."""

    model_config = ConfigDict(validate_by_name=True)

    status: str = Field(description="the status")
    length: str | None = Field(None, alias="for", description='how long it holds, such as "1h"')
    until: str | None = Field(None, description='when it ends, such as "17:00"')

    @model_validator(mode="after")
    def _is_possible(self) -> Preset:
        check_status(self.status)
        if self.length is not None and self.until is not None:
            raise ValueError("use either for or until, not both")
        if self.length is not None:
            parse_duration(self.length)
        if self.until is not None:
            parse_when(self.until, datetime.now(UTC))
        return self


class PresetsSection(Section):
    """[presets]: statuses with a name, as `lunch = { status = "Lunch", for = "1h" }`; `:lunch` as a status names it."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Preset] = Field(init=False)

    @property
    def by_name(self) -> dict[str, Preset]:
        """Each preset by its name."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def tables(self) -> dict[str, dict[str, str]]:
        """The same as it is written: "status", and "for" or "until" where there is one."""
        return {name: preset.model_dump(by_alias=True, exclude_none=True) for name, preset in self.by_name.items()}


# A host name in letters that a certificate can have; others are written as xn--...
_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*(:[0-9]{1,5})?")


class WebFingerSection(Section):
    """[webfinger]: who the accounts at your domains are, for the fediverse and for OpenID Connect (RFC 7033)."""

    domains: Annotated[tuple[str, ...], BeforeValidator(to_list)] = Field(
        (), description='domains of the accounts: "example.org" for acct:ada@example.org; without any it is off'
    )
    issuer: str | None = Field(
        None,
        description="the OpenID Connect provider of every account at these domains, whether it has a status or not",
    )

    @field_validator("domains")
    @classmethod
    def _are_domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for domain in value:
            if not _DOMAIN.fullmatch(domain.lower()):
                raise ValueError(f'"{domain}" is not a domain: expected "example.org"')
        return tuple(dict.fromkeys(domain.lower() for domain in value))

    @field_validator("issuer")
    @classmethod
    def _is_https(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https://[^\s/?#@]+[^\s?#]*", value):
            raise ValueError(f'"{value}" is not the address of a provider: expected "https://login.example.org"')
        return value

    def refusal(self, url: str | None) -> str | None:
        """Why this does not go with `url` of [http]; None: it does."""
        if not self.domains:
            return None
        if url is None:
            return '[webfinger] needs [http] url, the public address of the pages: url = "https://finger.example.org"'
        parts = urlsplit(url)
        if parts.scheme != "https" and not Address(parts.hostname or "").is_local:
            return f'[http] url: clients of [webfinger] use https alone (RFC 7033 section 4), not "{url}"'
        return None


class AccountsSection(Section):
    """[accounts]: where the tokens are kept that let users set statuses."""

    path: Path | None = Field(
        None, description="tokens file; by default tokens.json next to the database, or in the state directory"
    )
