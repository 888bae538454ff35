"""One request to the JSON interface of a server, for commands. The standard library's client: it starts quickly.

Certificates are checked, redirects are not followed (a token must not go to another server), and an answer is at most
one megabyte.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fingertrio import version
from fingertrio.wire.text import clean_line

if TYPE_CHECKING:
    from http.client import HTTPConnection

TIMEOUT = 10.0  # seconds for each step: connecting, sending, receiving
_SIZE_LIMIT = 1024 * 1024  # bytes of an answer


class APIError(Exception):
    """The request failed. The message is one line for people.

    Attributes:
        status: the status code; 0: there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def request(
    method: str,
    url: str,
    path: str,
    *,
    token: str | None = None,
    document: object = None,
    timeout: float = TIMEOUT,
) -> Any:
    """The JSON document that a server answers.

    Args:
        method: of HTTP.
        url: the base URL of the server: "https://finger.example.org".
        path: below it, percent-encoded.
        token: sent as a Bearer token, if given.
        document: sent as JSON, if given.
        timeout: seconds for each step.

    Raises:
        APIError: the URL is wrong, there was no answer, or it is an error.
    """
    from http.client import HTTPException  # noqa: PLC0415 -- commands that ask no web front end start without it

    connection = _connection(url, timeout)
    headers = {"User-Agent": f"fingertrio/{version}", "Accept": "application/json"}
    body = None
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if document is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(document, ensure_ascii=False).encode()
    try:
        connection.request(method, urlsplit(url).path.rstrip("/") + path, body, headers)
        response = connection.getresponse()
        content = response.read(_SIZE_LIMIT)
    except HTTPException as error:
        raise APIError(f"{url}: what answers there is not a web server") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise APIError(f"{url}: {clean_line(reason)}") from error
    finally:
        connection.close()
    return _document(url, response.status, content)


def _connection(url: str, timeout: float) -> HTTPConnection:
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 -- as above

    parts = urlsplit(url)
    try:
        if parts.scheme in {"http", "https"} and parts.hostname:
            kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
            return kind(parts.hostname, parts.port, timeout=timeout)
    except ValueError:  # of the port
        pass
    raise APIError(f"{clean_line(url)!r} is not the URL of a server; expected https://finger.example.org")


def _document(url: str, status: int, content: bytes) -> Any:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if 200 <= status < 300 and isinstance(document, dict):
        return document
    if isinstance(document, dict) and isinstance(detail := document.get("detail"), str):
        raise APIError(clean_line(detail), status)
    if status == 404 or document is None:
        raise APIError(f"{url}: there is no fingertrio that can do this (HTTP status {status})", status)
    raise APIError(f"{url}: HTTP status {status}", status)
