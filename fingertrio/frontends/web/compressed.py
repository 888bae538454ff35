"""Long bodies that all clients share are compressed once (gzip), for clients that accept it.

Only public lists: a body with a secret beside text that a stranger chooses must not be compressed (BREACH).
"""

from __future__ import annotations

import gzip

from quart import Response, request

# Bytes from which on it is worth it: shorter bodies are one or two packets.
_LEAST = 4096

# Of 1 to 9. A list of 10,000 names takes 2 ms, and becomes a tenth; higher levels take longer for little.
_LEVEL = 5


def accepts_gzip(field: bytes) -> bool:
    """Whether a client with this Accept-Encoding takes gzip (RFC 9110 section 12.5.3)."""
    weights = {}
    for entry in field.lower().split(b","):
        coding, *parameters = (part.strip() for part in entry.split(b";"))
        weights[coding] = not any(_is_zero(parameter) for parameter in parameters)
    return weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", False)))


def _is_zero(parameter: bytes) -> bool:
    name, _, value = parameter.partition(b"=")
    return name.strip() == b"q" and not value.strip().strip(b"0.")


class Compressed:
    """Keeps the compressed form of the body that was asked for last."""

    def __init__(self) -> None:
        self._body = self._form = b""

    def of(self, body: bytes) -> bytes:
        """The compressed form of `body`; the same object for the same object."""
        if body is not self._body:
            # Without a time, so that equal bodies have equal forms.
            self._body, self._form = body, gzip.compress(body, _LEVEL, mtime=0)
        return self._form

    def response(self, body: bytes, content_type: str, *, etag: str | None = None) -> Response:
        """The response with `body` to the present request: compressed if it is long and the client takes gzip."""
        is_long = len(body) >= _LEAST
        compresses = is_long and accepts_gzip(request.headers.get("Accept-Encoding", "").encode("latin-1", "replace"))
        response = Response(self.of(body) if compresses else body, content_type=content_type)
        if is_long:
            response.headers["Vary"] = "Accept-Encoding"
        if compresses:
            response.headers["Content-Encoding"] = "gzip"
        if etag is not None:  # other bytes have another one (RFC 9110 section 8.8.3.3)
            response.set_etag(f"{etag}-gzip" if compresses else etag)
        return response
