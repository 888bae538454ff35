"""The express lane and the application give the same bytes, and do the same about it. Only Date may differ."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fingertrio.accounts.writer import unproved
from fingertrio.backend import BackendError, UserInfo
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.frontends.web.ledger import WebLedger
from fingertrio.frontends.web.webfinger import WebFingerPolicy
from fingertrio.http.connection import HttpConnection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.testing import FakeBackend
from fingertrio.testing.hostile_http import OPENINGS
from tests.frontends.web.http_table import SAMPLES
from tests.frontends.web.kit import USERS, Client, Site, serving
from tests.frontends.web.people import MINUTE, People, Person
from tests.frontends.web.programs import ADA, SITE
from tests.helpers import no_accounts


def get(path: str = "/moshez", *lines: str, method: str = "GET", close: bool = False) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: test", *lines, *(["Connection: close"] if close else [])]
    return "\r\n".join([*head, "", ""]).encode()


def call(method: str = "getUser", *params: str, lines: tuple[str, ...] = ("Content-Type: text/xml",)) -> bytes:
    values = "".join(f"<param><value>{param}</value></param>" for param in params)
    body = f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>".encode()
    head = ["POST /RPC2 HTTP/1.1", "Host: test", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


LAST = get("/api/users/shawn", close=True)

# Each is sent on a connection of its own, with LAST behind it.
SCRIPTS: dict[str, bytes] = {
    "page": get(),
    "HEAD of a page": get(method="HEAD"),
    "JSON": get("/api/users/moshez"),
    "a query": get("/api/users/moshez?x=1"),
    "the list as JSON": get("/api/users"),
    "the list as a page": get("/"),
    "style sheet": get("/-/style.css"),
    "unknown user": get("/nobody"),
    "percent-encoded": get("/%6doshez"),
    "not a path of ours": get("/moshez/x"),
    "another host": get().replace(b": test", b": other.example"),
    "the wrong entity-tag": get("/api/users/moshez", 'If-None-Match: "x"'),
    "any entity-tag": get("/api/users/moshez", "If-None-Match: *"),
    "a date": get("/api/users/moshez", "If-Modified-Since: Sun, 29 Nov 2026 00:00:00 GMT"),
    "a range": get("/api/users/moshez", "Range: bytes=0-3"),
    "a cookie": get("/moshez", "Cookie: a=b"),
    "a token": get("/moshez", "Authorization: Bearer x"),
    "keep-alive": get("/moshez", "Connection: keep-alive"),
    "HTTP/1.0": b"GET /moshez HTTP/1.0\r\n\r\n",
    "curl": get("/moshez", "User-Agent: curl/8.5.0", "Accept: */*"),
    "a browser": get("/moshez", "User-Agent: Mozilla/5.0", "Accept: text/html,*/*;q=0.8"),
    "another that accepts all": get("/moshez", "User-Agent: Feeds/1.0", "Accept: */*"),
    "text by name": get("/moshez", "Accept: text/plain"),
    "XML-RPC": call("getUser", "moshez"),
    "XML-RPC, unknown user": call("getUser", "nobody"),
    "XML-RPC, list": call("getUsers"),
    "XML-RPC, no such method": call("getNothing"),
    "XML-RPC without a type": call("getUser", "moshez", lines=()),
    "XML-RPC as a form": call("getUser", "moshez", lines=("Content-Type: text/plain",)),
    "XML-RPC in Latin-1": call("getUser", "moshez", lines=("Content-Type: text/xml; charset=latin-1",)),
    "XML-RPC that is none": call("getUser", "moshez").replace(b"methodCall>", b"methodCull>"),
    "XML-RPC that is expected": call("getUser", "moshez", lines=("Content-Type: text/xml", "Expect: 100-continue")),
    "three at once": get() + call("getUser", "moshez") + get("/api/users/moshez"),
    "the same three times": get() * 3,
    "known, unusual, known": get() + get("/moshez", "Cookie: a=b") + get(),
    "known, unknown, known": get() + get("/shawn?y=2") + get(),
    **{f"hostile: {name}": opening for name, opening in OPENINGS.items()},
    **{f"known, then hostile: {name}": get() + opening for name, opening in OPENINGS.items()},
}


def masked(answer: bytes) -> bytes:
    return re.sub(rb"\r\ndate: [^\r]*", b"\r\ndate: X", answer, flags=re.IGNORECASE)


async def ask(site: Site, *scripts: bytes) -> list[bytes]:
    """All that comes back for each script, until the server closes."""
    return await ask_in_parts(site, [(script,) for script in scripts])


async def ask_in_parts(site: Site, scripts: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The same for many connections at once; the server gets each part of a script by itself."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await site.connect()) for _ in scripts]
        for parts in zip(*scripts, strict=True):
            await trio.testing.wait_all_tasks_blocked(0.001)
            for client, part in zip(clients, parts, strict=True):
                with suppress(trio.BrokenResourceError):  # the server has refused the first part
                    await client.send(part)
        await trio.testing.wait_all_tasks_blocked(0.003)  # before the end of input, which changes what can be kept
        return [await _rest(client) for client in clients]


async def _rest(client: Client) -> bytes:
    assert isinstance(client.stream, trio.SocketStream)
    with trio.fail_after(10):
        try:
            await client.stream.send_eof()
            return masked(await client.rest())
        except (trio.BrokenResourceError, OSError):
            return masked(client.received) + b"(reset)"


@dataclass
class Both:
    """The same door twice: with the lane and without it. `repeated` counts what came from the lane."""

    fast: Site
    slow: Site
    repeated: list[str] = field(default_factory=list)

    async def compare(self, scripts: Sequence[bytes]) -> list[bytes]:
        """Require that both give the same bytes: the lane for the first time, and when it may have the answer."""
        for _ in range(2):  # again, if a minute turned: pages show it
            expected = await ask(self.slow, *scripts)
            found = [await ask(self.fast, *scripts) for _ in range(2)]
            different = [
                script for script, *answers in zip(scripts, expected, *found, strict=True) if len(set(answers)) > 1
            ]
            if not different:
                break
        assert different == []
        return expected


@asynccontextmanager
async def both(**options: Any) -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        options = {"caps": ConnectionCaps(total=1000, per_address=1000), **options}
        fast = await stack.enter_async_context(serving(**options))
        slow = await stack.enter_async_context(serving(**options, express=False))
        pair = Both(fast, slow)
        lane = fast.door._lane
        assert lane is not None
        assert isinstance(lane.ledger, WebLedger)
        replayed = lane.ledger.replayed

        def note(sender: Any, note: Any, seconds: float) -> None:
            pair.repeated.append(note.asked)
            replayed(sender, note, seconds)

        lane.ledger.replayed = note  # type: ignore[method-assign]
        yield pair


async def test_both_ways_give_the_same_bytes() -> None:
    async with both() as pair:
        await pair.compare([script + LAST for script in SCRIPTS.values()])
        assert {
            "GET /moshez", "HEAD /moshez", "GET /api/users/moshez", "GET /api/users", "GET /", "GET /-/style.css",
            "getUser moshez", "getUsers",
        } <= set(pair.repeated)  # fmt: skip
        assert "http_connection_failed" not in pair.fast.log.getvalue()
        assert '"level": "error"' not in pair.fast.log.getvalue()


@pytest.mark.parametrize(
    "script",
    [get(), call("getUser", "moshez"), get("/-/icon.svg", 'If-None-Match: "x"') + get("/nobody")],
    ids=["page", "XML-RPC", "two"],
)
async def test_a_request_may_come_in_two_parts_at_any_byte(script: bytes) -> None:
    async with both() as pair:
        [expected] = await pair.compare([script])
        places = range(1, len(script))
        found = await ask_in_parts(pair.fast, [(script[:place], script[place:]) for place in places])
        assert [place for place, answer in zip(places, found, strict=True) if answer != expected] == []


_LINES = st.lists(
    st.sampled_from(
        [
            "Accept: */*", "accept: text/html", "Accept-Encoding: gzip", "Connection: close", "Connection: keep-alive",
            'If-None-Match: "x"', "If-None-Match: x", "Cookie: a=b", "Content-Length: 0", "Range: bytes=1-2",
            "X-Forwarded-For: 192.0.2.1", "User-Agent: curl/8", "Expect: 100-continue", "X: y", " folded",
            "Transfer-Encoding: chunked", "Host: b", "Accept-Language: de", "Upgrade: h2c",
        ]
    ),
    max_size=3,
)  # fmt: skip
_TARGETS = st.sampled_from(["/", "/moshez", "/shawn", "/api/users", "/api/users/moshez", "/-/style.css", "/x?", "/#"])
_GETS = st.builds(
    lambda path, lines, method: get(path, *lines, method=method), _TARGETS, _LINES, st.sampled_from(["GET", "HEAD"])
)
_CALLS = st.builds(
    lambda name, lines: call("getUser", name, lines=tuple(lines)), st.sampled_from(["moshez", "shawn", "x"]), _LINES
)


@settings(max_examples=4, deadline=None)
@given(st.lists(st.lists(_GETS | _CALLS, min_size=1, max_size=4).map(b"".join), min_size=15, max_size=15))
def test_requests_of_all_kinds_together_give_the_same_bytes(scripts: list[bytes]) -> None:
    async def main() -> None:
        async with both() as pair:
            await pair.compare(scripts)

    trio.run(main)


PROXY = WebPolicy(trusted_proxies=[ip_network("127.0.0.1/32")])


async def lines(site: Site) -> list[str]:
    """The log of queries in any order, without times."""
    await trio.testing.wait_all_tasks_blocked(0.003)  # the application logs when it has answered
    found = [json.loads(line) for line in site.log.getvalue().splitlines()]
    return sorted(
        str({key: value for key, value in each.items() if key not in {"ms", "timestamp"}})
        for each in found
        if each["event"] == "query"
    )


@pytest.mark.parametrize("policy", [None, PROXY], ids=["directly", "behind a proxy"])
async def test_both_ways_log_and_count_the_same(policy: WebPolicy | None) -> None:
    """Also where headers name a client: a proxy's are believed, those of others are not."""
    script = [
        get(),
        get("/api/users/moshez", method="HEAD"),
        get("/api/users"),
        get("/", "X-Forwarded-For: 192.0.2.1"),
        get("/moshez", "X-Forwarded-For: 192.0.2.1, 198.51.100.7"),
        get("/moshez", "X-Forwarded-For: junk", "X-Forwarded-Proto: https"),
        get("/moshez", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"),
        get("/-/style.css"),
        get("/nobody"),
        call("getUser", "moshez"),
        call("getUsers"),
    ]
    async with both(policy=policy) as pair:
        for site in (pair.fast, pair.slow):
            async with await site.connect() as client:
                for request in script * 3:
                    await client.send(request)
                    await whole(client, request)
        assert await lines(pair.fast) == await lines(pair.slow)
        assert len(pair.repeated) > 2 * (len(script) - 3)
        fast, slow = pair.fast.observer.metrics, pair.slow.observer.metrics
        for name in ("queries", "bytes_sent", "connections", "refusals", "cache_hits", "cache_misses"):
            assert getattr(fast, name) == getattr(slow, name), name
        assert sum(fast.query_seconds["http"].counts) == sum(slow.query_seconds["http"].counts)


async def test_both_ways_refuse_what_comes_too_often() -> None:
    def options() -> dict[str, Any]:
        return {"rate": RateLimiter(rate=0.001, burst=4), "policy": PROXY}

    script = get("/api/users/moshez", "X-Forwarded-For: 192.0.2.1") * 6 + get("/api/users/moshez") * 6
    async with serving(**options()) as fast, serving(**options(), express=False) as slow:
        [expected] = await ask(slow, script)
        assert await ask(fast, script) == [expected]
        assert expected.count(b"HTTP/1.1 429 ") == 4
        assert fast.observer.metrics.refusals == slow.observer.metrics.refusals == {("http", "rate"): 4}
        assert await lines(fast) == await lines(slow)


async def test_a_client_behind_a_proxy_that_has_too_many_requests_in_progress_is_refused() -> None:
    """A request that the lane could answer counts like the others."""
    backend = FakeBackend(USERS)
    limits = ConnectionCaps(total=9, per_address=1)
    async with serving(backend, policy=PROXY, caps=limits) as site:
        known = get("/api/users/moshez", "X-Forwarded-For: 192.0.2.1")
        await ask(site, known * 2)
        backend.hold()
        async with await site.connect() as client:
            await client.send(get("/api/users/shawn", "X-Forwarded-For: 192.0.2.1"))
            await trio.testing.wait_all_tasks_blocked(0.01)
            [refused] = await ask(site, known)
            assert refused.startswith(b"HTTP/1.1 503 ")
            backend.release()
            await client.response()
        [answered] = await ask(site, known)
        assert answered.startswith(b"HTTP/1.1 200 ")


async def test_what_a_proxy_says_of_one_client_is_not_shown_to_another() -> None:
    """Scheme and host of the proxy are a part of what a response is kept under."""
    async with both(policy=PROXY) as pair:
        await pair.compare(
            [
                get("/", f"X-Forwarded-Proto: {scheme}", f"X-Forwarded-Host: {host}")
                for scheme in ("http", "https")
                for host in "ab"
            ]
        )
        lane = pair.fast.door._lane
        assert lane is not None
        assert len(lane) == 4


ASKED = {
    "page": get(),
    "JSON": get("/api/users/moshez"),
    "HEAD": get("/api/users/moshez", method="HEAD"),
    "XML-RPC": call("getUser", "moshez"),
    "list": get("/api/users"),
    "list of names": call("getUsers"),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_a_change_is_in_the_very_next_answer(asked: str) -> None:
    """The client asks before and after on one connection; the setter has returned in between."""
    writer, request = unproved("test"), ASKED[asked]
    past_the_lane = request.replace(b"Host: test", b"Host: test\r\nCookie: a=b")
    async with both() as pair, await pair.fast.connect() as client:
        for turn in range(3):
            before = []
            for _ in range(3):
                await client.send(request)
                before.append(masked(await whole(client, request)))
            assert len(set(before[1:])) == 1
            await pair.fast.service.set_user("moshez", f"turn {turn}", writer=writer)
            await pair.fast.service.set_user(f"new{turn}", "here", writer=writer)
            await client.send(request)
            after = masked(await whole(client, request))
            assert after != before[-1]
            assert [after] == await ask(pair.fast, past_the_lane)
        assert pair.repeated


async def whole(client: Client, request: bytes) -> bytes:
    """One response; to HEAD it has no body."""
    return await (client.until(b"\r\n\r\n") if request.startswith(b"HEAD") else client.response())


class Forgetful(FakeBackend):
    """Cannot read the history at first."""

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        self.calls["get_history"] += 1
        if self.calls["get_history"] == 1:
            raise BackendError("not now")
        since = datetime(2026, 1, 1, tzinfo=UTC)
        return [UserInfo(user, f"status {number}", since=since - timedelta(days=number)) for number in range(3)]


async def test_a_page_without_a_history_that_could_not_be_read_is_not_repeated() -> None:
    async with serving(Forgetful(USERS)) as site, await site.connect() as client:
        await client.send(get())
        assert b"status 1" not in await client.response()
        await client.send(get())
        assert b"status 1" in await client.response()


class Ending(FakeBackend):
    """Has a status that ends 60 s after it was first asked for."""

    async def get_user(self, user: str) -> UserInfo | None:
        self.calls["get_user"] += 1
        if self.calls["get_user"] > 1:
            return UserInfo(user, "over")
        return UserInfo(user, "short", until=datetime.now(UTC) + timedelta(seconds=60))


async def test_a_status_ends_in_the_lane_to_the_second(patient_clock: MockClock) -> None:
    async with serving(Ending(USERS), keep_alive=99) as site, await site.connect() as client:
        began = trio.current_time()
        for seconds, status in [(0, b'"short"'), (1, b'"short"'), (59.5, b'"short"'), (60.1, b'"over"')]:
            await trio.sleep_until(began + seconds)
            await client.send(ASKED["JSON"])
            assert status in await client.response()


class Ageing(FakeBackend):
    since: datetime | None = None

    def stale_since(self) -> datetime | None:
        return self.since


async def test_what_becomes_out_of_date_says_so_in_the_next_answer(patient_clock: MockClock) -> None:
    backend = Ageing(USERS)
    async with serving(backend) as site, await site.connect() as client:
        for turn in range(3):
            for _ in range(2):
                await client.send(ASKED["JSON"])
                answer = await client.response()
                assert (b'"stale_since": "2026' in answer) == bool(turn % 2)
            backend.since = None if turn % 2 else datetime(2026, 1, 1, tzinfo=UTC)
            await trio.sleep(1.1)  # the service looks once a second


@pytest.mark.parametrize("path", ["/api/users/moshez", "/moshez", "/-/style.css", "/api/users"])
async def test_revalidation_is_answered_from_the_lane(path: str) -> None:
    async with both() as pair:
        [whole_answer] = await ask(pair.slow, get(path))
        tag = whole_answer.partition(b"etag: ")[2].partition(b"\r\n")[0].decode()
        conditions = (tag, f"W/{tag}", '"other"', f'"a", {tag}')
        answers = await pair.compare([get(path, f"If-None-Match: {condition}") for condition in conditions])
        assert [b"HTTP/1.1 304 " in answer for answer in answers] == [True, True, False, True]
        assert len(pair.repeated) == 3


@pytest.mark.parametrize(
    "script", [get("/api/users/moshez", close=True), call("getUser", "moshez", lines=("Connection: close",))]
)
async def test_what_follows_a_last_request_is_judged_in_one_place(script: bytes) -> None:
    async with both() as pair:
        await pair.compare([script])  # the lane has it from now on
        await pair.compare([script + get(), script + b"\x00junk\r\n\r\n"])
        assert len(pair.repeated) == 1


async def test_conditions_that_no_client_can_have_are_not_kept() -> None:
    async with serving() as site:
        lane = site.door._lane
        assert lane is not None
        await ask(
            site, get("/api/users/moshez"), *(get("/api/users/moshez", f'If-None-Match: "{n}"') for n in range(30))
        )
        assert len(lane) == 1


async def test_a_hot_request_and_an_idle_connection_have_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    run = HttpConnection.run

    async def counted(connection: HttpConnection) -> None:
        begun.append(connection)
        await run(connection)

    monkeypatch.setattr(HttpConnection, "run", counted)
    async with serving() as site, AsyncExitStack() as stack:
        await ask(site, get())
        for _ in range(5):
            client = await stack.enter_async_context(await site.connect())
            for _ in range(3):
                await client.send(get())
                await client.response()
        assert len(begun) == 1


async def test_a_connection_goes_between_the_lane_and_its_task(patient_clock: MockClock) -> None:
    """At rest for a second it needs no task; for what is not in memory it gets one again."""
    async with serving() as site, await site.connect() as client:
        for path in ("/moshez", "/moshez", "/shawn", "/moshez", "/nobody", "/shawn"):
            await client.send(get(path))
            assert b"HTTP/1.1 " in await client.response()
            await trio.sleep(2)
        assert site.observer.metrics.connections["http"] == 1


async def test_requests_sent_at_once_take_turns_with_other_connections() -> None:
    async with serving() as site, await site.connect() as greedy, await site.connect() as modest:
        for client in (greedy, modest):
            await client.send(get("/api/users/moshez"))
            await client.response()
        await greedy.send(get("/api/users/moshez") * 300)
        await modest.send(get("/api/users/moshez"))
        await modest.response()
        answered = sum("GET /api/users/moshez" in line for line in site.log.getvalue().splitlines())
        assert answered < 100
        for _ in range(300):
            await greedy.response()


# Routes whose GET is not answered from the lane, each with its reason.
NOT_REPEATED = {
    "/api/whoami": "it depends on the token of the request",
    "/api/events": "a stream has no end",
    "/api/watch": "a handshake makes a connection",
    "/api/users/U/status": "it has no GET, and a write must reach the service",
    "/-/instance": "it shows the client that asks, and must come from the process that answers now",
}

# A client can make up any number of these, so they are made anew: they would push out what others ask for.
MADE_UP = (
    "/?q=tea",
    "/?at=%3E0.ada",
    "/ada?x",
    "/ada/history?before=20261129T120000Z",
    "/api/statuses?limit=5",
    "/api/users/ada/history?limit=5",
    "/ada/feed.atom?before=20261129T120000Z",
    "/-/feed.json?before=0.bob",
    "/.well-known/webfinger?resource=acct:ada@example.org&rel=a",
    "/.well-known/webfinger?resource=acct:ada@example.org&x=a",
    "/nobody",
    "/api/users/nobody",
    "/nobody/feed.atom",
    "/nobody/badge.svg",
)

ALSO = ("/.well-known/webfinger?resource=acct:ada@example.org&rel=http://openid.net/specs/connect/1.0/issuer",)


@asynccontextmanager
async def noted() -> AsyncIterator[tuple[Site, list[str], str]]:
    """A door with every route; what came from its lane; the place of a status."""
    backend, repeated = People(), list[str]()
    await backend.enter(ADA, Person("bob", "Out", MINUTE))
    info = await backend.get_user("ada")
    assert info is not None
    assert info.since is not None
    policy = WebPolicy(site=SITE, webfinger=WebFingerPolicy(domains=("example.org",)))
    async with serving(backend, policy=policy, accounts=no_accounts()) as site:
        lane = site.door._lane
        assert lane is not None
        lane.ledger.replayed = lambda sender, note, seconds: repeated.append(note.asked)  # type: ignore[method-assign]
        yield site, repeated, f"{info.since:%Y%m%dT%H%M%S.%fZ}"


def samples(place: str) -> dict[str, tuple[str, bytes]]:
    """A request for each route that the lane should answer: what its log line has, and its bytes."""
    found = {}
    for sample in SAMPLES:
        if sample.route not in NOT_REPEATED:
            path = sample.path.format(place=place)
            found[sample.route] = ("getUsers", call("getUsers")) if path == "/RPC2" else (f"GET {path}", get(path))
    return found | {path: (f"GET {path}", get(path)) for path in ALSO}


async def test_every_route_is_answered_from_the_lane_when_it_is_asked_again() -> None:
    async with noted() as (site, repeated, place), await site.connect() as client:
        await client.send(get("/"))  # begins to load the index of the stream, from which all further pages come
        await client.response()
        await trio.testing.wait_all_tasks_blocked()
        for route, (asked, request) in samples(place).items():
            answers = []
            for _ in range(2):
                await client.send(request)
                answers.append(masked(await client.response()))
                await trio.testing.wait_all_tasks_blocked()  # the answer is kept after it was sent
            assert (answers[0], repeated[-1:]) == (answers[1], [asked]), route
            repeated.clear()
            if request.startswith(b"GET") and b"\r\netag: " in answers[0]:
                tag = answers[0].partition(b"\r\netag: ")[2].partition(b"\r\n")[0].decode()
                for _ in range(2):
                    await client.send(get(asked.removeprefix("GET "), f"If-None-Match: {tag}"))
                    assert b" 304 " in await client.until(b"\r\n\r\n")
                    await trio.testing.wait_all_tasks_blocked()
                assert repeated == [asked], f"{route}: 304"
                repeated.clear()


async def test_what_clients_can_make_up_is_not_kept() -> None:
    async with noted() as (site, repeated, _), await site.connect() as client:
        for path in MADE_UP:
            for _ in range(2):
                await client.send(get(path))
                await client.response()
        await trio.testing.wait_all_tasks_blocked()
        assert repeated == []
