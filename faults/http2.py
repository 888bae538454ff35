"""HTTP/2 for attacks: the first bytes of a connection, and requests."""

from __future__ import annotations

import hpack
from hyperframe.frame import HeadersFrame, SettingsFrame

from fingertrio.http.http2 import PREFACE


def start(**settings: int) -> bytes:
    """The preface and settings, by their names in hyperframe."""
    values = {getattr(SettingsFrame, name): value for name, value in settings.items()}
    return PREFACE + SettingsFrame(0, settings=values).serialize()


START = start()


class Requests:
    """The requests of one connection, compressed with its header table (RFC 7541)."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()

    def get(self, stream: int, path: str) -> bytes:
        """A HEADERS frame with a whole request."""
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)]
        return HeadersFrame(stream, self._encoder.encode(fields), flags=["END_HEADERS", "END_STREAM"]).serialize()


def headers(stream: int = 1, *, end: bool = True, **changes: bytes | None) -> bytes:
    """A HEADERS frame with a request. An argument replaces the pseudo-header of its name; None removes it."""
    values: dict[str, bytes | None] = {
        "method": b"GET", "scheme": b"http", "authority": b"test", "path": b"/moshez", **changes
    }  # fmt: skip
    fields = [(b":" + name.encode(), value) for name, value in values.items() if value is not None]
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return HeadersFrame(stream, hpack.Encoder().encode(fields), flags=flags).serialize()


def http2_request(path: str) -> bytes:
    """The first bytes of a connection: preface, settings, one request."""
    return START + headers(path=path.encode())
