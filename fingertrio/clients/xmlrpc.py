"""An XML-RPC client: a method's name and values in, a value or a typed failure out.

HTTP is httpx2's; what it answers is believed as little as any stranger's: so many bytes and no more, no redirect
followed, no cookie kept, nothing unpacked (a compressed answer could be a bomb), certificates verified, one deadline
over all of it, and the content read by the parser that also stands before our own server.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import trio

from fingertrio.clients.dial import RemoteError
from fingertrio.wire.text import first_line
from fingertrio.wire.xmlrpc import Fault, Value, XMLRPCError, dump_call, parse_response

TIMEOUT = 10.0  # seconds for one call, connecting included
ANSWER_LIMIT = 1024 * 1024  # bytes of one answer: more than 20,000 users
# At once; further calls wait their turn, which counts against their time. Python's SimpleXMLRPCServer, for one, queues
# six and has the kernel reset others.
CONNECTIONS = 4

# Seconds that an idle connection is kept. Servers drop theirs after five (Hypercorn, Apache) or more, and one that is
# used in the moment of being dropped is a failed call.
_KEEP_ALIVE = 2.0

_HEADERS = {"Content-Type": "text/xml", "Accept-Encoding": "identity", "User-Agent": "fingertrio"}


class TransportError(RemoteError):
    """There was no answer: no connection, no trust in the certificate, no time left, or no HTTP status 200."""


class AnswerError(RemoteError):
    """There was an answer, and it is too long or not XML-RPC."""


class FaultError(Exception):
    """The remote answered that it cannot do it. Its words are a stranger's.

    Attributes:
        code: -32768 to -32000 are agreed upon, see `wire.xmlrpc.FaultCode`; others are the remote's own.
        text: for people; of any length, with anything in it.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"fault {fault.code}: {first_line(fault.text)[:200]}")
        self.code = fault.code
        self.text = fault.text


class XMLRPCClient:
    """Calls methods of one server, any number at a time. Made by `open_xmlrpc_client`."""

    def __init__(self, http: httpx2.AsyncClient, url: httpx2.URL, *, timeout: float, limit: int) -> None:
        self._http = http
        self._url = url
        self._timeout = timeout
        self._limit = limit

    async def call(self, method: str, *params: Value) -> Value:
        """What `method` returns. Cancelled, it may have been called or not.

        Raises:
            ValueError: XML-RPC has no words for this; nobody was asked.
            FaultError: the remote said no.
            TransportError, AnswerError: it said nothing, or nothing that can be read.
        """
        request = dump_call(method, params)
        try:
            with trio.fail_after(self._timeout):
                body = await self._post(request)
        except trio.TooSlowError as error:
            raise TransportError(f"{self._url.host}: no answer within {self._timeout:g} seconds") from error
        except httpx2.HTTPError as error:
            raise TransportError(f"{self._url.host}: {first_line(str(error)) or type(error).__name__}") from error
        try:
            answer = parse_response(body, limit=self._limit)
        except XMLRPCError as error:
            raise AnswerError(f"{self._url.host}: the answer is not XML-RPC: {error}") from error
        if isinstance(answer, Fault):
            raise FaultError(answer)
        return answer

    async def _post(self, request: bytes) -> bytes:
        body = bytearray()
        async with self._http.stream("POST", self._url, content=request, headers=_HEADERS) as response:
            if response.status_code != 200:  # the spec knows no other, not even for faults
                raise TransportError(f"{self._url.host}: HTTP status {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise AnswerError(f"{self._url.host}: the answer is packed, though nobody asked for that")
            # Not `raise` or `break`: httpx2's generators within generators are unwound from the inside only.
            with trio.CancelScope() as reading:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > self._limit:
                        reading.cancel()
        if len(body) > self._limit:
            raise AnswerError(f"{self._url.host}: the answer is longer than {self._limit} bytes")
        return bytes(body)


@asynccontextmanager
async def open_xmlrpc_client(
    url: str,
    *,
    timeout: float = TIMEOUT,
    limit: int = ANSWER_LIMIT,
    connections: int = CONNECTIONS,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[XMLRPCClient]:
    """A client for the server at `url`. Its connections are closed when the context ends; none is made before a call.

    Args:
        url: http or https; a user and a password in it are sent as HTTP's basic authentication.
        timeout: seconds for each call, waiting for a connection, connecting and reading included.
        limit: bytes of each answer.
        connections: at once.
        ssl_context: whom to trust; by default, whom the system trusts. Proxies that the environment names are not used.

    Raises:
        ValueError: `url` is not one.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("an XML-RPC server's URL starts with http:// or https:// and a host")
    if ssl_context is None:
        # Reading the system's certificates takes some 50 ms of everybody's time; a context without any trusts nobody.
        ssl_context = (
            ssl.create_default_context() if parsed.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
    limits = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_ALIVE
    )
    async with httpx2.AsyncClient(
        verify=ssl_context,
        limits=limits,
        timeout=None,  # ours is over everything
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    ) as http:
        yield XMLRPCClient(http, parsed, timeout=timeout, limit=limit)
