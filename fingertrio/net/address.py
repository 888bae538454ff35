"""Where to listen, as people write it: "127.0.0.1:7979", "[::1]:79", "unix:/run/fingertrio/setter.sock"."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

_UNIX = "unix:"
_UNIX_PATH_LIMIT = 107  # sun_path of unix(7), less its final NUL


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen at: `host` and `port` (0: any free one), or `path` of a unix socket."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it: a unix socket or a loopback address."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name: it may resolve to anything
            return False


def parse_address(text: str) -> Address:
    """Read one address.

    Raises:
        ValueError: with what was expected instead.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path.startswith("/"):
            raise ValueError(f'"{text}": a unix socket is written with its whole path, such as "unix:/run/finger.sock"')
        if len(path.encode()) > _UNIX_PATH_LIMIT:
            raise ValueError(f'"{text}": the path of a unix socket has at most {_UNIX_PATH_LIMIT} bytes')
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
        raise ValueError(f'"{text}": an IPv6 address stands in brackets, such as "[::1]:7979"')
    return Address(host=host, port=int(port))
