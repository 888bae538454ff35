"""Bodies are read when a handler asks for them: a refusal that needs only the headers comes without 100 Continue."""

from __future__ import annotations

import pytest

from fingertrio.wire.xmlrpc import dump_call
from tests.frontends.web.kit import serving

CALL = dump_call("getUser", ["moshez"])


def head(*headers: str, length: int = len(CALL), path: str = "/RPC2") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Expect: 100-continue", f"Content-Length: {length}", *headers]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("Content-Type: text/xml", length=300_000), b"413"),
        (head("Content-Type: text/xml", length=300_000, path="/api/users"), b"405"),
        (head("Content-Type: text/plain"), b"415"),
        (head("Content-Type: text/xml", "Content-Encoding: gzip"), b"415"),
        (head("Content-Type: text/xml", path="/moshez"), b"405"),
        (head("Content-Type: text/xml", path="/a/b"), b"404"),
    ],
)
async def test_a_refusal_that_needs_no_body_comes_at_once(request_head: bytes, status: bytes):
    async with serving() as site, await site.connect() as client:
        await client.send(request_head)
        assert (await client.until(b"\r\n")).split()[1] == status


async def test_a_body_that_is_wanted_is_asked_for():
    async with serving() as site, await site.connect() as client:
        await client.send(head("Content-Type: text/xml"))
        assert (await client.until(b"\r\n\r\n")).split()[1] == b"100"
        await client.send(CALL)
        assert b"Happy and well" in await client.response()


async def test_a_body_that_comes_unasked_is_read():
    async with serving() as site, await site.connect() as client:
        await client.send(head("Content-Type: text/xml") + CALL)
        assert b"Happy and well" in await client.until(b"</methodResponse>")


async def test_a_client_that_leaves_before_the_body_ends_its_request():
    async with serving() as site:
        async with await site.connect() as client:
            await client.send(head("Content-Type: text/xml"))
            await client.until(b"\r\n\r\n")
        await site.empty()
        assert '"level": "error"' not in site.log.getvalue()
