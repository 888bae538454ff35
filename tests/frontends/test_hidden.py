"""A hidden user is like one who does not exist: the same bytes at every address, after the same time.

Two worlds differ in one thing: in the first, ada exists and is hidden; in the second, there is no ada. Each request is
sent to both, over real sockets. Every route of the web front end has its requests here, which a test checks.
"""

from __future__ import annotations

import os
import re
import runpy
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import Backend, Recency, UserInfo
from fingertrio.backends.plan import PlanBackend, PlanOptions
from fingertrio.frontend import Door
from fingertrio.frontends.finger.answers import FingerPolicy
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.webfinger import WebFingerPolicy
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from tests.backends.plan.test_backend import ANY_USER, Household
from tests.frontends.finger.test_frontend import ask, open_door
from tests.frontends.web.kit import Site as WebSite
from tests.frontends.web.kit import serving
from tests.frontends.web.people import People
from tests.frontends.web.programs import everything
from tests.helpers import no_accounts

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
AT = "20261129T120000.000000Z"
DETAILS = {
    "fediverse": "@ada@social.example",
    "webfinger": "me https://social.example/@ada",
    "home": "https://a.example",
}
GOPHER = Path(__file__).parents[2] / "examples/gopher/src/gopher.py"

POLICY = WebPolicy(
    site=Site(url="https://finger.example.org"),
    webfinger=WebFingerPolicy(domains=("example.org",), issuer=None),
)
ISSUER = WebPolicy(
    site=Site(url="https://finger.example.org"),
    webfinger=WebFingerPolicy(domains=("example.org",), issuer="https://login.example.org"),
)


class Hiding(People):
    """Keeps a status and a history of users whom it does not show."""

    def __init__(self, *hidden: str) -> None:
        super().__init__()
        self.hidden = set(hidden)
        self.moment = NOON

    async def get_user(self, user: str) -> UserInfo | None:
        return None if user in self.hidden else await super().get_user(user)

    def get_user_now(self, user: str) -> UserInfo | None:
        return None if user in self.hidden else super().get_user_now(user)

    async def get_users(self) -> Sequence[str]:
        return [user for user in await super().get_users() if user not in self.hidden]

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return [info for info in await super().get_recent(limit, before) if info.user not in self.hidden]


@asynccontextmanager
async def kept_by_a_store(*, exists: bool) -> AsyncIterator[Backend]:
    """A backend with a history and everything else that a hidden user could be found by."""
    backend = Hiding("ada")
    await backend.set_user("bob", "Out")
    if exists:
        await backend.set_user("ada", "Weaving")
        await backend.set_details("ada", "Ada Lovelace", DETAILS)
    yield backend


@asynccontextmanager
async def in_a_home(*, exists: bool) -> AsyncIterator[Backend]:
    """The plan backend, and a `.nofinger`."""
    with household() as accounts:
        (accounts.add("bob", gecos="Bob") / ".plan").write_text("Out\n")
        os.utime(accounts.root / "bob/.plan", (NOON.timestamp(), NOON.timestamp()))
        if exists:
            home = accounts.add("ada", gecos="Ada Lovelace")
            (home / ".plan").write_text("Weaving\n")
            (home / ".nofinger").touch()
        yield accounts.backend()


@contextmanager
def household() -> Iterator[Household]:
    with tempfile.TemporaryDirectory(prefix="fingertrio-") as root:
        yield Household(Path(root))


WORLDS: dict[str, Callable[..., Any]] = {"store": kept_by_a_store, "home": in_a_home}


