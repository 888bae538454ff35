"""Whether a client wants a page as text: `curl finger.example.org/ada` prints the status, as finger does.

Text is for those who ask for it: an Accept that prefers text/plain to text/html by name, or curl, which asks for
anything. Others that ask for anything (`*/*`) get the page: readers of feeds, previews of links, and those that look
for rel="me" ask so.
"""

from __future__ import annotations

from quart import Response
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.http import parse_accept_header

TEXT = "text/plain; charset=utf-8"
VARY = ("Accept", "User-Agent")


def wants_text(headers: Headers) -> bool:
    """Whether the client of a request with these header fields prefers text."""
    accept = parse_accept_header(headers.get("Accept"), MIMEAccept)
    named = {kind.lower(): quality for kind, quality in accept}
    plain, html = named.get("text/plain", 0), named.get("text/html", 0)
    if plain or html:
        return plain > html
    return is_curl(headers.get("User-Agent", "").encode()) and (not named or named.get("*/*", 0) > 0)


def is_curl(agent: bytes) -> bool:
    """Whether a User-Agent is curl: all that a response depends on of that field. The express lane uses it, too."""
    return agent.startswith(b"curl/")


def text_response(text: str, status: int = 200) -> Response:
    """A response of lines of text."""
    return varying(Response(f"{text.rstrip()}\n", status, content_type=TEXT))


def varying(response: Response) -> Response:
    """The same response, marked as one that depends on the client."""
    response.vary.update(VARY)
    return response
