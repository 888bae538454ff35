"""What is on the wire: lines and queries. No I/O, no Trio, only the standard library."""

LIMIT = 1024  # bytes in a line


class Buffer:
    """Bytes that arrive in pieces, and the lines in them."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes | bytearray) -> None:
        self._data += data

    def next_line(self) -> str | None:
        """Return the next line without its end, or None if more data is needed. Raise ValueError if it is too long."""
        if (end := self._data.find(b"\n", 0, LIMIT + 1)) < 0:
            if len(self._data) > LIMIT:
                raise ValueError("Line too long")
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        return line.decode(errors="replace").removesuffix("\r")


def user_of(query: str) -> str:
    """Return the name in a query, in lower case, without blanks and without the /W (RFC 1288, section 2.3)."""
    first, *others = query.lower().split() or [""]
    return " ".join(others if first == "/w" else [first, *others])
