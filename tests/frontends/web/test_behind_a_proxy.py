"""Behind a real nginx over TCP: limits apply to the clients, and the proxy counts for the total only."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.http.tls import make_tls_context
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import USERS, Client, Site, serving
from tests.frontends.web.nginx import nginx
from tests.frontends.web.watching import WebSocketClient, opened

PROXY = (ip_network("127.0.0.1/32"),)
PER_ADDRESS = 16  # far fewer than the connections of nginx


@asynccontextmanager
async def connection(address: tuple[str, int], source: str) -> AsyncIterator[Client]:
    """A connection to nginx from another loopback address, which nginx reports as the client."""
    stream = await trio.open_tcp_stream(*address, local_address=source)
    async with Client(stream) as client:
        yield client


async def status(address: tuple[str, int], source: str, path: str = "/moshez") -> int:
    async with connection(address, source) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        return int((await client.rest()).split()[1])


async def statuses(address: tuple[str, int], sources: list[str]) -> dict[str, Counter[int]]:
    """The status codes of requests that are sent at once, one for each entry, by source."""
    found: dict[str, Counter[int]] = {source: Counter() for source in sources}

    async def ask(source: str) -> None:
        found[source][await status(address, source)] += 1

    async with trio.open_nursery() as nursery:
        for source in sources:
            nursery.start_soon(ask, source)
    return found


def caps(total: int = 2000) -> ConnectionCaps:
    return ConnectionCaps(total=total, per_address=PER_ADDRESS)


def limited_watchers(per_address: int = 64) -> WebPolicy:
    live = LivePolicy(caps=ConnectionCaps(total=2000, per_address=per_address))
    return WebPolicy(trusted_proxies=PROXY, live=live)


async def test_two_hundred_requests_at_once_are_all_answered(tmp_path: Path):
    sources = [f"127.0.0.{number % 20 + 2}" for number in range(200)]
    async with serving(caps=caps(), policy=limited_watchers()) as site, nginx(site.address, tmp_path) as address:
        found = await statuses(address, sources)
        assert sum(found.values(), Counter()) == {200: 200}
        assert site.observer.metrics.refusals == {}


async def test_a_client_with_too_many_requests_in_progress_is_refused_and_no_other_is(tmp_path: Path):
    backend = FakeBackend(USERS)
    backend.hold()
    async with serving(backend, caps=caps(), policy=limited_watchers()) as site:
        async with nginx(site.address, tmp_path) as address, trio.open_nursery() as nursery:
            found: dict[str, Counter[int]] = {}

            async def ask(source: str, count: int) -> None:
                found.update(await statuses(address, [source] * count))

            nursery.start_soon(ask, "127.0.0.2", PER_ADDRESS + 5)
            while site.observer.metrics.refusals["http", "connections_per_address"] < 5:
                await wait_all_tasks_blocked(0.001)
            nursery.start_soon(ask, "127.0.0.3", PER_ADDRESS)
            while backend.calls["get_user"] < 1 or site.observer.metrics.cache_joins < 2 * PER_ADDRESS - 1:
                await wait_all_tasks_blocked(0.001)
            backend.release()
        assert found == {"127.0.0.2": {200: PER_ADDRESS, 503: 5}, "127.0.0.3": {200: PER_ADDRESS}}


async def test_what_has_been_answered_no_longer_counts(tmp_path: Path):
    async with serving(caps=caps(), policy=limited_watchers()) as site, nginx(site.address, tmp_path) as address:
        async with connection(address, "127.0.0.2") as client:
            for _ in range(PER_ADDRESS * 2):
                await client.send(b"GET /nobody HTTP/1.1\r\nHost: test\r\n\r\n")
                assert b" 404 " in (await client.until(b"\r\n"))
                await client.until(b"</html>")


async def test_the_total_counts_the_proxy_too(tmp_path: Path):
    backend = FakeBackend(USERS)
    backend.hold()
    async with serving(backend, caps=caps(total=5), policy=limited_watchers()) as site:
        async with nginx(site.address, tmp_path) as address, trio.open_nursery() as nursery:

            async def release() -> None:
                while site.observer.metrics.refusals["http", "connections"] < 5:
                    await wait_all_tasks_blocked(0.001)
                backend.release()

            nursery.start_soon(release)
            found = await statuses(address, [f"127.0.0.{number}" for number in range(2, 12)])
            assert sum(found.values(), Counter()) == {200: 5, 503: 5}


async def test_rates_count_the_client(tmp_path: Path):
    rate = RateLimiter(rate=0.001, burst=3)
    async with serving(caps=caps(), rate=rate, policy=limited_watchers()) as site:
        async with nginx(site.address, tmp_path) as address:
            assert [await status(address, "127.0.0.2") for _ in range(4)] == [200, 200, 200, 429]
            assert await status(address, "127.0.0.3") == 200


async def watch(stack: AsyncExitStack, address: tuple[str, int], source: str) -> WebSocketClient:
    return await opened(await stack.enter_async_context(connection(address, source)))


async def next_change(watcher: WebSocketClient) -> dict[str, Any]:
    """The next message that is no heartbeat, which a slow machine lets come first."""
    while (message := await watcher.message())["type"] == "alive":
        pass
    return message


@pytest.mark.slow
async def test_four_hundred_watchers_of_ten_addresses_all_stay_and_receive_changes(tmp_path: Path):
    backend = MemoryBackend(USERS)
    policy = limited_watchers(per_address=40)
    async with serving(backend, caps=caps(), policy=policy) as site, nginx(site.address, tmp_path) as address:
        async with AsyncExitStack() as stack:
            sources = [f"127.0.0.{number % 10 + 2}" for number in range(400)]
            watchers = [await watch(stack, address, source) for source in sources]
            for watcher in watchers:
                assert (await watcher.message())["type"] == "hello"
            assert site.observer.metrics.connections["watch"] == 400
            assert await status(address, "127.0.0.99") == 200, "another visitor"
            assert await (await watch(stack, address, "127.0.0.2")).closed() == 1013, "the 41st of one address"
            assert (await (await watch(stack, address, "127.0.0.12")).message())["type"] == "hello"
            await backend.set_user("moshez", "In the garden")
            for watcher in watchers:
                assert (await next_change(watcher))["status"] == "In the garden"


async def test_events_are_not_collected_by_the_proxy_and_its_client_is_noticed_when_gone(tmp_path: Path):
    backend = MemoryBackend(USERS)
    policy = limited_watchers(per_address=1)
    async with serving(backend, caps=caps(), policy=policy) as site, nginx(site.address, tmp_path) as address:
        async with Client(await trio.open_tcp_stream(*address)) as client:
            await client.send(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
            await client.until(b'"type":"hello"')
            await backend.set_user("moshez", "In the garden")
            await client.until(b"In the garden")
            assert site.observer.metrics.connections["watch"] == 1
        with trio.fail_after(10):
            while site.observer.metrics.connections["watch"]:
                await wait_all_tasks_blocked(0.01)


async def test_a_client_that_is_no_listed_proxy_is_limited_by_its_own_address_whatever_it_writes():
    """Without trust in the peer, its headers give it no limits of another address."""
    policy = WebPolicy(trusted_proxies=(ip_network("192.0.2.1/32"),))
    async with serving(caps=ConnectionCaps(total=100, per_address=2), policy=policy) as site, AsyncExitStack() as stack:
        for _ in range(2):
            busy = await stack.enter_async_context(await site.connect())
            await busy.send(b"GET /moshez")  # an idle connection would give way
        third = await stack.enter_async_context(await site.connect())
        await third.send(b"GET /moshez HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.77\r\n\r\n")
        assert (await third.rest()).startswith(b"HTTP/1.1 503 ")


async def _keep_open(client: Client) -> None:
    await client.send(b"GET /-/icon.svg HTTP/1.1\r\nHost: test\r\n\r\n")
    await client.response()


async def test_trust_that_ends_while_a_proxy_is_connected_leaves_the_counts_right():
    counted = caps()
    async with serving(caps=counted, policy=WebPolicy(trusted_proxies=PROXY)) as site:
        async with await site.connect() as client:
            await _keep_open(client)
            site.door.adopt(WebPolicy())
            async with await site.connect() as other:
                await _keep_open(other)
        await site.empty()
        assert (counted._open, counted._by_key, counted._by_proxy) == (0, {}, {})


async def test_a_proxy_on_a_unix_socket_is_trusted_where_it_is_listed(tmp_path: Path):
    path = f"unix:{tmp_path}/http.sock"
    rate = RateLimiter(rate=0.001, burst=3)
    async with serving(at=path, caps=caps(), rate=rate, policy=WebPolicy(trusted_proxies=("unix",))) as site:
        async with nginx(path, tmp_path) as address:
            assert [await status(address, "127.0.0.2") for _ in range(4)] == [200, 200, 200, 429]
            assert await status(address, "127.0.0.3") == 200
        assert '"peer": "127.0.0.2"' in site.log.getvalue()


async def test_clients_of_a_proxy_on_a_unix_socket_that_is_not_listed_are_not_limited(tmp_path: Path):
    """Of this the start warns: see test_door.py."""
    path = f"unix:{tmp_path}/http.sock"
    rate = RateLimiter(rate=0.001, burst=3)
    async with serving(at=path, caps=caps(), rate=rate) as _site, nginx(path, tmp_path) as address:
        assert [await status(address, "127.0.0.2") for _ in range(4)] == [200] * 4


# The PROXY protocol

PROXIED = WebPolicy(trusted_proxies=PROXY, proxy_protocol=True)
HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.2 1234 80\r\n"
REQUEST = b"GET /moshez HTTP/1.1\r\nHost: test\r\n%sConnection: close\r\n\r\n"


def peers(log: str) -> list[str]:
    return [record["peer"] for record in map(json.loads, log.splitlines()) if record["event"] == "query"]


async def ask(site: Site, *parts: bytes) -> bytes:
    """The response to what is sent part by part."""
    async with await site.connect() as client:
        for part in parts:
            await client.send(part)
            await wait_all_tasks_blocked()
        return await client.rest()


async def test_the_header_names_the_client_in_both_lanes_and_x_forwarded_for_does_not():
    """Whatever the client itself writes into X-Forwarded-For is ignored: only the header is the proxy's."""
    forged = REQUEST % b"X-Forwarded-For: 203.0.113.1\r\n"
    async with serving(policy=PROXIED) as site:
        for request in (REQUEST % b"", forged):
            for parts in ((HEADER + request,), (HEADER, request), (HEADER[:9], HEADER[9:] + request)):
                for _ in range(2):
                    assert (await ask(site, *parts)).startswith(b"HTTP/1.1 200")
        # UNKNOWN leaves the proxy's own address, which is not believed either.
        assert (await ask(site, b"PROXY UNKNOWN\r\n" + forged)).startswith(b"HTTP/1.1 200")
        with pytest.raises(trio.BrokenResourceError):
            await ask(site, REQUEST % b"")
        assert peers(site.log.getvalue()) == ["192.0.2.7"] * 12 + ["127.0.0.1"]


