"""Who asks, and how often: forwarded headers are believed of listed proxies only, and limits speak each protocol."""

import json
import socket
import xmlrpc.client
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.frontends.web.frontend import WebFrontend, WebPolicy
from fingertrio.frontends.web.peers import ForwardedClient, forwarded_host
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.net.proxies import TrustedProxies
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import Client, serving

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


async def seen(client, headers, trusted=PROXIES):
    """The client, the scheme and the forwarded host that the application sees."""
    result = []

    async def app(scope, receive, send):
        result.append((scope["client"], scope["scheme"], forwarded_host(scope)))

    scope: Any = {
        "type": "http",
        "client": client,
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    unused: Any = None
    proxies = TrustedProxies(trusted)
    await ForwardedClient(app, lambda: proxies)(scope, unused, unused)
    return result[0]


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        ("10.1.1.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.1.1.1", ["192.0.2.7:4711"], "192.0.2.7"),
        ("10.1.1.1", ["[2001:470::1]:4711"], "2001:470::1"),
        ("10.1.1.1", ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),  # what the client wrote itself is not believed
        ("10.1.1.1", ["192.0.2.7, 10.2.2.2"], "192.0.2.7"),  # a proxy behind a proxy
        ("10.1.1.1", ["192.0.2.7", "10.2.2.2"], "192.0.2.7"),  # in two headers
        ("10.1.1.1", ["6.6.6.6, nonsense, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", ["nonsense"], "10.1.1.1"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("192.0.2.1", ["6.6.6.6"], "192.0.2.1"),  # no proxy of ours
        ("2001:db8::5", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:10.1.1.1", ["192.0.2.7"], "192.0.2.7"),  # a dual-stack socket
        ("::ffff:192.0.2.1", ["6.6.6.6"], "192.0.2.1"),
        ("10.1.1.1", ["::ffff:192.0.2.7"], "192.0.2.7"),
        ("10.1.1.1", ["[::ffff:192.0.2.7]:4711"], "192.0.2.7"),
        ("10.1.1.1", ["192.0.2.7, ::ffff:10.2.2.2"], "192.0.2.7"),
        ("10.1.1.1", ["192.0.2.7, ::FFFF:0a02:0202"], "192.0.2.7"),  # the same in hexadecimal
    ],
)
async def test_a_forwarded_address_is_believed_as_far_as_the_listed_proxies_reach(client, forwarded, expected):
    (address, _), *_ = await seen((client, 1), [("x-forwarded-for", value) for value in forwarded])
    assert address == expected


async def test_a_proxy_may_be_listed_by_an_ipv4_mapped_address():
    headers = [("x-forwarded-for", "192.0.2.7")]
    trusted = (ip_network("::ffff:10.0.0.0/104"),)
    for peer in ("10.1.1.1", "::ffff:10.1.1.1"):
        assert (await seen((peer, 1), headers, trusted))[0] == ("192.0.2.7", 0)
    assert (await seen(("11.1.1.1", 1), headers, trusted))[0] == ("11.1.1.1", 1)


async def test_a_dual_stack_socket_shows_the_proxy_as_what_it_is():
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    sock.setblocking(False)
    policy = WebPolicy(trusted_proxies=(ip_network("127.0.0.1/32"),))
    async with serving(at=sock, policy=policy) as site:
        stream = await trio.open_tcp_stream("127.0.0.1", site.address[1])
        async with Client(stream) as client:
            await client.send(b"GET /moshez HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: ::ffff:192.0.2.7\r\n\r\n")
            await client.response()
            await client.send(b"GET /moshez HTTP/1.1\r\nHost: test\r\n\r\n")
            await client.response()
        await site.empty()
        lines = [json.loads(line) for line in site.log.getvalue().splitlines()]
        assert [line["peer"] for line in lines if line["event"] == "query"] == ["192.0.2.7", "127.0.0.1"]


async def test_the_scheme_is_believed_of_proxies_only():
    headers = [("x-forwarded-proto", "https")]
    assert (await seen(("10.1.1.1", 1), headers))[1] == "https"
    assert (await seen(("10.1.1.1", 1), [("x-forwarded-proto", "javascript")]))[1] == "http"
    assert (await seen(("192.0.2.1", 1), headers))[1] == "http"


async def test_the_host_is_believed_of_proxies_only():
    headers = [("x-forwarded-host", "evil.example, finger.example")]
    assert (await seen(("10.1.1.1", 1), headers))[2] == "finger.example"
    assert (await seen(("192.0.2.1", 1), headers))[2] == ""


@pytest.mark.parametrize("host", ["[", "[::1", "a b", 'a"<b', "a/b", "a:123456"])
async def test_a_host_that_is_none_is_not_believed_of_a_proxy_either(host):
    """Many proxies pass on what the client wrote."""
    assert (await seen(("10.1.1.1", 1), [("x-forwarded-host", host)]))[2] == ""


async def test_a_unix_socket_is_a_proxy_where_it_is_listed():
    headers = [("x-forwarded-for", "192.0.2.7")]
    assert (await seen(None, headers))[0] is None
    assert (await seen(None, headers, ("unix",)))[0] == ("192.0.2.7", 0)


@pytest.fixture
async def door():
    """A web door that answers three requests of an address, and one more every ten seconds."""
    listeners = bind(parse_address("127.0.0.1:0"))
    observer = Observer()
    try:
        async with FingerService.open(FakeBackend({"moshez": "Happy"}), observer=observer) as service:
            frontend = WebFrontend(
                service=service,
                observer=observer,
                listeners=listeners,
                caps=ConnectionCaps(total=100, per_address=100),
                rate=RateLimiter(rate=0.1, burst=3),
                policy=WebPolicy(trusted_proxies=(ip_network("127.0.0.1/32"),)),
            )
            async with trio.open_nursery() as nursery:
                (url,) = await nursery.start(frontend.serve, trio.Event())
                yield url, observer
                nursery.cancel_scope.cancel()
    finally:
        close_all(listeners)


async def test_who_asks_too_often_is_told_when_to_come_back_and_nobody_else_is(door):
    url, observer = door
    async with httpx2.AsyncClient(base_url=url) as client:
        often, other = {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "192.0.2.8"}
        assert [(await client.get("/moshez", headers=often)).status_code for _ in range(4)] == [200, 200, 200, 429]
        page = await client.get("/moshez", headers=often)
        assert 1 <= int(page.headers["Retry-After"]) <= 10
        assert "Too many requests" in page.text
        assert page.headers["Content-Type"].startswith("text/plain")
        page = await client.get("/moshez", headers=often | {"Accept": "text/html,*/*;q=0.8"})
        assert (page.status_code, page.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
        assert "<h1>Too Many Requests</h1>" in page.text
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        api = await client.get("/api/users", headers=often)
        assert (api.status_code, api.headers["Content-Type"]) == (429, "application/problem+json")
        assert json.loads(api.text)["status"] == 429
        call = xmlrpc.client.dumps(("moshez",), "getUser").encode()
        rpc = await client.post("/RPC2", content=call, headers=often | {"Content-Type": "text/xml"})
        assert rpc.status_code == 200
        with pytest.raises(xmlrpc.client.Fault, match="Too many requests") as caught:
            xmlrpc.client.loads(rpc.text)
        assert caught.value.faultCode == -32500
        assert (await client.get("/moshez", headers=other)).status_code == 200
    await wait_all_tasks_blocked()  # a request is counted when its answer has gone
    assert observer.metrics.refusals["http", "rate"] == 5
    assert observer.metrics.queries == {("http", "ok"): 4, ("http", "bad"): 5}
