"""A web front end with a public https address on loopback, and a proxy in front of it that treats headers as told."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import trio
import trustme

from fingertrio.frontends.web.frontend import WebPolicy
from tests.frontends.web.kit import Site, serving

PROXY = "127.0.0.2"  # the address that the proxy connects from

Rewrite = Callable[[list[bytes], str], list[bytes]]  # the header lines of a request, for the address of its client


def passed_on(lines: list[bytes], _client: str) -> list[bytes]:
    """A proxy that passes on what came."""
    return lines


def added(lines: list[bytes], client: str) -> list[bytes]:
    """A proxy that adds the client's address, and sets the scheme."""
    before = [line[17:] for line in lines if line.lower().startswith(b"x-forwarded-for: ")]
    rest = [line for line in lines if not line.lower().startswith(b"x-forwarded-")]
    chain = b", ".join([*before, client.encode()])
    return [*rest, b"X-Forwarded-For: " + chain, b"X-Forwarded-Proto: https"]


def trust_of(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts this authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def proxied(authority: trustme.CA, rewrite: Rewrite, **policy: Any) -> AsyncIterator[tuple[Site, str]]:
    """A web front end behind a proxy with TLS; the front end, and the public address."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)

    async def forward(site: Site, stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := await stream.receive_some()):
                    return
                head += data
            first, *lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
            lines = [line for line in lines if not line.lower().startswith(b"connection:")]
            peer = stream.transport_stream.socket.getpeername()[0]
            request = [first, *rewrite(lines, peer), b"Connection: close", b"", b""]
            async with await trio.open_tcp_stream(*site.address, local_address=PROXY) as behind:
                await behind.send_all(b"\r\n".join(request))
                async for data in behind:
                    await stream.send_all(data)
            await stream.aclose()

    async with serving(policy=WebPolicy(**policy)) as site, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(forward, site), [trio.SSLListener(listener, server)])
        yield site, f"https://localhost:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
