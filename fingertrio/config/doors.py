"""The sections of our front ends: the keys of each, their defaults, and what is rejected."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from fingertrio.config.sections import (
    Listen,
    ListeningSection,
    to_address,
    to_list,
    to_network,
)
from fingertrio.net.address import Address
from fingertrio.net.proxies import UNIX, TrustedProxies
from fingertrio.net.targets import parse_target
from fingertrio.wire.text import clean_line


def _to_proxy(value: object) -> object:
    return value if value == UNIX else to_network(value)


Proxies = tuple[Annotated[IPv4Network | IPv6Network | Literal["unix"], BeforeValidator(_to_proxy)], ...]


class ProxiedSection(ListeningSection):
    """The keys of a section whose clients can come through proxies."""

    knows_forwarded: ClassVar[bool] = False  # the protocol has another way to report the client

    proxy_protocol: bool = Field(
        False, description="trusted proxies begin every connection with the PROXY header, version 1 or 2"
    )
    trusted_proxies: Proxies = Field(
        (), description='networks of the proxies that send the PROXY header; "unix": every client of a unix socket'
    )

    @property
    def header_senders(self) -> TrustedProxies | None:
        """The proxies that send the PROXY header; None: no peer does."""
        return TrustedProxies(self.trusted_proxies) if self.proxy_protocol else None

    @model_validator(mode="after")
    def _names_its_proxies(self) -> Self:
        if self.proxy_protocol and not self.trusted_proxies:
            raise ValueError(
                'proxy_protocol = true needs trusted_proxies = ["192.0.2.1"], the addresses of the proxies'
            )
        if self.trusted_proxies and not (self.proxy_protocol or self.knows_forwarded):
            raise ValueError("trusted_proxies needs proxy_protocol = true, or leave it out")
        return self


class SecuredSection(ProxiedSection):
    """The keys of a section whose sockets can have TLS."""

    certfile: Path | None = Field(None, description="PEM file with the certificate chain; switches TLS on")
    keyfile: Path | None = Field(None, description="PEM file with the private key")

    @field_validator("certfile", "keyfile")
    @classmethod
    def _exists(cls, value: Path | None) -> Path | None:
        try:
            if value is not None and not value.is_file():
                raise ValueError(f'there is no file "{value}"')
        except (
            PermissionError
        ) as error:  # a directory on the path; the door reports whether the file itself can be read
            raise ValueError(f'"{value}" cannot be read: {error.strerror}') from None
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certfile is None) != (self.keyfile is None):
            raise ValueError("certfile and keyfile go together")
        return self


class FingerSection(ProxiedSection):
    """[finger]: RFC 1288."""

    client_speaks_first: ClassVar[bool] = True

    answer: Literal["status", "full"] = Field("status", description="the status alone, or RFC 1288's user information")
    user_list: bool = Field(True, description="false answers an empty query with a refusal")
    show: tuple[str, ...] | None = Field(None, description="facts that a full answer may show; by default, all")
    ambiguous: bool = Field(False, description="a name's beginning shows every user that it matches")
    forwarding: bool = Field(False, description="pass user@host on to the hosts of forward_to")
    forward_to: tuple[str, ...] = Field((), description="allowed hosts and networks: names, addresses, CIDR")

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


Auth = Literal["none", "token", "peer"]


@dataclass(frozen=True, slots=True)
class SetterAddress(Address):
    """An address of the setter; `auth` and `tls` None: those of the section."""

    auth: Auth | None = None
    tls: bool | None = None


def _to_setter_address(value: object) -> SetterAddress:
    if isinstance(value, SetterAddress):
        return value
    table: dict[str, Any] = value if isinstance(value, dict) else {"address": value}
    auth, tls = table.get("auth"), table.get("tls")
    if (
        not {"address"} <= table.keys() <= {"address", "auth", "tls"}
        or (isinstance(value, dict) and len(table) < 2)
        or auth not in (None, *typing.get_args(Auth))
        or not isinstance(tls, bool | None)
    ):
        raise ValueError(
            'expected { address = "127.0.0.1:1079", auth = "none", "token" or "peer" }, or with tls = false'
        )
    address = to_address(table["address"])
    return SetterAddress(address.host, address.port, address.path, auth, tls)


class SetterSection(SecuredSection):
    """[setter]: two lines set a status."""

    listen: Annotated[
        tuple[Annotated[SetterAddress, BeforeValidator(_to_setter_address)], ...], BeforeValidator(to_list)
    ] = Field(
        description='addresses, or { address = "...", auth = "..." } for one with a proof of its own (tls = false: '
        "without TLS); empty where the service manager passes the sockets"
    )
    auth: Auth = Field(
        "none",
        description="the proof that a client needs: none, a token in an AUTH line, or its unix socket's credentials",
    )
    allow_plaintext: bool = Field(
        False, description="accept tokens over TCP from other machines, although the network can read them"
    )

    @property
    def local_only(self) -> bool:
        return self.auth == "none" or (self.auth == "token" and not self.allow_plaintext and self.certfile is None)

    def auth_at(self, place: Address) -> Auth:
        """The proof that a client needs at a bound address."""
        return self._entry(place).auth or self.auth

    def tls_at(self, place: Address) -> bool:
        """Whether clients speak TLS at a bound address."""
        return place.path is None and self.certfile is not None and self._entry(place).tls is not False

    def _entry(self, place: Address) -> SetterAddress:
        """What the section says of a bound address. A host name is recognised by its port."""
        for address in self.listen:
            if address.path is not None or place.path is not None:
                found = address.path == place.path
            else:
                found = address.port in {0, place.port}
            if found:
                return address
        return SetterAddress()

    @model_validator(mode="after")
    def _safe(self) -> SetterSection:
        for address in self.listen:
            if address.tls and (self.certfile is None or address.path is not None):
                raise ValueError(f'listen = "{address}": tls = true needs certfile and keyfile, and a TCP address')
            if reason := self.refusal_at(address, address.auth or self.auth):
                raise ValueError(f'listen = "{address}": {reason}')
        return self

    def refusal_at(self, address: Address, auth: Auth) -> str | None:
        """Why this proof is not safe at this address; None: it is."""
        proxied = self.proxy_protocol and (address.path is None or UNIX in self.trusted_proxies)
        if proxied and auth != "token":
            return f'auth = "{auth}" cannot be proved through a proxy (proxy_protocol): use auth = "token"'
        if auth == "peer" and address.path is None:
            return 'auth = "peer" needs a unix socket: use "unix:/path", or auth = "token"'
        if address.is_local:
            return None
        if auth == "none":
            return 'auth = "none" lets every client set every status: use a loopback address or "unix:/path"'
        if not self.allow_plaintext and not self.tls_at(address):
            return (
                "the network could read the tokens: use TLS (certfile and keyfile), https (PUT /api/users/U/status), a "
                "loopback address, or allow_plaintext = true where something else encrypts the connections"
            )
        return None


def _to_origin(value: object) -> object:
    """An origin as browsers write it, without a standard port."""
    if not isinstance(value, str) or value == "*":
        return value
    parts = urlsplit(value.lower())
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or f"{parts.scheme}://{parts.netloc}" != value.lower()
    ):
        raise ValueError(f'"{value}" is not an origin: expected "https://example.org", without a path, or "*"')
    standard = {"http": ":80", "https": ":443"}[parts.scheme]
    return value.lower().removesuffix(standard)


def _to_base(value: object) -> object:
    """The address of a site, without a slash at its end."""
    parts = urlsplit(value) if isinstance(value, str) and value.isprintable() else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f'"{value}" is not the address of a site: expected "https://finger.example.org"')
    if parts.query or parts.fragment:
        raise ValueError(f'"{value}" has a part after the path: expected "https://finger.example.org"')
    return parts.geturl().rstrip("/")


class HttpSection(SecuredSection):
    """[http]: pages, JSON, XML-RPC and the live feed."""

    knows_forwarded: ClassVar[bool] = True

    trusted_proxies: Proxies = Field(
        (),
        description="networks whose X-Forwarded headers are trusted, or with proxy_protocol the PROXY header "
        'instead; "unix": every client of a unix socket',
    )
    keep_alive: float = Field(130.0, gt=0, description="seconds that an idle connection is kept")
    max_buffered: int = Field(
        67_108_864, ge=1_048_576, description="bytes in memory for unread answers, request bodies and TLS handshakes"
    )
    allowed_origins: tuple[Annotated[str, BeforeValidator(_to_origin)], ...] = Field(
        (), description='other sites whose pages may open the live feed, "https://example.org"; "*": all'
    )
    max_watchers: int = Field(2000, ge=0, description="watchers of the live feed at once")
    max_watchers_per_address: int = Field(64, ge=1, description="the same for one address (IPv6: one /64)")
    title: str = Field("fingertrio", min_length=1, max_length=60, description="name of the site, on every page")
    description: str = Field(
        "What people here are up to, on the web and by finger", max_length=200, description="one line about it"
    )
    url: Annotated[str, BeforeValidator(_to_base)] | None = Field(
        None, description='public address of the site, such as "https://finger.example.org"; by default each request\'s'
    )
    index: bool = Field(False, description="allow search engines to list the pages")
    style: Path | None = Field(None, description="a style sheet of your own, which pages use after ours")
    docs_url: Annotated[str, BeforeValidator(_to_base)] | None = Field(
        None, description="address of a documentation site; with it, the foot of every page links there"
    )

    @field_validator("title", "description")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return clean_line(value)


class AdminSection(ListeningSection):
    """[admin]: /metrics, /healthz and /readyz for operators. They show the load of each door and what fails."""

    listen: Listen = Field((Address("127.0.0.1", 9079),), description="its own addresses")
    max_connections: int = Field(64, ge=1, description="connections open at once")
    allow_public: bool = Field(False, description="allow addresses that other machines can reach")

    @property
    def local_only(self) -> bool:
        return not self.allow_public

    @model_validator(mode="after")
    def _never_public_by_accident(self) -> AdminSection:
        for address in self.listen:
            if not address.is_local and not self.allow_public:
                raise ValueError(
                    f'listen = "{address}" can be reached from other machines: use a loopback address or "unix:/path", '
                    "or set allow_public = true if a firewall protects it"
                )
        return self