async def test_a_header_split_at_every_byte_comes_before_tls(tmp_path: Path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    policy = replace(PROXIED, tls=make_tls_context(tmp_path / "cert.pem", None))
    async with serving(policy=policy) as site:
        for size in range(0, len(HEADER) + 1, 4):
            stream = await trio.open_tcp_stream(*site.address)
            for part in (HEADER[:size], HEADER[size:]):
                await stream.send_all(part)
                await wait_all_tasks_blocked()
            tls = trio.SSLStream(stream, trusting, server_hostname="localhost", https_compatible=True)
            async with Client(tls) as client:
                await client.send(REQUEST % b"")
                assert (await client.rest()).startswith(b"HTTP/1.1 200")
        assert set(peers(site.log.getvalue())) == {"192.0.2.7"}


async def test_a_reload_switches_the_header_on_and_off_and_the_limits_stay():
    counted = caps()
    async with serving(caps=counted, policy=WebPolicy(trusted_proxies=PROXY)) as site:
        assert (await ask(site, REQUEST % b"")).startswith(b"HTTP/1.1 200")
        site.door.adopt(PROXIED)
        assert (await ask(site, HEADER + REQUEST % b"")).startswith(b"HTTP/1.1 200")
        site.door.adopt(WebPolicy(trusted_proxies=PROXY))
        assert (await ask(site, REQUEST % b"")).startswith(b"HTTP/1.1 200")
        assert counted.is_proxy is not None
        assert counted.is_proxy("127.0.0.1")
