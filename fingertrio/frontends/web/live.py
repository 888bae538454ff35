"""The live feed, which reports every change: a WebSocket at /api/watch, an event stream at /api/events.

docs/reference/live-feed.md is the protocol. The handshake is an ordinary request; the response is 101, 200 or an error.
After it the connection is handed over (`http.upgrade`), and a `Watcher` runs on it.

Browsers let pages of every site open a WebSocket, so `allowed_origins` says which may. An event stream is a request
like those for the other JSON, which pages of other sites may read: statuses are public.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound

from fingertrio.frontends.web.api import NO_LIST
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_watcher import EVENTS, LivePolicy, Start, Watcher
from fingertrio.http.event_stream import CONTENT_TYPE
from fingertrio.http.upgrade import Upgrade, offered_takeover, offered_upgrade
from fingertrio.http.websocket import accept_token
from fingertrio.names import canonical_name, is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.wire import live

# Users that one client may name. A client that needs more can watch all users.
_NAMES = 100


def live_blueprint(hub: LiveHub, observer: Observer, policy: Callable[[], LivePolicy]) -> Blueprint:
    """The route of the feed. Each handshake reads the current policy, and its watcher keeps it."""
    blueprint = Blueprint("live", __name__)

    @blueprint.get(live.PATH)
    async def watch() -> Response:
        upgrade, token = _check_handshake()
        rules = policy()
        if not _may_watch(request.headers.get("Origin"), request.headers.get("Host", ""), rules.origins):
            raise Forbidden("Pages of this origin are not allowed to watch; see allowed_origins in the documentation")
        watcher = Watcher(hub, observer, rules, _peer(), _users(hub), _start(request.args.get("since")))
        upgrade.session = watcher
        response = Response(b"", 101, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        if token is not None:
            response.headers["Sec-WebSocket-Accept"] = token.decode()
        for name in ("Content-Type", "Content-Length"):
            response.headers.pop(name, None)
        return response

    @blueprint.get(live.EVENTS_PATH)
    async def events() -> Response:
        watcher = Watcher(hub, observer, policy(), _peer(), _users(hub), _start(_last_event_id()), EVENTS)
        takeover = offered_takeover(request.scope)
        if takeover is not None and request.method == "GET":
            takeover.session = watcher
        response = Response(b"", content_type=CONTENT_TYPE)
        # No cache may keep it, nginx must not collect it, and it has no length.
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        response.headers.pop("Content-Length", None)
        return response

    return blueprint


class _UpgradeRequired(HTTPException):
    code = 426
    description = "This is a WebSocket, version 13: connect with Upgrade: websocket, or over HTTP/2 with RFC 8441"

    def get_headers(self, *_: object) -> list[tuple[str, str]]:
        if request.http_version.startswith("2"):  # HTTP/2 forbids these headers (RFC 9113 section 8.2.2)
            return []
        return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]


def _check_handshake() -> tuple[Upgrade, bytes | None]:
    """Validate the handshake; the upgrade, and the value of Sec-WebSocket-Accept (RFC 6455 section 4.2.1).

    HTTP/2 has no key and no such value (RFC 8441 section 5).
    """
    upgrade = offered_upgrade(request.scope)
    headers = request.headers
    if upgrade is None or request.method != "GET" or headers.get("Sec-WebSocket-Version") != "13":
        raise _UpgradeRequired
    if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
        raise BadRequest("A WebSocket handshake must not have a body")
    if not upgrade.has_key:
        return upgrade, None
    token = accept_token(headers.get("Sec-WebSocket-Key", ""))
    if token is None:
        raise BadRequest("Sec-WebSocket-Key is not 16 bytes in base64")
    return upgrade, token


def _may_watch(origin: str | None, host: str, allowed: Collection[str]) -> bool:
    """Whether a page of `origin` may watch. None: the client is not a browser, or a very old one.

    Browsers let any page open a WebSocket to any host, and only report the page's origin (RFC 6455 section 10.2). The
    scheme is not compared: behind a proxy that terminates TLS, we do not know our own.
    """
    if origin is None or "*" in allowed:
        return True
    origin = origin.lower()
    is_same_host = origin != "null" and _without_port(origin.partition("://")[2]) == _without_port(host.lower())
    return origin in allowed or is_same_host


def _without_port(host: str) -> str:
    """`host` without the default ports."""
    return host.removesuffix(":80").removesuffix(":443")


def _peer() -> str:
    client = request.scope.get("client")
    return client[0] if client else ""


def _users(hub: LiveHub) -> tuple[str, ...] | None:
    users = tuple(dict.fromkeys(map(canonical_name, request.args.getlist("user"))))
    if not users:
        if not hub.service.can_list:
            raise NotFound(f"{NO_LIST}; name the users to watch: {request.path}?user=NAME&user=NAME")
        return None
    if len(users) > _NAMES:
        raise BadRequest(f"Name at most {_NAMES} users, or none to watch all")
    if not all(map(is_user_name, users)):
        raise BadRequest("One of the users is not a valid login name")
    return users


def _last_event_id() -> str | None:
    """The last id that a client has received: the header that a browser sends when it reconnects, or the parameter.

    The header comes first: a browser repeats the address, and the id in that is older.
    """
    return request.headers.get("Last-Event-ID") or request.args.get("since")


def _start(since: str | None) -> Start:
    snapshot = request.args.get("snapshot", "0")
    if snapshot not in {"0", "1"}:
        raise BadRequest("snapshot must be 0 or 1")
    return Start(snapshot == "1", since)
