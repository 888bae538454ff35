"""One HTTP request that only looks: takes a URL, returns the status, the fields, the body and what TLS showed.

HTTP is httpx2's. Redirects are not followed, proxy settings of the environment are ignored, cookies are not kept, the
body has a limit, and one deadline covers everything.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import trio

from fingertrio.clients.dial import RemoteError, connect
from fingertrio.clients.reasons import reason
from fingertrio.clients.tls import start_tls

TIMEOUT = 10.0  # seconds for everything
BODY_LIMIT = 256 * 1024  # bytes

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "fingertrio"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: the status code.
        headers: by name, whatever the case.
        body: the first `BODY_LIMIT` bytes.
        client: our own address on this connection; empty at a Unix socket.
        certificate: that of the server, as DER; None: without TLS.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    client: str = ""
    certificate: bytes | None = None


async def http_get(
    url: str,
    *,
    ssl_context: ssl.SSLContext,
    headers: Mapping[str, str] | None = None,
    socket_path: Path | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """The answer to a GET of `url`.

    Args:
        url: http or https.
        ssl_context: the trusted certificates.
        headers: more fields to send.
        socket_path: a Unix socket to connect to instead of the host in `url`.
        timeout: seconds for everything.

    Raises:
        RemoteError: no answer; the message names the host and the reason.
        ValueError: `url` is not a URL.
    """
    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"not a URL: {error}") from error
    transport = httpx2.AsyncHTTPTransport(
        verify=ssl_context, trust_env=False, uds=None if socket_path is None else str(socket_path)
    )
    try:
        with trio.fail_after(timeout):
            async with (
                httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False) as http,
                http.stream("GET", target, headers={**_HEADERS, **(headers or {})}) as response,
            ):
                return await _answer(response)
    except trio.TooSlowError as error:
        raise RemoteError(f"{target.host}: no answer within {timeout:g} seconds") from error
    except httpx2.HTTPError as error:
        raise RemoteError(f"{target.host}: {reason(error)}") from error


async def http_get_after(
    preface: bytes,
    url: str,
    *,
    ssl_context: ssl.SSLContext,
    headers: Mapping[str, str] | None = None,
    socket_path: Path | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """The same, from a server that expects `preface` before everything else, such as a PROXY header.

    The request is HTTP/1.0, so the answer ends with its connection (RFC 9112 section 7.1).

    Raises:
        RemoteError: no answer, or it is not HTTP.
    """
    target = httpx2.URL(url)
    tls = target.scheme == "https"
    fields = {"Host": target.netloc.decode("ascii"), "Connection": "close", **_HEADERS, **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    received = bytearray()
    try:
        with trio.fail_after(timeout):
            if socket_path is None:
                stream: trio.SocketStream = await connect(target.host, target.port or (443 if tls else 80))
            else:
                stream = await trio.open_unix_socket(socket_path)
            async with stream:
                await stream.send_all(preface)
                secured: trio.abc.Stream = stream
                if tls:
                    secured = await start_tls(stream, target.host, ssl_context)
                await secured.send_all(b"GET %b HTTP/1.0\r\n%b\r\n" % (target.raw_path, head.encode()))
                while len(received) <= BODY_LIMIT and (data := await secured.receive_some()):
                    received += data
    except trio.TooSlowError as error:
        raise RemoteError(f"{target.host}: no answer within {timeout:g} seconds") from error
    except (trio.BrokenResourceError, OSError) as error:
        raise RemoteError(f"{target.host}: the connection broke: {error}") from error
    return _parsed(bytes(received), target.host)


def _parsed(received: bytes, host: str) -> Answer:
    head, found, body = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if not found or not first.startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():
        raise RemoteError(f"{host}: what answers there is not a web server")
    pairs = [line.partition(b":")[::2] for line in lines]
    return Answer(int(words[1]), httpx2.Headers([(name, value.strip()) for name, value in pairs]), body)


async def _answer(response: httpx2.Response) -> Answer:
    stream = response.extensions["network_stream"]
    address, tls = stream.get_extra_info("client_addr"), stream.get_extra_info("ssl_object")
    client = str(address[0]) if isinstance(address, tuple) else ""
    certificate = None if tls is None else tls.getpeercert(binary_form=True)
    return Answer(response.status_code, response.headers, await read_body(response, BODY_LIMIT), client, certificate)


async def read_body(response: httpx2.Response, limit: int) -> bytes:
    """The body as it was sent. More than `limit` bytes: it is longer, and this is its start."""
    body = bytearray()
    # Cancel instead of `break`: httpx2's nested generators close cleanly only from the inside.
    with trio.CancelScope() as reading:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                reading.cancel()
    return bytes(body)
