"""What a client must get through any of the proxies: the checks that each recipe with a proxy passes."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import re
import socket
import xmlrpc.client
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPMessage
from urllib.parse import urlencode

from fingertrio.testing.program import Program
from tests.conf.recipes import BURST, DOMAIN, SITE, Proxy

PATIENCE = 20.0  # seconds for one answer, on a busy machine


@dataclass(frozen=True)
class Answer:
    """A response that was read."""

    status: int
    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Behind:
    """A recipe that runs behind a proxy.

    Attributes:
        proxy: ends https.
        nodes: the programs behind it.
        token: of ada, who is an administrator.
    """

    proxy: Proxy
    nodes: tuple[Program, ...]
    token: str

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        source: str = "127.0.0.1",
        host: str = SITE,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The response, on a connection of its own. `source` is the client's address."""
        with closing(Connection(self.proxy, host, source)) as connection:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def set(self, status: str) -> None:
        answer = self.ask("/api/users/ada/status", method="PUT", body=status.encode(), headers=self.bearer)
        assert answer.status in {200, 204}, answer

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "text/plain"}

    def peers(self, path: str) -> list[str]:
        """The clients of requests for a path, as they are in the logs once each is written."""
        return [
            record["peer"]
            for node in self.nodes
            for record in node.records()
            if record.get("event") == "query" and path in record["asked"]
        ]

    def wait_for_peer(self, path: str) -> str:
        """The client of the only request for `path`, at whichever node."""
        for _ in range(2000):
            if found := self.peers(path):
                assert len(found) == 1, found
                return found[0]
            self.ask("/robots.txt")  # lines are written together, soon after the next
        raise AssertionError(f"no node logged {path}")


class Connection(http.client.HTTPSConnection):
    """https to the proxy on loopback, under the site's name and from any loopback address."""

    def __init__(self, proxy: Proxy, host: str, source: str) -> None:
        super().__init__(host, context=proxy.trusting, timeout=PATIENCE)
        self._trusting = proxy.trusting
        self._place = (("127.0.0.1", proxy.port), (source, 0))

    def connect(self) -> None:
        place, source = self._place
        plain = socket.create_connection(place, timeout=PATIENCE, source_address=source)
        self.sock = self._trusting.wrap_socket(plain, server_hostname=self.host)


def the_log_has_the_client_whatever_it_claims(site: Behind) -> None:
    forged = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example", "Forwarded": "for=203.0.113.7"}
    site.ask("/ada?client", source="127.0.0.77", headers=forged)
    assert site.wait_for_peer("/ada?client") == "127.0.0.77"


def limits_count_the_client_and_not_the_proxy(site: Behind) -> None:
    with closing(Connection(site.proxy, SITE, "127.0.0.66")) as connection:
        statuses: list[int] = []
        while 429 not in statuses:
            connection.request("GET", "/robots.txt")
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            assert len(statuses) < 2 * BURST * len(site.nodes), "no request was refused"  # each node counts by itself
    assert statuses.count(200) >= BURST
    assert site.ask("/robots.txt", source="127.0.0.67").status == 200


def links_and_cookies_are_those_of_https(site: Behind) -> None:
    page = site.ask("/ada/feed.atom").body.decode()
    assert f'href="https://{SITE}/ada' in page
    asked = site.ask("/-/sign-in")
    form = re.search(r'name="form" value="([^"]*)"', asked.body.decode())
    fields = urlencode({"form": form[1] if form else "", "token": site.token}).encode()
    cookie = (asked.headers.get("Set-Cookie") or "").partition(";")[0]
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": f"https://{SITE}",
        **({"Cookie": cookie} if cookie else {}),
    }
    answer = site.ask("/-/sign-in", method="POST", body=fields, headers=headers)
    assert answer.status == 303, answer
    cookies = " ".join(answer.headers.get_all("Set-Cookie") or [])
    assert "__Host-fingertrio=" in cookies
    assert "Secure" in cookies