def get(path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: finger.example.org", "Connection: close", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


def call(method: str, *parameters: str) -> bytes:
    values = "".join(f"<param><value>{value}</value></param>" for value in parameters)
    body = f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>".encode()
    return get("/RPC2", "Content-Type: text/xml", method="POST", body=body)


_FORM = "Content-Type: application/x-www-form-urlencoded"

# By the route that it is for. Addresses of the site are here, too: a hidden user is in no list.
REQUESTS: dict[str, Sequence[bytes]] = {
    "/": [get("/"), get("/?by=name"), get("/?q=ada"), get("/?q=Weaving"), get("/?by=name&q=ada"), get("/?at=%3C0.ada")],
    "/<user>": [
        get("/ada"),
        get("/ada", method="HEAD"),
        get("/ada", method="OPTIONS"),
        get("/ada", "Accept: text/plain"),
        get("/ada", "User-Agent: curl/8.5.0", "Accept: */*"),
        get("/ada", 'If-None-Match: "x"'),
        get("/ad%61"),
        get("/Ada"),
        get("/adaa"),  # names that the reader may have meant
    ],
    "/<user>/history": [get("/ada/history"), get(f"/ada/history?before={AT}")],
    "/<user>/at/<moment>": [get(f"/ada/at/{AT}"), get("/ada/at/x")],
    "/<user>/feed.atom": [get("/ada/feed.atom"), get(f"/ada/feed.atom?before={AT}"), get("/ada/feed.atom?before=x")],
    "/<user>/feed.json": [get("/ada/feed.json")],
    "/<user>/twtxt.txt": [get("/ada/twtxt.txt")],
    "/<user>/badge.svg": [get("/ada/badge.svg")],
    "/<user>/badge.json": [get("/ada/badge.json")],
    "/-/feed.atom": [get("/-/feed.atom")],
    "/-/feed.json": [get("/-/feed.json")],
    "/api/statuses": [get("/api/statuses"), get("/api/statuses?before=0.ada")],
    "/api/users": [get("/api/users")],
    "/api/users/<user>": [get("/api/users/ada"), get("/api/users/ada", "If-None-Match: *")],
    "/api/users/<user>/history": [get("/api/users/ada/history"), get("/api/users/ada/history?before=x")],
    "/api/users/<user>/status": [
        get("/api/users/ada/status"),
        get("/api/users/ada/status", _FORM, method="PUT", body=b"x"),
        get("/api/users/ada/status", method="DELETE"),
        get("/api/users/ada/status", _FORM, "Authorization: Bearer {bob}", method="PUT", body=b"x"),
        get("/api/users/ada/status", _FORM, "Authorization: Bearer {bob}", "If-Match: *", method="PUT", body=b"x"),
        get("/api/users/ada/status", "Authorization: Bearer {bob}", method="DELETE"),
    ],
    "/api/events": [get("/api/events?user=ada&snapshot=1"), get("/api/events?snapshot=1")],
    "/.well-known/webfinger": [
        get("/.well-known/webfinger?resource=acct:ada@example.org"),
        get("/.well-known/webfinger?resource=https://finger.example.org/ada"),
        get("/.well-known/webfinger?resource=acct:ada@example.org&rel=http://openid.net/specs/connect/1.0/issuer"),
    ],
    "/RPC2": [call("getUser", "ada"), call("getUsers")],
}

# Their answers depend on no user.
OF_THE_SITE = {
    "/-/<name>",
    "/-/instance",
    "/-/manifest.json",
    "/robots.txt",
    "/favicon.ico",
    "/api/openapi.json",
    "/api/docs",
    "/api/whoami",
    "/api/watch",  # the messages are those of /api/events
}

FINGER = [b"ada\r\n", b"/W ada\r\n", b"ADA\r\n", b"\r\n", b"/W\r\n", b"adaa\r\n", b"Love\r\n", b"a\r\n"]


async def test_every_route_is_asked_for_a_hidden_user() -> None:
    async with everything() as site:
        assert {rule.rule for rule in site.app.url_map.iter_rules()} == set(REQUESTS) | OF_THE_SITE


@cache
def answers(world: str, exists: bool) -> Mapping[bytes, bytes]:
    """What every request gets."""

    async def ask_all() -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        accounts = no_accounts()
        token, _ = await accounts.tokens.add("bob")
        async with WORLDS[world](exists=exists) as backend:
            for policy in (POLICY, ISSUER):
                async with serving(backend, policy=policy, accounts=accounts) as site:
                    for route, requests in REQUESTS.items():
                        if policy is ISSUER and "webfinger" not in route:
                            continue
                        for request in requests:
                            sent = request.replace(b"{bob}", token.encode())
                            key = request + (b"with an issuer" if policy is ISSUER else b"")
                            # Twice: the second answer may come from the express lane.
                            answer = await (stream(site, sent) if route == "/api/events" else twice(site, sent))
                            found[key] = steady(answer)
            for wanted in FINGER:
                async with open_door(FingerPolicy(full=True, ambiguous=True), backend=backend) as place:
                    found[wanted] = await ask(place, wanted)
            found[b"gopher"] = await gopher(backend, b"ada\r\n") + await gopher(backend, b"\r\n")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pages, "minute", lambda _self: NOON)
        return trio.run(ask_all)


async def twice(site: WebSite, request: bytes) -> bytes:
    return await site.ask(request) + await site.ask(request)


async def stream(site: WebSite, request: bytes) -> bytes:
    """The first messages of an event stream, up to the end of the snapshot; or the whole error."""
    async with await site.connect() as client:
        await client.send(request)
        head = await client.until(b"\r\n\r\n")
        return head + (await client.until(b'"type":"end"') if b" 200 " in head else await client.rest())


def steady(answer: bytes) -> bytes:
    """Without what differs from one run of the server to the next: dates, and the name of the run in ids."""
    answer = re.sub(rb"(?im)^(date|last-modified): [^\r]*", rb"\1:", answer)
    return re.sub(rb'\b[0-9a-f]{12}\b(?=:|")', b"RUN", answer)


async def gopher(backend: Backend, line: bytes) -> bytes:
    """The example in examples/gopher."""
    module = runpy.run_path(str(GOPHER))
    sockets = bind(Address("127.0.0.1", 0))
    try:
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            door = Door(
                name="gopher",
                service=service,
                accounts=no_accounts(),
                observer=Observer(),
                listeners=sockets,
                caps=ConnectionCaps(total=10, per_address=10),
                queries=RateLimiter(rate=10, burst=10),
                writes=RateLimiter(rate=10, burst=10),
            )
            await nursery.start(module["open_gopher"](module["GopherSection"](listen=()), door).serve, trio.Event())
            answer = await ask(sockets[0].getsockname()[:2], line)
            nursery.cancel_scope.cancel()
        return answer
    finally:
        close_all(sockets)


