"""Which answers pages of other sites may read (CORS), errors included: a page must learn why it gets nothing.

Below /api/ they may send a token of their own, after a preflight. Nothing there looks at a cookie, so a page can do
only what its own token allows. Feeds, badges and WebFinger take simple requests. Pages for people are closed to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quart import Response

from fingertrio.wire import webfinger

_API = "/api/"

_ANYONE = {"Access-Control-Allow-Origin": "*"}
_PROGRAMS: Mapping[str, str] = MappingProxyType(
    {**_ANYONE, "Access-Control-Expose-Headers": "ETag, Retry-After, WWW-Authenticate"}
)
_READERS: Mapping[str, str] = MappingProxyType({**_ANYONE, "Access-Control-Expose-Headers": "ETag, Retry-After"})
_CLOSED: Mapping[str, str] = MappingProxyType({})
_PREFLIGHT = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID",
    "Access-Control-Max-Age": "7200",  # seconds; Chromium keeps it no longer
}

# Of one user, or of everybody below /-/.
_THINGS = ("/feed.atom", "/feed.json", "/twtxt.txt", "/badge.svg", "/badge.json")


def fields_for(path: str) -> Mapping[str, str]:
    """The header fields for any answer to a request for `path`, without percent-encoding."""
    if path.startswith(_API):
        return _PROGRAMS
    is_open = path == webfinger.PATH or (path.endswith(_THINGS) and path.count("/") == 2)
    return _READERS if is_open else _CLOSED


def allow(response: Response, path: str, method: str) -> None:
    """Add the fields to the answer to a request; to OPTIONS below /api/ also what a preflight asks for."""
    response.headers.update(fields_for(path))
    if method == "OPTIONS" and path.startswith(_API) and "Allow" in response.headers:
        response.headers.update(_PREFLIGHT)
        response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
