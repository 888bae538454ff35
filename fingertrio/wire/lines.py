"""Splits a stream of bytes into lines.

There are three results: a whole line (bytes without its end), None (more is needed), or TooLongError (a line is longer
than the limit, finished or not). CRLF and a lone LF both end a line; a lone CR does not.
"""

from __future__ import annotations

from fingertrio.wire import TooLongError


class LineBuffer:
    """Call `feed` with received data, then `take` until it returns None.

    Args:
        limit: maximum bytes of one line, without its end. A longer line raises at once, before its end arrives. No
            byte is searched twice.
    """

    __slots__ = ("_buffer", "_limit", "_searched")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add received data."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next line without its end; None: feed more.

        Raises:
            TooLongError: the line is longer than the limit. The buffer is unusable from then on.
        """
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            if len(self._buffer) - self._buffer.endswith(b"\r") > self._limit:  # an LF may follow that CR
                raise TooLongError("line too long")
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        if len(line) > self._limit:
            raise TooLongError("line too long")
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def rest(self) -> bytes:
        """The data after the last whole line."""
        return bytes(self._buffer)
