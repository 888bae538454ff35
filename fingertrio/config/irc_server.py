"""Addresses of IRC servers: "ircs://irc.libera.chat", "irc://[::1]:6667", "irc.example.net:6667", "unix:/run/znc"."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fingertrio.net.address import Address, parse_address

_PORTS = {"irc": 6667, "ircs": 6697}


@dataclass(frozen=True, slots=True)
class IrcServer:
    """A server: host and port, with TLS or without, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    tls: bool = False
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ircs' if self.tls else 'irc'}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody on a network can read along."""
        return self.path is not None or Address(self.host, self.port).is_local


def to_server(value: object) -> IrcServer:
    """The server that `value` names.

    Raises:
        ValueError: it names none.
    """
    match value:
        case IrcServer():
            return value
        case Address():
            return IrcServer(value.host, value.port)
        case str() if value.startswith("unix:"):
            return IrcServer(path=str(parse_address(value).path))
        case str() if "://" in value:
            return _from_url(value)
        case str():
            return _from_address(value)
    raise ValueError('expected an address in quotes, "irc.example.net:6667"')


def _from_url(text: str) -> IrcServer:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"} or "@" in parts.netloc:
        raise ValueError(f'"{text}" is not a server: expected "ircs://irc.example.net" or "irc://host:port"')
    return IrcServer(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "ircs")


def _from_address(text: str) -> IrcServer:
    expected = f'"{text}" is not the address of a server: expected a host and a port, "irc.example.net:6667"'
    try:
        address = parse_address(text)
    except ValueError:
        raise ValueError(expected) from None
    if address.path is not None or not address.port:
        raise ValueError(expected)
    return IrcServer(address.host, address.port)
