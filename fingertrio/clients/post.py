"""Sends one HTTP request with a body to somebody else's URL, and returns the status of the answer.

The URL may lead anywhere, so the request is confined:

- The connection goes to an address that `allow` accepted after the name was resolved (`dial`), and to no other one.
- https verifies the certificate against the name in the URL. A proxy of the environment is not asked.
- A redirect is an answer like any other. Its target is not looked at, and neither is a cookie.
- Of the answer, `limit` bytes of the body are read and not decompressed. What comes before the body has a limit, too.
- One deadline covers everything. Each request has a connection of its own, so no answer can belong to another request.

HTTP is h11's, without a pool or a redirect in between.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import h11
import trio

from fingertrio.clients.dial import AddressRule, RemoteError, Resolver, connect, resolve
from fingertrio.clients.tls import start_tls
from fingertrio.wire.http_url import HTTPURL

ANSWER_LIMIT = 16 * 1024  # bytes of a body; a receiver has nothing to say but its status

_BODY_TIMEOUT = 2.0  # seconds for the body, once the status is known

# Bytes until the status, with the answers 1xx before it: a server could send any number of them. h11 limits each.
_HEAD_LIMIT = 64 * 1024

_CHUNK = 16 * 1024  # bytes received at once


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """An answer.

    Attributes:
        status: the HTTP status.
        retry_after: the field of this name, untrusted text; None: there is none.
        body: its first bytes, as they arrived. Untrusted.
    """

    status: int
    retry_after: str | None
    body: bytes


async def post(
    url: HTTPURL,
    fields: Mapping[str, str],
    body: bytes,
    *,
    timeout: float,
    allow: AddressRule | None,
    ssl_context: ssl.SSLContext | None = None,
    limit: int = ANSWER_LIMIT,
    resolve: Resolver = resolve,
) -> PostAnswer:
    """POST `body` to `url`.

    Args:
        url: the target.
        fields: header fields besides Host, Content-Length, User-Agent and Connection.
        body: the content.
        timeout: seconds for everything, resolving the name included.
        allow: see `dial.connect`.
        ssl_context: the trusted certificates; by default the system's.
        limit: bytes of the answer's body that are read.
        resolve: see `dial.connect`.

    Raises:
        RemoteError: there is no answer. The receiver may still have got the request.
    """
    try:
        with trio.fail_after(timeout):
            stream: trio.abc.Stream = await connect(url.host, url.port, allow=allow, resolve=resolve)
            try:
                if url.tls:
                    stream = await start_tls(stream, url.host, ssl_context or ssl.create_default_context())
                return await _exchange(stream, url, fields, body, limit)
            finally:
                await trio.aclose_forcefully(stream)
    except trio.TooSlowError:
        raise RemoteError(f"{url.host}: no answer within {timeout:g} seconds") from None


async def _exchange(
    stream: trio.abc.Stream, url: HTTPURL, fields: Mapping[str, str], body: bytes, limit: int
) -> PostAnswer:
    connection = h11.Connection(h11.CLIENT)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    head = {
        "Host": url.host_header,
        "Content-Length": str(len(body)),
        "User-Agent": "fingertrio",
        "Connection": "close",
        **fields,
    }
    request = h11.Request(method="POST", target=target, headers=list(head.items()))
    data = (connection.send(request) or b"") + (connection.send(h11.Data(data=body)) or b"")
    connection.send(h11.EndOfMessage())
    answer: PostAnswer | None = None
    failure: RemoteError | None = None
    async with trio.open_nursery() as nursery:
        # A server may answer, and close, before it has read everything. If it does not answer, receiving fails.
        nursery.start_soon(_send, stream, data)
        try:
            response = await _receive_head(connection, stream, url.host)
            retry_after = dict(response.headers).get(b"retry-after")
            answer = PostAnswer(
                response.status_code,
                None if retry_after is None else retry_after.decode("ascii", "replace"),
                await _receive_body(connection, stream, limit),
            )
        except RemoteError as error:  # raised below, without the nursery's group
            failure = error
        nursery.cancel_scope.cancel()
    if answer is None:
        raise failure or AssertionError("neither an answer nor a failure")
    return answer


async def _send(stream: trio.abc.Stream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def _receive_head(connection: h11.Connection, stream: trio.abc.Stream, host: str) -> h11.Response:
    received = 0
    try:
        while not isinstance(event := connection.next_event(), h11.Response):  # a status 1xx is no answer
            if event is h11.NEED_DATA:
                if received > _HEAD_LIMIT:
                    raise RemoteError(f"{host}: more than {_HEAD_LIMIT} bytes came before an answer")
                data = bytes(await stream.receive_some(_CHUNK))
                if not data:
                    raise RemoteError(f"{host}: the connection was closed before an answer")
                received += len(data)
                connection.receive_data(data)
    except trio.BrokenResourceError:
        raise RemoteError(f"{host}: the connection was closed before an answer") from None
    except h11.RemoteProtocolError:
        raise RemoteError(f"{host}: the answer is not HTTP, or its head is too long") from None
    return event


async def _receive_body(connection: h11.Connection, stream: trio.abc.Stream, limit: int) -> bytes:
    """The start of the body. The status is known, so whatever happens to the body changes nothing."""
    body = bytearray()
    with suppress(trio.BrokenResourceError, h11.RemoteProtocolError), trio.move_on_after(_BODY_TIMEOUT):
        while len(body) < limit:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
    return bytes(body[:limit])
