"""Responses that all clients share: rendered once, sent from one buffer.

A list of 10,000 users takes milliseconds to render and most of a megabyte to hold. Many clients ask for it at once, and
slow ones read it for minutes. So the bytes are made once for each new list and handed to every response. Nothing on the
way to the socket copies them: Quart and h11 pass a whole `bytes` object on unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from quart import Response

from fingertrio.frontends.web.compressed import Compressed
from fingertrio.service.cache import Answer

T = TypeVar("T")


class SharedBody(Generic[T]):
    """The bytes rendered from the latest answer.

    They are kept until an answer differs: an answer that was fetched again, with the same content, renders nothing.

    Args:
        render: makes the bytes.
    """

    def __init__(self, render: Callable[[Answer[T]], bytes]) -> None:
        self._render = render
        self._answer: Answer[T] | None = None
        self._body = b""
        self._etag = ""
        self._compressed = Compressed()

    def bytes_of(self, answer: Answer[T]) -> bytes:
        """The bytes for `answer`."""
        kept = self._answer
        if kept is not answer:
            if kept is None or _content(kept) != _content(answer):
                self._body = self._render(answer)
                self._etag = ""
            self._answer = answer
        return self._body

    def response(self, answer: Answer[T], content_type: str) -> Response:
        """A response with the bytes for `answer`, compressed where the client takes it, and their ETag."""
        body = self.bytes_of(answer)
        self._etag = self._etag or hashlib.sha256(body).hexdigest()[:32]
        return self._compressed.response(body, content_type, etag=self._etag)


def _content(answer: Answer[T]) -> tuple[T, datetime | None]:
    return answer.value, answer.stale_since