def changes_pass_unbuffered_as_events(site: Behind) -> None:
    with closing(Connection(site.proxy, SITE, "127.0.0.1")) as connection:
        connection.request("GET", "/api/events?user=ada")
        events = connection.getresponse()
        assert events.getheader("Content-Type", "").startswith("text/event-stream")
        read_until(events.readline, b'"hello"')
        site.set("Seen as an event")
        read_until(events.readline, b"Seen as an event")
        events.close()


def changes_pass_unbuffered_over_a_websocket(site: Behind) -> None:
    with closing(Connection(site.proxy, SITE, "127.0.0.1")) as connection:
        connection.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sock.sendall(
            f"GET /api/watch?user=ada HTTP/1.1\r\nHost: {SITE}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Origin: https://{SITE}\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        receive = partial(connection.sock.recv, 65536)
        assert read_until(receive, b'"hello"').startswith(b"HTTP/1.1 101")
        site.set("Seen over a WebSocket")
        read_until(receive, b"Seen over a WebSocket")


def read_until(receive: Callable[[], bytes], end: bytes) -> bytes:
    received = b""
    while end not in received:
        chunk = receive()
        assert chunk, f"the connection ended after {received!r}"
        received += chunk
    return received


def compressed_answers_stay_compressed(site: Behind) -> None:
    """A list of users is long enough to be compressed with a hundred long names."""
    names = [f"somebody-with-a-name-that-is-nearly-as-long-as-a-name-can-be-{number:02}" for number in range(100)]
    for half in (names[:50], names[50:]):
        calls = [{"methodName": "setUser", "params": [name, "Here"]} for name in half]
        body = xmlrpc.client.dumps((calls,), "system.multicall").encode()
        answer = site.ask("/RPC2", method="POST", body=body, headers=site.bearer | {"Content-Type": "text/xml"})
        assert b"fault" not in answer.body, answer
    plain = site.ask("/api/users").body
    answer = site.ask("/api/users", headers={"Accept-Encoding": "gzip"})
    assert answer.headers.get("Content-Encoding") == "gzip"
    assert "accept-encoding" in answer.headers.get("Vary", "").lower()
    assert len(answer.body) < len(plain) / 4
    assert gzip.decompress(answer.body) == plain


def an_etag_is_passed_on_and_answered_with_304(site: Behind) -> None:
    answer = site.ask("/api/users/ada")
    body = json.loads(answer.body)
    assert body["user"] == "ada"
    etag = answer.headers.get("ETag")
    assert etag
    again = site.ask("/api/users/ada", headers={"If-None-Match": etag})
    assert (again.status, again.body) == (304, b"")
    assert again.headers.get("ETag") == etag


def webfinger_is_answered_at_the_own_domain(site: Behind) -> None:
    answer = site.ask(f"/.well-known/webfinger?resource=acct:ada@{DOMAIN}", host=DOMAIN)
    assert answer.headers.get("Content-Type") == "application/jrd+json"
    found = json.loads(answer.body)
    assert found["subject"] == f"acct:ada@{DOMAIN}"
    assert any(link["href"].startswith(f"https://{SITE}/ada") for link in found["links"])


def large_bodies_pass_and_those_too_large_get_fingertrios_answer(site: Behind) -> None:
    status = "x" * 16_000
    site.set(status)
    assert json.loads(site.ask("/api/users/ada").body)["status"] == status
    answer = site.ask("/RPC2", method="POST", body=b"x" * 300_000, headers={"Content-Type": "text/xml"})
    assert answer.status == 413
    site.set("Short again")


CHECKS: tuple[Callable[[Behind], None], ...] = (
    the_log_has_the_client_whatever_it_claims,
    limits_count_the_client_and_not_the_proxy,
    links_and_cookies_are_those_of_https,
    changes_pass_unbuffered_as_events,
    changes_pass_unbuffered_over_a_websocket,
    compressed_answers_stay_compressed,
    an_etag_is_passed_on_and_answered_with_304,
    webfinger_is_answered_at_the_own_domain,
    large_bodies_pass_and_those_too_large_get_fingertrios_answer,
)


def finger(place: tuple[str, int], query: str, *, source: str = "127.0.0.1") -> str:
    with socket.create_connection(place, timeout=PATIENCE, source_address=(source, 0)) as connection:
        connection.sendall(f"{query}\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read().decode()
