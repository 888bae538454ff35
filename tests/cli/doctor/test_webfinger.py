"""Whether each domain gives this server's answer."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.webfinger import CHECK
from fingertrio.clients.http_get import http_get
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.frontends.web.site import Site as SiteOptions
from fingertrio.frontends.web.webfinger import WebFingerPolicy
from fingertrio.http.tls import make_tls_context
from tests.cli.doctor.kit import faults, installation, only, running
from tests.cli.doctor.web_kit import trust_of
from tests.clients.test_webfinger import response
from tests.clients.test_webfinger import serving as answering
from tests.frontends.web.kit import Site, serving

USERS = {"ada": "Here"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def site(
    authority: trustme.CA, tmp_path: Any, users: Any = USERS, domain: str = ""
) -> AsyncIterator[tuple[Site, str]]:
    """A web front end with https that answers for its own address, or `domain`."""
    leaf, pem = authority.issue_cert("127.0.0.1", "localhost"), tmp_path / "site.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(pem)
    policy = WebPolicy(tls=make_tls_context(pem, None), site=SiteOptions(url="https://finger.example.org"))
    async with serving(users, policy=policy) as found:
        host = domain or found.url.removeprefix("https://")
        found.door.adopt(
            WebPolicy(tls=policy.tls, site=policy.site, webfinger=WebFingerPolicy(domains=(host,), issuer=None))
        )
        yield found, host


def place(found: Site, domains: Sequence[str], authority: trustme.CA) -> Installation:
    table = {
        "http": {"listen": ["127.0.0.1:0"], "url": "https://finger.example.org"},
        "webfinger": {"domains": list(domains)},
    }
    return installation(table, server=running(doors={"http": [found.url]}), trust=trust_of(authority))


async def test_a_domain_that_leads_here(authority: trustme.CA, tmp_path: Any):
    async with site(authority, tmp_path) as (found, host):
        result = await only(CHECK, place(found, [host], authority), "ok")
    assert result.what == f"{host} gives its answer about acct:ada@{host}"


async def test_without_users_a_missing_one_is_asked_about(authority: trustme.CA, tmp_path: Any):
    async with site(authority, tmp_path, {}) as (found, host):
        result = await only(CHECK, place(found, [host], authority), "ok")
    assert "that there is no acct:fingertrio-doctor@" in result.what


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([response("404 Not Found", b"nothing")], "HTTP status 404"),
        ([response("200 OK", b'{"subject": "acct:eve@evil.example"}')], "HTTP status 200"),
        ([response("302 Found", b"", "Location: http://plain.example/")], "is not https"),
        ([response("302 Found", b"", "Location: /x")], "more than 3 redirects"),
        ([b""], "127.0.0.1"),
    ],
)
async def test_a_domain_that_leads_elsewhere(authority: trustme.CA, tmp_path: Any, answers: Sequence[bytes], said: str):
    async with answering(authority, *answers) as (domain, _), site(authority, tmp_path, domain=domain) as (found, _):
        problem = await only(CHECK, place(found, [domain], authority), "problem")
    assert said in problem.what
    assert "docs/guide/webfinger.md" in problem.next


@asynccontextmanager
async def front(
    authority: trustme.CA, tmp_path: Any, change: Callable[[str, str], str]
) -> AsyncIterator[tuple[Site, str]]:
    """A web server for a domain in front of a web front end; `change` takes its answer and the query."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trust = trust_of(authority)
    found: Site

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        target = (await stream.receive_some()).split(b" ")[1].decode()
        inner = await http_get(found.url + target, ssl_context=trust)
        fields = "".join(
            f"{name}: {inner.headers[name]}\r\n" for name in ("Access-Control-Allow-Origin", "Content-Type")
        )
        text = f"HTTP/1.1 {inner.status} x\r\n{fields}Content-Length: {len(inner.body)}\r\n\r\n{inner.body.decode()}"
        await stream.send_all(change(text, found.url + target).encode())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        domain = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        async with site(authority, tmp_path, domain=domain) as (found, _):
            nursery.start_soon(trio.serve_listeners, answer, [trio.SSLListener(listener, server)])
            yield found, domain
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text, _: text.replace("Access-Control-Allow-Origin: *\r\n", ""), "no Access-Control-Allow-Origin"),
        (lambda text, _: text.replace("application/jrd+json", "text/plain"), "has the type text/plain"),
    ],
)
async def test_a_web_server_in_front_that_changes_fields(authority: trustme.CA, tmp_path: Any, change: Any, said: str):
    async with front(authority, tmp_path, change) as (found, domain):
        assert said in (await only(CHECK, place(found, [domain], authority), "problem")).what


@pytest.mark.parametrize(
    "change",
    [
        lambda text, _: text,
        lambda _, target: f"HTTP/1.1 301 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_web_server_in_front_may_pass_on_or_redirect(authority: trustme.CA, tmp_path: Any, change: Any):
    async with front(authority, tmp_path, change) as (found, domain):
        assert await faults(CHECK, place(found, [domain], authority)) == []


def test_it_does_not_apply_without_domains():
    assert CHECK.skip(installation({})) == "[webfinger] domains is not set"
