"""Which server answered, and which client it saw: /-/instance, for `fingertrio doctor` and other monitoring.

    GET /-/instance
    {"instance": "9f2c...", "client": "192.0.2.7", "seen": "forwarded", "scheme": "https"}

The identifier is random and new at each start: a client that gets the same one at a local address and at the public one
has reached the same process. The rest is what clients know of themselves; the address of a trusted proxy is not in it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Literal

from quart import Blueprint, Response, request

from fingertrio.frontends.web.peers import is_forwarded
from fingertrio.net.proxies import TrustedProxies

PATH = "/-/instance"

# How the server knows the client's address: the client connects itself; a trusted proxy reported it; or a trusted proxy
# reported none, so that all its clients are taken for one.
Seen = Literal["direct", "forwarded", "unnamed"]


def new_instance() -> str:
    """A new identifier."""
    return secrets.token_hex(16)


def instance_blueprint(instance: str, proxies: Callable[[], TrustedProxies]) -> Blueprint:
    """The route.

    Args:
        instance: identifies this process.
        proxies: returns the trusted proxies.
    """
    blueprint = Blueprint("instance", __name__)

    @blueprint.get(PATH)
    async def show() -> Response:
        scope = request.scope
        client, _ = scope.get("client") or ("", 0)  # none at a Unix socket
        seen: Seen = "direct"
        if is_forwarded(scope):
            seen = "forwarded"
        elif proxies().includes(client):
            seen = "unnamed"
        document = {
            "instance": instance,
            "client": client,
            "seen": seen,
            "scheme": scope["scheme"],
        }
        return Response(json.dumps(document), content_type="application/json", headers={"Cache-Control": "no-store"})

    return blueprint
