"""Addresses to listen on, as operators write them: "127.0.0.1:7979", "[::1]:79", "unix:/run/fingertrio/setter.sock".

Also IP addresses and networks, with IPv4-mapped forms (RFC 4291 section 2.5.5.2) as plain IPv4. A dual-stack socket
shows an IPv4 peer as ::ffff:192.0.2.1, and so do some proxies; comparisons have to treat both forms as equal.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

_UNIX = "unix:"
_UNIX_PATH_LIMIT = 107  # sun_path of unix(7), less its final NUL


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on: `host` and `port` (0: any free port), or the `path` of a unix socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect: a unix socket or a loopback address."""
        if self.path is not None or self.host == "localhost":
            return True
        ip = parse_ip(self.host)
        return ip is not None and ip.is_loopback  # None: a host name, which may resolve to any address


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address without its zone, IPv4-mapped ones as IPv4; None if the text is not an address."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def plain_network(network: Network) -> Network:
    """The same network, an IPv4-mapped one as IPv4, so that it contains what `parse_ip` returns."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
    return network


def parse_address(text: str) -> Address:
    """Parse one address.

    Raises:
        ValueError: the text is not an address. The message says what was expected.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path.startswith("/"):
            raise ValueError(f'"{text}": a unix socket needs an absolute path, such as "unix:/run/finger.sock"')
        if len(path.encode()) > _UNIX_PATH_LIMIT:
            raise ValueError(f'"{text}": the path of a unix socket may have at most {_UNIX_PATH_LIMIT} bytes')
        return Address(path=Path(path))
    host, _, port = text.rpartition(":")
    if not host or re.fullmatch("[0-9]{1,5}", port) is None or int(port) > 65535:
        raise ValueError(f'"{text}" is not an address: expected "127.0.0.1:7979", "[::1]:7979" or "unix:/path"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f'"{text}": "{host}" is not an IPv6 address') from None
    elif ":" in host:
        raise ValueError(f'"{text}": write an IPv6 address in brackets, such as "[::1]:7979"')
    return Address(host=host, port=int(port))
