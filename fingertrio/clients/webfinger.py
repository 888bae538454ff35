"""A WebFinger client (RFC 7033): takes an account, returns what its host says about it.

HTTP is httpx2's. The server is not trusted: https with a verified certificate, also after a redirect (section 4.2); at
most three redirects; the answer has a size limit and goes through our own parser; cookies are not kept; one deadline
covers everything.
"""

from __future__ import annotations

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
import trio

from fingertrio.clients.dial import RemoteError
from fingertrio.clients.http_get import read_body
from fingertrio.clients.reasons import reason
from fingertrio.wire.text import first_line
from fingertrio.wire.webfinger import (
    CONTENT_TYPE,
    PATH,
    Descriptor,
    Question,
    WebFingerError,
    parse_account,
    parse_descriptor,
    to_query,
)

TIMEOUT = 10.0  # seconds for everything
ANSWER_LIMIT = 256 * 1024  # bytes of one answer: some hundred times a usual descriptor
_REDIRECTS = 3

_HEADERS = {"Accept": f"{CONTENT_TYPE}, application/json", "Accept-Encoding": "identity", "User-Agent": "fingertrio"}


class NoAccountError(RemoteError):
    """The host knows no such account (status 404)."""


def to_question(target: str, rels: tuple[str, ...] = ()) -> tuple[Question, str]:
    """The question about `target`, and the host to ask.

    Args:
        target: "ada@example.org", "@ada@example.org", "acct:ada@example.org", or an https address.
        rels: the relations that are wanted; empty: all.

    Raises:
        ValueError: it has another form.
    """
    if target.startswith("https://"):
        try:
            host = httpx2.URL(target).netloc.decode("ascii")
        except httpx2.InvalidURL as error:
            raise ValueError(f"{target}: {error}") from None
        if host:
            return Question(target, rels), host
    account = parse_account(f"acct:{target.removeprefix('acct:').removeprefix('@')}")
    if account is None:
        raise ValueError(f'"{target}" is not an account: expected ada@example.org or https://example.org/ada')
    return Question(str(account), rels), account.host


async def ask_webfinger(
    question: Question, host: str, *, timeout: float = TIMEOUT, ssl_context: ssl.SSLContext | None = None
) -> Descriptor:
    """What `host` says about a resource.

    Args:
        question: what to ask.
        host: with a port where it is not 443.
        timeout: seconds for everything.
        ssl_context: the trusted certificates; by default the system's. Proxy settings of the environment are ignored.

    Raises:
        NoAccountError: the host has no such account.
        RemoteError: no answer, or one that cannot be read.
    """
    verify = ssl_context or ssl.create_default_context()
    try:
        with trio.fail_after(timeout):
            async with httpx2.AsyncClient(
                verify=verify,
                timeout=None,
                follow_redirects=False,
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            ) as http:
                body = await _follow(http, httpx2.URL(f"https://{host}{PATH}?{to_query(question)}"))
    except trio.TooSlowError as error:
        raise RemoteError(f"{host}: no answer within {timeout:g} seconds") from error
    except httpx2.HTTPError as error:
        raise RemoteError(f"{host}: {reason(error)}") from error
    except httpx2.InvalidURL as error:
        raise RemoteError(f"{host}: redirects to what is not an address: {first_line(str(error))}") from error
    try:
        return parse_descriptor(body)
    except WebFingerError as error:
        raise RemoteError(f"{host}: {error}") from error


async def _follow(http: httpx2.AsyncClient, url: httpx2.URL) -> bytes:
    """The body of the answer after redirects."""
    for _ in range(_REDIRECTS + 1):
        async with http.stream("GET", url, headers=_HEADERS) as response:
            if response.status_code == 404:
                raise NoAccountError(f"{url.host}: no such account")
            if not response.is_redirect and response.status_code != 200:
                raise RemoteError(f"{url.host}: HTTP status {response.status_code}")
            body = await read_body(response, ANSWER_LIMIT)
        if len(body) > ANSWER_LIMIT:
            raise RemoteError(f"{url.host}: the answer is longer than {ANSWER_LIMIT} bytes")
        if not response.is_redirect:
            return body
        target = url.join(response.headers["Location"])
        if target.scheme != "https":
            raise RemoteError(f"{url.host}: redirects to an address that is not https")
        url = target
    raise RemoteError(f"{url.host}: more than {_REDIRECTS} redirects")
