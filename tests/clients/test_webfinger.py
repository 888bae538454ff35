"""The WebFinger client, with our own server and with servers that misbehave."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from click.testing import CliRunner

from fingertrio.cli.webfinger import webfinger_command
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.webfinger import NoAccountError, ask_webfinger, to_question
from fingertrio.frontends.web.frontend import WebPolicy
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.webfinger import WebFingerPolicy
from fingertrio.http.tls import make_tls_context
from fingertrio.wire.webfinger import Link, Question
from tests.frontends.web.kit import serving as serving_site

ANSWER = b'{"subject": "acct:ada@example.org", "links": [{"rel": "self", "href": "https://example.org/ada"}]}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


@asynccontextmanager
async def serving(authority: trustme.CA, *responses: bytes) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """A host that gives these responses in turn, and the context that trusts it; the last one is repeated."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    left = list(responses)

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some()
            await stream.send_all(left.pop(0) if len(left) > 1 else left[0])
            await stream.aclose()
        except trio.BrokenResourceError:
            pass  # the client has enough

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [trio.SSLListener(listener, server)])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}", client
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ada@example.org", ("acct:ada@example.org", "example.org")),
        ("@ada@example.org", ("acct:ada@example.org", "example.org")),
        ("acct:ada@Example.org", ("acct:ada@example.org", "example.org")),
        ("https://example.org/ada", ("https://example.org/ada", "example.org")),
        ("https://example.org:8443/ada", ("https://example.org:8443/ada", "example.org:8443")),
    ],
)
def test_a_target_names_a_resource_and_a_host(target: str, expected: tuple[str, str]):
    question, host = to_question(target, ("self",))
    assert (question, host) == (Question(expected[0], ("self",)), expected[1])


@pytest.mark.parametrize("target", ["ada", "", "@example.org", "https://", "http://example.org/ada", "a b@example.org"])
def test_what_names_none_is_refused(target: str):
    with pytest.raises(ValueError, match=r"\S"):
        to_question(target)


async def test_an_answer_is_read(authority: trustme.CA) -> None:
    async with serving(authority, response("200 OK", ANSWER)) as (host, context):
        found = await ask_webfinger(Question("acct:ada@example.org"), host, ssl_context=context)
        assert found.links == (Link("self", "https://example.org/ada"),)


async def test_a_redirect_is_followed_by_https_only_and_not_for_ever(authority: trustme.CA) -> None:
    async with serving(authority, response("200 OK", ANSWER)) as (target, _):
        moved = response("307 Temporary Redirect", b"", f"Location: https://{target}/x")
        async with serving(authority, moved) as (host, context):
            assert (await ask_webfinger(Question("acct:a@b.example"), host, ssl_context=context)).links
    async with serving(authority, response("302 Found", b"", "Location: http://127.0.0.1:1/x")) as (host, context):
        with pytest.raises(RemoteError, match="not https"):
            await ask_webfinger(Question("acct:a@b.example"), host, ssl_context=context)
    async with serving(authority, response("302 Found", b"", "Location: /again")) as (host, context):
        with pytest.raises(RemoteError, match="more than 3 redirects"):
            await ask_webfinger(Question("acct:a@b.example"), host, ssl_context=context)


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (response("404 Not Found"), NoAccountError, "no such account"),
        (response("500 Internal Server Error"), RemoteError, "status 500"),
        (response("200 OK", b"<html>"), RemoteError, "not JSON"),
        (response("200 OK", b" " * 300_000), RemoteError, "longer than"),
        (b"nonsense\r\n\r\n", RemoteError, r"\S"),
    ],
)
async def test_a_bad_answer_is_one_error(
    authority: trustme.CA, answer: bytes, error: type[RemoteError], reason: str
) -> None:
    async with serving(authority, answer) as (host, context):
        with pytest.raises(error, match=reason):
            await ask_webfinger(Question("acct:a@b.example"), host, ssl_context=context)


async def test_a_certificate_that_is_not_trusted_is_refused(authority: trustme.CA) -> None:
    async with serving(authority, response("200 OK", ANSWER)) as (host, _):
        with pytest.raises(RemoteError, match="certificate"):
            await ask_webfinger(Question("acct:a@b.example"), host)


async def test_a_silent_host_ends_at_the_deadline(authority: trustme.CA) -> None:
    async with serving(authority, b"") as (host, context):
        with trio.fail_after(20), pytest.raises(RemoteError):
            await ask_webfinger(Question("acct:a@b.example"), host, timeout=0.05, ssl_context=context)


async def test_the_command_asks_our_own_server(authority: trustme.CA, tmp_path: Path) -> None:
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = make_tls_context(tmp_path / "cert.pem", None)
    async with serving_site({"ada": "Weaving"}, policy=WebPolicy(tls=tls)) as site:
        host = f"127.0.0.1:{site.address[1]}"
        finger = WebFingerPolicy(domains=(host,))
        site.door.adopt(WebPolicy(tls=tls, site=Site(url=f"https://{host}"), webfinger=finger))

        async def webfinger(target: str, *more: str) -> tuple[int, str]:
            arguments = [target, "--ca", str(tmp_path / "ca.pem"), *more]
            ended = await trio.to_thread.run_sync(CliRunner().invoke, webfinger_command, arguments)
            return ended.exit_code, ended.output

        shown = (
            f"subject: acct:ada@{host}\nalias: https://{host}/ada\n"
            f"http://webfinger.net/rel/profile-page: https://{host}/ada (text/html)\n"
            f"alternate: https://{host}/api/users/ada (application/json)\n"
            f"alternate: https://{host}/ada/feed.atom (application/atom+xml)\n"
            f"alternate: https://{host}/ada/feed.json (application/feed+json)\n"
        )
        assert await webfinger(f"ada@{host}") == (0, shown)
        status, output = await webfinger(f"https://{host}/ada", "--json", "--rel", "alternate")
        assert (status, [link["rel"] for link in json.loads(output)["links"]]) == (0, ["alternate"] * 3)
        assert await webfinger(f"bob@{host}") == (1, "fingertrio: 127.0.0.1: no such account\n")
    status, output = await webfinger(f"ada@{host}")
    assert (status, output.startswith("fingertrio: 127.0.0.1:")) == (3, True)
