"""URLs of servers that a client is to ask, parsed strictly: what the configuration checked is what the client uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from fingertrio.wire.text import clean_line

_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,252})|[0-9a-f:.]+)\Z")

HTTP: Mapping[str, tuple[bool, int]] = {"http": (False, 80), "https": (True, 443)}


@dataclass(frozen=True, slots=True)
class HTTPURL:
    """A parsed URL.

    Attributes:
        host: in lower case and ASCII; an IPv6 address without brackets.
        port: that of the scheme unless the URL has one.
        tls: whether the scheme is an encrypted one.
        path: as it is in the URL; it may be empty.
        query: the part behind the question mark; empty: there is none.
    """

    host: str
    port: int
    tls: bool
    path: str
    query: str = ""

    @property
    def host_header(self) -> str:
        """The value of the Host header; the port is included unless it is the default port of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_http_url(
    url: str, *, schemes: Mapping[str, tuple[bool, int]] = HTTP, with_query: bool = False, hide: bool = False
) -> HTTPURL:
    """`url`, parsed.

    Args:
        url: the text.
        schemes: by scheme, whether it is encrypted, and its port.
        with_query: whether a query is allowed.
        hide: keep the URL out of error messages, because its path may be a secret.

    Raises:
        ValueError: the message says what is wrong with the URL.
    """
    shown = "the URL" if hide else f'"{clean_line(url)}"'
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" not in host:
            host = host.encode("idna").decode()  # also rejects overlong labels, on which wsproto would fail
    except ValueError:  # UnicodeError is one
        raise ValueError(f"{shown} is not a URL") from None
    if parts.scheme not in schemes or not _HOST.match(host):
        raise ValueError(f"{shown} is not a URL that starts with http:// or https:// and a host")
    if "@" in parts.netloc or (parts.query and not with_query) or parts.fragment or port == 0:
        allowed = "a scheme, host, port, path and query" if with_query else "only a scheme, host, port and path"
        raise ValueError(f"{shown}: {allowed} are allowed")
    rest = parts.path + parts.query
    if not (rest.isascii() and rest.isprintable()) or " " in rest:
        raise ValueError(f"{shown}: the path contains a character that must be percent-encoded")
    tls, standard = schemes[parts.scheme]
    return HTTPURL(host, port or standard, tls, parts.path, parts.query)
