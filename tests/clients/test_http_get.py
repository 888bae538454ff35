"""One GET to a server that may answer anything."""

from __future__ import annotations

import ssl

import pytest
import trio

from fingertrio.clients.dial import RemoteError
from fingertrio.clients.http_get import http_get_after
from tests.clients.kit import serving

PREFACE = b"PROXY UNKNOWN\r\n"


async def ask(answer: bytes) -> tuple[int, bytes]:
    async def handler(stream: trio.abc.Stream) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        assert received.startswith(PREFACE + b"GET /healthz HTTP/1.0\r\n")
        await stream.send_all(answer)

    async with serving(handler) as port:
        found = await http_get_after(
            PREFACE, f"http://127.0.0.1:{port}/healthz", ssl_context=ssl.create_default_context()
        )
    return found.status, found.body


async def test_the_preface_comes_before_the_request() -> None:
    assert await ask(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nready") == (200, b"ready")


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 \r\n\r\n", b"HTTP/1.1 ok\r\n\r\n"]
)
async def test_what_is_not_http_is_an_error(answer: bytes) -> None:
    with pytest.RaisesGroup(RemoteError, allow_unwrapped=True, flatten_subgroups=True):
        await ask(answer)
