"""Whether the public address leads to this server, and what a proxy lets it see."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import trio
import trustme

from fingertrio.cli.doctor.url import PROXIES, URL
from tests.cli.doctor.kit import FakeMachine, faults, installation, look, only, running
from tests.cli.doctor.web_kit import PROXY, added, passed_on, proxied, trust_of
from tests.frontends.web.kit import serving

TRUSTED = {"trusted_proxies": (ip_network(f"{PROXY}/32"),)}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def table(url: str, **http: Any) -> dict[str, Any]:
    return {"http": {"listen": ["127.0.0.1:0"], "url": url, **http}}


@asynccontextmanager
async def other_server(answer: bytes) -> AsyncIterator[str]:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://localhost:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_the_public_address_of_this_very_process(authority: trustme.CA):
    async with proxied(authority, added, **TRUSTED) as (site, url):
        server = running(812, doors={"http": [site.url]})
        results = await look(URL, installation(table(url), server=server, trust=trust_of(authority)))
    assert [result.level for result in results] == ["warning", "ok"]
    assert "/etc/hosts" in results[0].why  # localhost means nothing to others
    assert results[1].what == f"{url} is answered by pid 812"


async def test_another_fingertrio_is_not_taken_for_this_one():
    async with serving() as ours, serving() as other:
        server = running(812, doors={"http": [ours.url]})
        found = await only(URL, installation(table(other.url), server=server), "problem")
        cluster = installation({**table(other.url), "backend": {"use": "redis"}}, server=server)
        assert any("another fingertrio" in each for each in await faults(URL, cluster) if each.startswith("warning"))
    assert "answered by another fingertrio than pid 812" in found.what
    assert "load balancer" in found.why


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"instance": "1"}',
    ],
)
async def test_another_program_at_the_address(answer: bytes):
    async with other_server(answer) as url:
        found = await only(URL, installation(table(url), server=running()), "problem")
    assert "answered by something else (HTTP status" in found.what


async def test_nothing_answers():
    async with other_server(b"") as url:
        pass
    assert "cannot be reached" in (await only(URL, installation(table(url), server=running()), "problem")).what
    assert [each.partition(":")[0] for each in await faults(URL, installation(table(url)))] == ["warning"] * 2


async def test_a_name_that_does_not_resolve():
    found = await only(URL, installation(table("https://nowhere.invalid"), server=running()), "problem")
    assert "add nowhere.invalid to the DNS" in found.next


async def test_a_certificate_that_is_not_trusted(authority: trustme.CA):
    async with proxied(authority, added) as (site, url):
        server = running(doors={"http": [site.url]})
        trust = ssl.create_default_context()
        found = await only(URL, installation(table(url), server=server, trust=trust), "problem")
    assert "certificate is not trusted" in found.what


async def test_an_address_of_another_machine_is_said_to_be_one(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch):
    async def resolve(_host: str, port: int) -> list[tuple[str, int]]:
        return [("9.9.9.9", port)]

    monkeypatch.setattr("fingertrio.cli.doctor.url.resolve", resolve)
    async with serving() as site:
        server = running(doors={"http": [site.url]})
        results = await look(URL, installation(table(site.url), server=server, machine=fake.machine))
    assert "9.9.9.9, which is a proxy, a router that forwards, or another machine" in results[0].what
    assert [result.level for result in results] == ["ok", "ok"]


async def test_no_server_runs_and_a_fingertrio_answers():
    async with serving() as site:
        found = await faults(URL, installation(table(site.url)))
    assert any("none runs here" in each for each in found)


async def test_a_server_behind_a_unix_socket_is_recognised(tmp_path):
    path = f"unix:{tmp_path}/http.sock"
    async with serving() as site, serving(at=path) as hidden:
        place = installation(table(site.url), server=running(doors={"http": [hidden.url]}))
        assert "another fingertrio" in (await only(URL, place, "problem")).what


async def proxies_found(authority: trustme.CA, rewrite: Any, trusted: Any, **http: Any) -> Any:
    async with proxied(authority, rewrite, trusted_proxies=trusted) as (site, url):
        server = running(doors={"http": [site.url]})
        configured = {"trusted_proxies": [str(network) for network in trusted], **http}
        return await look(PROXIES, installation(table(url, **configured), server=server, trust=trust_of(authority)))


async def test_a_proxy_that_reports_its_clients(authority: trustme.CA):
    results = await proxies_found(authority, added, TRUSTED["trusted_proxies"])
    assert [result.level for result in results] == ["ok", "ok"]
    assert "seen with the address of its client (127.0.0.1)" in results[0].what
    assert "is not believed" in results[1].what


async def test_a_proxy_that_reports_nothing(authority: trustme.CA):
    results = await proxies_found(authority, passed_on, TRUSTED["trusted_proxies"])
    assert [result.level for result in results] == ["problem", "problem", "problem"]
    assert "does not report the client's address" in results[0].what
    assert "arrives as http" in results[1].what
    assert "the server believed 203.0.113.79" in results[2].what
    assert "X-Forwarded-For $proxy_add_x_forwarded_for" in results[0].next


async def test_a_proxy_that_is_not_trusted(authority: trustme.CA):
    results = await proxies_found(authority, added, ())
    assert f'trusted_proxies = ["{PROXY}"]' in results[0].next
    assert [result.level for result in results] == ["problem", "problem", "ok"]


async def test_where_this_machine_is_a_trusted_proxy_it_cannot_be_tested(authority: trustme.CA):
    results = await proxies_found(authority, added, (ip_network("127.0.0.0/8"),))
    assert results[-1].level == "ok"
    assert "cannot be tested from 127.0.0.1, itself a trusted proxy" in results[-1].what
    assert "on another machine: curl -H 'X-Forwarded-For: 203.0.113.79'" in results[-1].next


async def test_without_an_answer_it_is_a_warning():
    place = installation(table("https://localhost:1", trusted_proxies=["127.0.0.1"]), server=running())
    assert "was not answered by this server" in (await only(PROXIES, place, "warning")).what


def test_it_does_not_apply_without_a_proxy():
    assert PROXIES.skip(installation(table("http://localhost"))) == "no proxy is configured"
    assert PROXIES.skip(installation({})) == "[http] url is not set"
    assert PROXIES.skip(installation(table("https://localhost"))) == "no server runs"
    assert PROXIES.skip(installation(table("https://localhost"), server=running())) == ""
