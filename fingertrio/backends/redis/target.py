"""Parses the URL of a Redis. Pure: does not connect.

    redis://[user:password@]host[:port][/db]                 a single server, Redis or Valkey
    rediss://...                                             the same over TLS; likewise for the notations below
    unix:///path/to/socket[?db=N]                            a single server on this machine
    redis+sentinel://[user:password@]h1[:p1],h2[:p2]/service[/db]
                                                             the primary that these sentinels report for `service`
    redis+cluster://[user:password@]h1[:p1],h2[:p2]          the cluster of these nodes

User and password are those of the servers that hold the data, percent-encoded; `:password@` is the default user's.
A part without a meaning is an error, not ignored: a query, a fragment, a path other than a service or a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

REDIS_PORT = 6379
SENTINEL_PORT = 26379

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """Which Redis holds the data. Exactly one of `path` and `hosts` is set. `str()` and `repr()` omit the password."""

    kind: Literal["server", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    db: int = 0
    service: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"Redis at {self.path}"
        hosts = ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        if self.kind == "sentinel":
            return f'Redis "{self.service}" of the sentinels {hosts}'
        return f"the Redis cluster of {hosts}" if self.kind == "cluster" else f"Redis at {hosts}"


def parse_target(url: str) -> RedisTarget:
    """The target that `url` names.

    Raises:
        ValueError: the URL has none of the notations above. The message repeats no part that may be a password.
    """
    parts = urlsplit(url)
    if parts.fragment or (parts.query and parts.scheme != "unix"):
        raise ValueError("a `?` or a `#` is not allowed here; percent-encode it in a password")
    if parts.scheme == "unix":
        return _unix(parts)
    secure, _, kind = parts.scheme.partition("+")
    if secure not in ("redis", "rediss") or kind not in ("", "sentinel", "cluster"):
        raise ValueError("expected redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://")
    credentials, _, addresses = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    login = (unquote(user) or None, unquote(password) or None)
    hosts = _hosts(addresses, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT)
    path = parts.path.strip("/")
    if kind == "cluster":
        if path:
            raise ValueError("a cluster has only one database: remove what follows the hosts")
        return RedisTarget("cluster", hosts, "", 0, "", *login, tls=secure == "rediss")
    if kind == "sentinel":
        service, _, db = path.partition("/")
        if not service:
            raise ValueError("the service name that the sentinels monitor is missing after the hosts: .../mymaster")
        return RedisTarget("sentinel", hosts, "", _db(db), unquote(service), *login, tls=secure == "rediss")
    if len(hosts) != 1:
        raise ValueError("expected one host; use redis+sentinel:// or redis+cluster:// for several")
    return RedisTarget("server", hosts, "", _db(path), "", *login, tls=secure == "rediss")


def _unix(parts: SplitResult) -> RedisTarget:
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError("the path of a socket starts with a slash: unix:///run/redis/redis.sock")
    if query.keys() - {"db"}:
        raise ValueError("only `?db=` is allowed after the path of a socket")
    return RedisTarget("server", (), unquote(parts.path), _db(query.get("db", [""])[-1]))


def _hosts(addresses: str, default_port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for address in addresses.split(","):
        if (match := _HOST.match(address)) is None:
            raise ValueError("each host must be a name, an IPv4 address or an [IPv6 address], optionally with :port")
        port = int(match["port"] or default_port)
        if not 1 <= port <= 65535:
            raise ValueError(f"{port} is not a port; expected 1 to 65535")
        found.append((match["v6"] or match["name"], port))
    return tuple(found)


def _db(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ValueError("the database must be a number")
    return int(text)
