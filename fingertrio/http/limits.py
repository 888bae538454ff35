"""Limits of an HTTP door: sizes, times, and the memory that its clients may occupy together."""

from __future__ import annotations

from dataclasses import dataclass, field

from fingertrio.net.budget import ByteBudget

# Seconds that an idle connection is kept. Longer than the proxies in front keep theirs (nginx 60 s, Caddy 2 min), so
# that the proxy closes first and never sends a request into a closing connection.
KEEP_ALIVE = 130.0

# Seconds in which the line and headers of a request must arrive, once the first byte is there.
HEADER_DEADLINE = 10.0

# Bytes of a request's line and headers, in HTTP/1 and HTTP/2. Browsers send one or two kilobytes.
HEADER_LIMIT = 16 * 1024

# Bytes that all clients of a door may occupy together; see `Budgets`.
MEMORY = 64 * 1024 * 1024

# Bytes that a TLS handshake in progress occupies, measured: 58 kB.
HANDSHAKE_COST = 64 * 1024

# Smaller response bodies are not counted: the kernel's send buffer takes them, and small answers must continue while
# slow readers of large ones use up the budget.
UNCOUNTED = 16 * 1024


@dataclass(frozen=True, slots=True)
class Budgets:
    """What the clients of one door may occupy, divided so that one use cannot starve the others.

    Attributes:
        answers: response bodies that clients have not read yet.
        bodies: request bodies of requests that are not answered yet.
        handshakes: TLS handshakes in progress.
    """

    answers: ByteBudget = field(default_factory=lambda: ByteBudget(MEMORY // 2))
    bodies: ByteBudget = field(default_factory=lambda: ByteBudget(MEMORY // 4))
    handshakes: ByteBudget = field(default_factory=lambda: ByteBudget(MEMORY // 4))

    def resize(self, total: int) -> None:
        """Apply another total: half for answers, a quarter for request bodies, a quarter for handshakes."""
        self.answers.limit, self.bodies.limit, self.handshakes.limit = total // 2, total // 4, total // 4


class FrameAllowance:
    """Limits the HTTP/2 frames that do nothing, such as empty DATA, WINDOW_UPDATE, PRIORITY and unknown types.

    Each frame costs one unit, whatever its type. Requests, payload and sent DATA earn units, so honest traffic never
    runs out. The frames are counted in the bytes received: h2 reports no event for some of them.
    """

    # Units at the start and at most, and units earned each second. A browser sends some ten frames with its first
    # request; a thousand cost h2 about 50 ms.
    _MOST = 1000.0
    _RATE = 50.0

    def __init__(self, preface: int, now: float) -> None:
        self._left = self._MOST
        self._counted = now
        self._header = b""  # of a frame, as far as it has arrived
        self._skip = preface  # bytes until the next frame header

    def earn_by_request(self) -> None:
        """A request comes with a few frames."""
        self._left += 5.0

    def earn_by_payload(self, size: int) -> None:
        """Received payload pays for its frame from 64 bytes on."""
        self._left += min(size / 64, 1.0)

    def earn_by_sending(self) -> None:
        """A DATA frame of ours leads to two WINDOW_UPDATE frames."""
        self._left += 3.0

    def spend(self, data: bytes, now: float) -> bool:
        """Count the frames that begin in `data`, which was just received; False: there are too many."""
        self._left = min(self._left + (now - self._counted) * self._RATE, self._MOST) - self._frames(data)
        self._counted = now
        return self._left >= 0

    def _frames(self, data: bytes) -> int:
        frames = position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
            else:
                step = min(9 - len(self._header), len(data) - position)  # RFC 9113 section 4.1
                self._header += data[position : position + step]
                if len(self._header) == 9:
                    frames += 1
                    self._skip = int.from_bytes(self._header[:3])
                    self._header = b""
            position += step
        return frames
