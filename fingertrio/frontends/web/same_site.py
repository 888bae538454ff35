"""Whether a form was sent by one of our own pages: the defence against requests that other sites make a browser send.

The session's cookie is SameSite=Strict, so a browser does not send it with requests from other sites. But a sibling
domain (a.example.org of b.example.org) counts as the same site, and old browsers do not know the attribute. So each
request that can change something is judged by what the browser reports, in this order:

1. Sec-Fetch-Site, which a page cannot forge. Only "same-origin" and "none" (the user's own doing) are ours. Browsers
   send it over https and to localhost.
2. Origin. It must be the address that the browser asked: the host of the request, the one that a trusted proxy
   reports, or that of `[http] url`. "null" is not ours. Pages with a form have Referrer-Policy: same-origin, because
   with no-referrer browsers send "null" from our own pages, too.
3. Neither: a browser from before 2020, or lynx. It cannot tell, so the form must have the seal of the session, which
   other sites cannot read. Our forms have it in each case.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

_PORTS = {"http": ":80", "https": ":443"}


class Sender(Enum):
    """Which page sent a request."""

    OURS = auto()
    OTHER = auto()
    UNKNOWN = auto()


def sender_of(headers: Headers, origins: Collection[str]) -> Sender:
    """The sender of a request.

    Args:
        headers: of the request.
        origins: of our own pages; see `origin_of`.
    """
    if sites := headers.getlist("Sec-Fetch-Site"):
        return Sender.OURS if sites in (["same-origin"], ["none"]) else Sender.OTHER
    if found := headers.getlist("Origin"):
        return Sender.OURS if len(found) == 1 and _is_one_of(found[0], origins) else Sender.OTHER
    return Sender.UNKNOWN


def origin_of(url: str) -> str:
    """The origin of a URL, as browsers write it: scheme, host, and a port that is not the scheme's own."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return f"{scheme}://{parts.netloc.rpartition('@')[2].lower().removesuffix(_PORTS.get(scheme, ''))}"


def _is_one_of(origin: str, origins: Collection[str]) -> bool:
    """Whether `origin` is one of ours.

    A proxy that ends TLS need not report it. So where we know http only, https of the same host is ours, too.
    """
    try:
        origin = origin_of(origin)
    except ValueError:  # "http://["
        return False
    scheme, _, host = origin.partition("://")
    return origin in origins or (scheme == "https" and f"http://{host}" in origins)