ALL = [request for requests in REQUESTS.values() for request in requests]
ALL += [request + b"with an issuer" for request in REQUESTS["/.well-known/webfinger"]] + [*FINGER, b"gopher"]


def title(request: bytes) -> str:
    first, _, rest = request.decode().partition("\r\n")
    return first.removesuffix(" HTTP/1.1") + (" issuer" if rest.endswith("issuer") else "")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("request_", ALL, ids=map(title, ALL))
def test_a_hidden_user_gets_the_bytes_of_one_who_does_not_exist(world: str, request_: bytes):
    hidden, missing = answers(world, True)[request_], answers(world, False)[request_]
    assert hidden == missing
    assert hidden
    assert b"Lovelace" not in hidden
    assert b"Weaving" in request_ or b"Weaving" not in hidden


def test_bob_who_is_not_hidden_is_everywhere():
    """The requests would find ada, too: they find bob, and another name finds what is said of ada."""
    for world in WORLDS:
        found = answers(world, True)
        for request in (get("/"), get("/api/users"), call("getUsers"), b"\r\n", b"gopher"):
            assert b"bob" in found[request]


async def test_a_nofinger_counts_within_a_second_at_every_address(patient_clock: MockClock) -> None:
    """Also for answers that are kept: by the service for a second, and by the lane for as long."""
    with household() as accounts:
        home = accounts.add("ada", gecos="Ada Lovelace")
        (home / ".plan").write_text("Weaving\n")
        async with serving(accounts.backend(), policy=POLICY) as site:
            addresses = [
                *("/ada", "/api/users/ada", "/ada/feed.atom", "/ada/feed.json", "/ada/twtxt.txt"),
                *("/ada/badge.svg", "/ada/badge.json", "/.well-known/webfinger?resource=acct:ada@example.org"),
            ]
            for path in addresses:
                for _ in range(2):
                    assert b" 200 OK" in await site.ask(get(path)), path
            lists = [get("/"), get("/api/users"), get("/api/statuses"), call("getUsers"), call("getUser", "ada")]
            for request in lists:
                assert b"Weaving" in (answer := await site.ask(request)) or b"ada" in answer
            (home / ".nofinger").touch()
            await trio.sleep(1.1)
            for path in addresses:
                assert b" 404 " in await site.ask(get(path)), path
            for request in lists:
                answer = await site.ask(request)
                assert b"Weaving" not in answer
                assert b"ada" not in answer.replace(b"metadata", b""), request


class TestTime:
    """Over HTTP, a hidden user is not answered sooner than a missing one. With the real clock; samples alternate.

    The password database finds hidden users sooner than it misses the others, and the answers wait for a fixed time
    (decision 0010). Measured is the probability that a random answer for a missing user takes longer than a random one
    for a hidden user: 0.5 without a difference, with a standard deviation of 0.065 (Mann and Whitney, 40 samples each).
    """

    ROUTES = ("/{}", "/api/users/{}", "/.well-known/webfinger?resource=acct:{}@example.org", "/{}/badge.json")

    async def measure(self, delay: float) -> float:
        """That probability."""
        with household() as accounts:
            names = [f"q{number:03}z" for number in range(80)]  # asked once each: answers are kept
            for name in names[::2]:
                (accounts.add(name) / ".nofinger").touch()
            accounts.work = {name: 0.0005 if place % 2 == 0 else 0.008 for place, name in enumerate(names)}
            accounts.listed = []
            backend = PlanBackend(PlanOptions.model_validate({**ANY_USER, "unknown_delay": delay}), accounts)
            taken: list[list[float]] = [[], []]
            async with serving(backend, policy=POLICY) as site, await site.connect() as client:
                for place, name in enumerate(names):
                    path = self.ROUTES[place // 2 % len(self.ROUTES)].format(name)
                    began = time.perf_counter()
                    await client.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
                    assert b" 404 " in await client.response()
                    taken[place % 2].append(time.perf_counter() - began)
        pairs = [missing > hidden for hidden in taken[0] for missing in taken[1]]
        return sum(pairs) / len(pairs)

    async def test_the_time_of_an_answer_does_not_tell(self) -> None:
        assert await self.once_of_three(0.02, lambda probability: 0.2 < probability < 0.8)

    async def test_without_the_delay_it_would(self) -> None:
        """So the test above can fail."""
        assert await self.once_of_three(0.0, lambda probability: probability > 0.8)

    async def once_of_three(self, delay: float, is_so: Callable[[float], bool]) -> bool:
        """A busy machine delays answers by more than what is measured; what holds is seen when it is less busy."""
        for _ in range(3):
            if is_so(await self.measure(delay)):
                return True
        return False
