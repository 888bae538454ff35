"""Addresses to listen on, as operators write them: "127.0.0.1:7979", "[::1]:79", "unix:/run/fingertrio/setter.sock"."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

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
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a host name: it may resolve to any address
            return False


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
