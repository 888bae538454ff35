"""Twisted Web, as in the tutorial that fingertrio descends from: resources, and XML-RPC."""

from __future__ import annotations

from pathlib import Path

import web_content as content
from twisted.internet import reactor, ssl
from twisted.web import http, resource, server, xmlrpc

_LIST = content.users_json()


class Body(resource.Resource):
    """One URL."""

    isLeaf = True  # noqa: N815 -- Twisted's name

    def __init__(self, kind: str, render) -> None:
        super().__init__()
        self._kind, self._render = kind, render

    def render_GET(self, request) -> bytes:  # noqa: N802 -- Twisted's name
        body = self._render()
        for name, value in content.HEADERS.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", self._kind)
        if request.setETag(content.etag(body).encode()) is http.CACHED:
            return b""
        return body


class Users(xmlrpc.XMLRPC):
    def xmlrpc_getUser(self, user: str) -> str:  # noqa: N802 -- Twisted's name
        return content.STATUSES[user]["status"]


def main() -> None:
    api = resource.Resource()
    users = Body("application/json", lambda: _LIST)
    users.isLeaf = False
    users.putChild(b"moshez", Body("application/json", lambda: content.user_json("moshez")))
    api.putChild(b"users", users)
    root = resource.Resource()
    root.putChild(b"api", api)
    root.putChild(b"moshez", Body("text/html; charset=utf-8", lambda: content.user_page("moshez")))
    root.putChild(b"RPC2", Users())
    site = server.Site(root)
    site.noisy = False
    if content.CERTFILE is None:
        port = reactor.listenTCP(0, site, backlog=content.BACKLOG, interface="127.0.0.1")
    else:
        options = ssl.PrivateCertificate.loadPEM(Path(content.CERTFILE).read_text()).options()
        port = reactor.listenSSL(0, site, options, backlog=content.BACKLOG, interface="127.0.0.1")
    content.announce(port.getHost().port)
    reactor.run()


if __name__ == "__main__":
    main()
