"""The keys of the [backend] table, checked before anything connects."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from ldap3.core.exceptions import LDAPExceptionError
from ldap3.operation.search import parse_filter
from ldap3.utils.dn import parse_dn
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

USER = "{user}"  # stands for the login name in filters and names


def _server(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("expected ldap://HOST, ldaps://HOST, or one of these with :PORT")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("a server is a scheme, a host and a port; bind_dn, base and filter are keys of their own")
    _ = parts.port  # raises ValueError unless it is a number below 65536
    return text


def _dn(text: str) -> str:
    try:
        parse_dn(text.replace(USER, "user"))
    except LDAPExceptionError as error:
        raise ValueError(f"not a distinguished name: {error}") from None
    return text


def _user_filter(text: str) -> str:
    if USER not in text:
        raise ValueError(f"the filter must contain {USER}, which becomes the login name")
    try:
        parse_filter(text.replace(USER, "user"), None, False, False, None, False)
    except LDAPExceptionError as error:
        raise ValueError(f"not a filter: {error}") from None
    return text


def _user_dn(text: str) -> str:
    if USER not in text:
        raise ValueError(f"the name must contain {USER}, which becomes the login name")
    return _dn(text)


DN = Annotated[str, AfterValidator(_dn)]


class CreateOptions(BaseModel):
    """How the entry of a new user is made: `[backend.create]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dn: Annotated[str, AfterValidator(_user_dn)] = Field(
        description='name of the new entry, for example "uid={user},ou=people,dc=example,dc=org"'
    )
    attributes: Mapping[str, tuple[str, ...]] = Field(
        description="attributes of the new entry, objectClass among them; {user} becomes the login name"
    )


class LDAPOptions(BaseModel):
    """Options of the `ldap` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: tuple[Annotated[str, AfterValidator(_server)], ...] = Field(
        min_length=1, description="ldap://HOST or ldaps://HOST, with a :PORT if need be; tried in this order"
    )
    start_tls: bool = Field(True, description="begin ldap:// connections with StartTLS; ldaps:// is always TLS")
    ca_file: Path | None = Field(
        None, description="PEM file of the authorities that may sign the server's certificate; by default the system's"
    )
    bind_dn: DN | None = Field(None, description="the DN to bind as; without it, an anonymous bind")
    password_file: Path | None = Field(
        None,
        description="file with the password of bind_dn; one line end at its end is dropped; read at each connection",
    )
    base: DN = Field(description='where users are looked for, for example "ou=people,dc=example,dc=org"')
    scope: Literal["subtree", "one level"] = Field("subtree", description="how far below base")
    filter: Annotated[str, AfterValidator(_user_filter)] = Field(
        "(&(objectClass=inetOrgPerson)(uid={user}))",
        description="which entry is a user; {user} becomes the login name, or * for the list of users",
    )
    login: str = Field("uid", description="attribute with the login name, which must match exactly")
    name: str = Field("cn", description="attribute with the full name")
    status: str = Field("description", description="attribute with the status")
    since: str | None = Field(None, description="attribute (a Generalized Time) with the time of the status")
    details: Mapping[str, str] = Field(
        {}, description='details that /W shows, and their attributes: { phone = "telephoneNumber" }'
    )
    write: bool = Field(False, description="let statuses be set: bind_dn must be allowed to change the attributes")
    create: CreateOptions | None = Field(
        None, description="how to make the entry of a user without one who sets a status; by default that is an error"
    )
    page_size: int = Field(500, ge=1, description="entries of one page of the list (RFC 2696)")
    limit: int = Field(10_000, ge=1, description="users in the list; more are an error")
    timeout: float = Field(
        4.0, gt=0, description="seconds for one answer; keep it below the service's 5, so that the log names the server"
    )
    connections: int = Field(4, ge=1, description="connections, and so queries, at once; further queries wait")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.bind_dn is None) != (self.password_file is None):
            raise ValueError("bind_dn and password_file belong together")
        plain = [server for server in self.servers if not self.start_tls and urlsplit(server).scheme == "ldap"]
        if self.bind_dn is not None and (sent := [server for server in plain if not _is_loopback(server)]):
            raise ValueError(
                f"the password would be sent to {sent[0]} in the clear: leave start_tls on, or use ldaps://"
            )
        if self.create is not None and not self.write:
            raise ValueError("create needs write = true")
        return self


def uses_tls(options: LDAPOptions) -> bool:
    """Whether any connection is, or becomes, TLS."""
    return options.start_tls or any(is_ldaps(server) for server in options.servers)


def is_ldaps(server: str) -> bool:
    """Whether connections to this server begin with TLS."""
    return urlsplit(server).scheme == "ldaps"


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
