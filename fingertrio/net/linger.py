"""Close connections so that the answer arrives.

If a server closes a socket with unread input, or the peer sends more afterwards, the kernel sends a reset. A reset can
overtake the answer, and the peer may then discard what it had not read yet (RFC 1122 section 4.2.2.13). So a socket is
not closed right after its answer. Its sending side is shut down, which the peer sees as the close, and the socket waits
here, its input read and discarded, until the peer closes too or a short time has passed.

One task serves all waiting sockets. It checks a socket after 10 ms, 100 ms and 1 s. By then nearly every peer has
closed, so a socket costs about two system calls and no task of its own. Under overload the oldest sockets are closed
early: only then can a peer that still sends see a reset. When the server stops, the wait is 0.3 s at most.
"""

from __future__ import annotations

import socket
from collections import deque
from math import inf

import trio

# Seconds from one check to the next. The last check closes the socket in any case.
_LOOKS = (0.01, 0.1, 1.0, 1.0)

# Sockets that may wait at once: a bound on descriptors, not on connections per second.
LINGER_LIMIT = 4096

# Where input is read to, and forgotten. TCP stops a peer that sends more than fits into the kernel's buffer.
_DRAIN = bytearray(65536)
_DONT_WAIT = int(socket.MSG_DONTWAIT)

# Seconds that a stop waits for peers to close, and between two checks then. The end of the program must not depend on
# peers that keep their connections open.
_STOP = 0.3
_STOP_LOOK = 0.01


class LingerPool:
    """Answered sockets that wait for their peer to close. `run` must be running."""

    def __init__(self, limit: int = LINGER_LIMIT) -> None:
        self._limit = limit
        self._stages: tuple[deque[tuple[float, socket.SocketType]], ...] = tuple(deque() for _ in _LOOKS)
        self._count = 0
        self._next_look = inf  # Trio's time until which `run` sleeps
        self._wanted = trio.Event()  # set: `run` must wake earlier
        self._idle = trio.Event()
        self._idle.set()
        self._ended = False  # `run` was cancelled

    def __len__(self) -> int:
        return self._count

    def add(self, sock: socket.SocketType, now: float | None = None) -> None:
        """Take over a socket whose last byte was passed to the kernel, and shut down its sending side.

        `now` is Trio's time, or a few milliseconds before, from a caller that knows it: reading it takes half of this.
        """
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has reset the connection
            sock.close()
            return
        if self._ended:
            sock.close()
            return
        if self._count >= self._limit:
            self._close_oldest()
        due = (trio.current_time() if now is None else now) + _LOOKS[0]
        self._stages[0].append((due, sock))
        self._count += 1
        if self._idle.is_set():
            self._idle = trio.Event()
        if due < self._next_look:
            self._wanted.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the sockets until cancelled. Then close all of them, and every socket that is added later."""
        self._ended = False
        task_status.started()
        try:
            while True:
                self._wanted = trio.Event()
                self._next_look = min((stage[0][0] for stage in self._stages if stage), default=inf)
                with trio.move_on_at(self._next_look):
                    await self._wanted.wait()
                self._look()
                if not self._count:
                    self._idle.set()
        finally:
            self._ended = True
            self._close_all()

    async def wait_empty(self) -> None:
        """Return when no socket waits: at most 2.2 s after the last `add`."""
        await self._idle.wait()

    async def finish(self) -> None:
        """Close every socket, 0.3 s from now at the latest: the server stops. Nothing may be added any more."""
        deadline = trio.current_time() + _STOP
        while self._count and trio.current_time() < deadline:
            for stage in self._stages:
                for _ in range(len(stage)):
                    due, sock = stage.popleft()
                    if self._has_ended(sock):
                        self._close(sock)
                    else:
                        stage.append((due, sock))
            await trio.sleep(_STOP_LOOK)
        self._close_all()

    def _look(self) -> None:
        now = trio.current_time()
        for number, stage in enumerate(self._stages):
            while stage and stage[0][0] <= now:
                sock = stage.popleft()[1]
                if number + 1 == len(_LOOKS) or self._has_ended(sock):
                    self._close(sock)
                else:
                    self._stages[number + 1].append((now + _LOOKS[number + 1], sock))

    @staticmethod
    def _has_ended(sock: socket.SocketType) -> bool:
        try:
            return not sock.recv_into(_DRAIN, 0, _DONT_WAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _close_oldest(self) -> None:
        for stage in reversed(self._stages):
            if stage:
                self._close(stage.popleft()[1])
                return

    def _close_all(self) -> None:
        for stage in self._stages:
            while stage:
                self._close(stage.popleft()[1])
        self._idle.set()

    def _close(self, sock: socket.SocketType) -> None:
        self._count -= 1
        sock.close()
