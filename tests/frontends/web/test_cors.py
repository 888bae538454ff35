"""What pages of other sites may read: every answer of what is for programs, errors of each kind included."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
import trio

from fingertrio.backend import BackendError
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import serving
from tests.frontends.web.programs import everything

_STATUS = "/api/users/ada/status"
_WEBFINGER = "/.well-known/webfinger"

# An address, how it is asked, and the status of the answer.
ERRORS: list[tuple[str, str, dict[str, Any], int]] = [
    ("/api/statuses?limit=x", "GET", {}, 400),
    ("/api/nothing", "GET", {}, 404),
    ("/api/users/nobody", "GET", {}, 404),
    ("/api/whoami", "GET", {}, 401),
    (_STATUS, "PUT", {"data": b"x"}, 401),
    (_STATUS, "PUT", {"data": b"x", "proof": True, "headers": {"If-Match": '"x"'}}, 412),
    (_STATUS, "PUT", {"data": b"x" * 300_000, "proof": True}, 413),
    (_STATUS, "PUT", {"data": b"x", "proof": True, "headers": {"Content-Type": "image/png"}}, 415),
    (f"{_STATUS}?for=x", "PUT", {"data": b"x", "proof": True}, 422),
    ("/api/users", "POST", {}, 405),
    ("/api/users", "BREW", {}, 501),
    ("/api/watch", "GET", {}, 426),
    ("/ada/feed.atom?before=x", "GET", {}, 400),
    ("/ada/feed.atom", "POST", {}, 405),
    ("/nobody/feed.json", "GET", {}, 404),
    ("/nobody/twtxt.txt", "GET", {}, 404),
    ("/nobody/badge.svg", "GET", {}, 404),
    ("/nobody/badge.json", "GET", {}, 404),
    ("/-/feed.atom?before=x", "GET", {}, 400),
    (_WEBFINGER, "GET", {}, 400),
    (f"{_WEBFINGER}?resource=acct:nobody@example.org", "GET", {}, 404),
    (_WEBFINGER, "POST", {}, 405),
]
# One for each kind of thing that other sites may read.
OPEN = [
    "/api/users/ada",
    "/ada/feed.atom",
    "/-/feed.json",
    "/ada/badge.svg",
    f"{_WEBFINGER}?resource=acct:ada@example.org",
]
CLOSED = ["/", "/ada", "/feed.atom", "/ada/history", "/nobody", "/ada/nothing", "/RPC2", "/-/me"]


def is_open(headers: Any) -> bool:
    """Whether any page may read an answer with these fields, and none gets what a cookie would give."""
    assert "Access-Control-Allow-Credentials" not in headers
    return bool(headers.get("Access-Control-Allow-Origin") == "*")


@pytest.mark.parametrize(("path", "method", "options", "status"), ERRORS, ids=lambda value: str(value)[:40])
async def test_a_page_of_another_site_can_read_every_error(
    path: str, method: str, options: dict[str, Any], status: int
) -> None:
    async with everything() as site:
        headers = {"Origin": "https://other.example", **options.get("headers", {})}
        if options.get("proof"):
            headers["Authorization"] = site.admin
        client: Any = site.app.test_client()
        response = await client.open(path, method=method, headers=headers, data=options.get("data"))
        assert response.status_code == status
        assert is_open(response.headers)
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", CLOSED)
async def test_pages_for_people_are_closed_to_other_sites(path: str) -> None:
    async with everything() as site:
        response = await site.app.test_client().get(path, headers={"Origin": "https://other.example"})
        assert not is_open(response.headers)


@pytest.mark.parametrize(("failure", "status"), [(BackendError("Gone fishing"), 503), (ZeroDivisionError(), 500)])
async def test_a_failure_is_reported_to_other_sites_too(
    failure: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(FingerService, "ask_user", fail)
    async with FingerService.open(FakeBackend({})) as service:
        client = create_app(service, Observer()).test_client()
        for path in ("/api/users/ada", "/ada/feed.atom", "/ada/badge.svg", "/ada/twtxt.txt"):
            response = await client.get(path)
            assert (response.status_code, is_open(response.headers)) == (status, True), path
            assert ("Retry-After" in response.headers) == (status == 503)
        assert not is_open((await client.get("/ada")).headers)


def fields(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.title(): value for name, _, value in (line.partition(": ") for line in lines)}


async def test_too_many_requests_are_reported_to_other_sites_too() -> None:
    async with serving(rate=RateLimiter(rate=0.01, burst=1)) as site:
        await site.get("/")
        for path in OPEN + CLOSED:
            answer = await site.get(path)
            assert answer.startswith(b"HTTP/1.1 429 "), path
            assert is_open(fields(answer)) == (path in OPEN), path
            assert int(fields(answer)["Retry-After"]) > 1
            assert fields(answer).get("Vary") == (None if path.startswith("/api/") else "Accept"), path


async def test_too_many_requests_at_once_are_reported_to_other_sites_too() -> None:
    """Behind a proxy: the one request that an address may have in progress has no answer yet."""
    asked = trio.Event()

    class Waiting(FakeBackend):
        async def get_user(self, user: str) -> Any:
            asked.set()
            await trio.sleep_forever()

    backend = Waiting({})
    policy = WebPolicy(trusted_proxies=[ip_network("127.0.0.1/32")])
    caps = ConnectionCaps(total=100, per_address=1)
    async with serving(backend, policy=policy, caps=caps) as site:
        async with await site.connect() as client:
            await client.send(b"GET /api/users/slow HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
            await asked.wait()
            for path in OPEN:
                head = [f"GET {path} HTTP/1.1", "Host: test", "X-Forwarded-For: 192.0.2.1", "Connection: close"]
                answer = await site.ask("\r\n".join([*head, "", ""]).encode())
                assert answer.startswith(b"HTTP/1.1 503 "), path
                assert is_open(fields(answer)), path
                assert fields(answer)["Retry-After"] == "5"
