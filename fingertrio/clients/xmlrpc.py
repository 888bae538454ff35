"""An XML-RPC client: takes a method name and values, returns a value or raises a typed error.

HTTP is httpx2's. The server is not trusted: the answer has a size limit, redirects are not followed, cookies are not
kept, a compressed answer is decompressed only up to the limit, certificates are verified, one deadline covers the call,
and the answer goes through the same parser as the requests to our own server.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import trio

from fingertrio.clients.dial import RemoteError
from fingertrio.clients.http_get import read_body
from fingertrio.clients.reasons import reason
from fingertrio.wire.text import first_line
from fingertrio.wire.xmlrpc import Fault, Value, XMLRPCError, dump_call, parse_response

TIMEOUT = 10.0  # seconds for one call, connecting included
ANSWER_LIMIT = 1024 * 1024  # bytes of one answer: more than 20,000 users
# At once; further calls wait, and the wait counts against their timeout. Python's SimpleXMLRPCServer, for example,
# queues six connections and resets the others.
CONNECTIONS = 4

# Seconds that an idle connection is kept. Servers close theirs after five (Hypercorn, Apache) or more, and a call on a
# connection that the server is just closing fails.
_KEEP_ALIVE = 2.0

# Some servers and proxies compress although the request excludes it.
_CODINGS = {"identity", "gzip", "x-gzip"}

_HEADERS = {"Content-Type": "text/xml", "Accept-Encoding": "identity", "User-Agent": "fingertrio"}


class TransportError(RemoteError):
    """No answer: connecting failed, the certificate is not trusted, a timeout, or an HTTP status other than 200."""


class AnswerError(RemoteError):
    """The answer is too long, or not XML-RPC."""


class FaultError(Exception):
    """The server answered with a fault.

    Attributes:
        code: -32768 to -32000 are standardised, see `wire.xmlrpc.FaultCode`; others are the server's own.
        text: for people. Untrusted: any length and any characters.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"fault {fault.code}: {first_line(fault.text)[:200]}")
        self.code = fault.code
        self.text = fault.text


class XMLRPCClient:
    """Calls methods of one server, any number at a time. Created by `open_xmlrpc_client`."""

    def __init__(self, http: httpx2.AsyncClient, url: httpx2.URL, *, timeout: float, limit: int) -> None:
        self._http = http
        self._url = url
        self._timeout = timeout
        self._limit = limit

    async def call(self, method: str, *params: Value) -> Value:
        """The result of `method`. If this is cancelled, the server may or may not have called it.

        Raises:
            ValueError: XML-RPC cannot express `params`; nothing was sent.
            FaultError: the server answered with a fault.
            TransportError: there was no answer.
            AnswerError: the answer cannot be read.
        """
        request = dump_call(method, params)
        try:
            with trio.fail_after(self._timeout):
                body, charset = await self._post(request)
        except trio.TooSlowError as error:
            raise TransportError(f"{self._url.host}: no answer within {self._timeout:g} seconds") from error
        except httpx2.HTTPError as error:
            raise TransportError(f"{self._url.host}: {reason(error)}") from error
        try:
            answer = parse_response(body, charset, limit=self._limit)
        except XMLRPCError as error:
            raise AnswerError(f"{self._url.host}: the answer is not XML-RPC: {error}") from error
        if isinstance(answer, Fault):
            raise FaultError(answer)
        return answer

    async def _post(self, request: bytes) -> tuple[bytes, str | None]:
        """The content of the answer, and the charset of its Content-Type."""
        async with self._http.stream("POST", self._url, content=request, headers=_HEADERS) as response:
            if response.status_code != 200:  # the spec defines no other status, not even for faults
                raise TransportError(f"{self._url.host}: HTTP status {response.status_code}")
            coding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if coding not in _CODINGS:
                raise AnswerError(
                    f"{self._url.host}: the answer has an unknown Content-Encoding; expected gzip or none"
                )
            body = await read_body(response, self._limit)
        content = body if coding == "identity" or len(body) > self._limit else self._decompress(body)
        if len(content) > self._limit:
            raise AnswerError(f"{self._url.host}: the answer is longer than {self._limit} bytes")
        return content, response.charset_encoding

    def _decompress(self, body: bytes) -> bytes:
        """The content of a gzip body; if it is too long, only its start."""
        decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: with gzip's header and checksum
        try:
            content = decompressor.decompress(body, self._limit + 1)
        except zlib.error as error:
            raise AnswerError(f"{self._url.host}: the answer is not valid gzip") from error
        if not decompressor.eof and len(content) <= self._limit:
            raise AnswerError(f"{self._url.host}: the answer is not a complete gzip file")
        return content


@asynccontextmanager
async def open_xmlrpc_client(
    url: str,
    *,
    timeout: float = TIMEOUT,
    limit: int = ANSWER_LIMIT,
    connections: int = CONNECTIONS,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[XMLRPCClient]:
    """A client for the server at `url`. It connects at the first call; the end of the context closes its connections.

    Args:
        url: http or https; a user name and password in it are sent as HTTP basic authentication.
        timeout: seconds for each call, including waiting for a connection, connecting and reading.
        limit: bytes of each answer.
        connections: at once.
        ssl_context: the trusted certificates; by default the system's. Proxy settings of the environment are ignored.

    Raises:
        ValueError: `url` is not a valid URL.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("an XML-RPC server's URL starts with http:// or https:// and a host")
    if ssl_context is None:
        # Reading the system's certificates blocks for about 50 ms; http needs none.
        ssl_context = (
            ssl.create_default_context() if parsed.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
    limits = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_ALIVE
    )
    async with httpx2.AsyncClient(
        verify=ssl_context,
        limits=limits,
        timeout=None,  # `call` has a deadline over everything
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    ) as http:
        yield XMLRPCClient(http, parsed, timeout=timeout, limit=limit)
