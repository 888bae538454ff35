"""Closing so that the answer arrives.

A server that closes a socket whose peer has sent more than was read, or goes on sending, makes the kernel answer with a
reset; a reset can overtake the answer, and the peer may throw away what it had not read yet (RFC 1122 section
4.2.2.13). So nothing of ours is closed right after its answer: the sending side is shut down, which is the close that
the peer sees, and the socket waits here, read and ignored, until the peer closes too or a short time is over.

One task looks after all of them. A socket is looked at after 10 ms, 100 ms and 1 s, by which time nearly every peer has
closed, so that it costs about two system calls and no task of its own, whatever the number. Under overload the oldest
are closed early: then, and only then, a peer that talks on may see a reset.
"""

from __future__ import annotations

import socket
from collections import deque
from math import inf

import trio

# Seconds from one look to the next. After the last look the socket is closed, whatever its peer does.
_LOOKS = (0.01, 0.1, 1.0, 1.0)

# Sockets that may wait at once; a bound on descriptors, not on connections a second.
LINGER_LIMIT = 4096

_DRAIN = 65536  # bytes read at one look; a peer that sends on fills the kernel's buffer and is stopped by TCP


class LingerPool:
    """Sockets that have been answered and wait for their peer to close. `run` must be running."""

    def __init__(self, limit: int = LINGER_LIMIT) -> None:
        self._limit = limit
        self._stages: tuple[deque[tuple[float, socket.SocketType]], ...] = tuple(deque() for _ in _LOOKS)
        self._count = 0
        self._next_look = inf  # trio's time until which `run` sleeps
        self._wanted = trio.Event()  # it must wake earlier
        self._idle = trio.Event()
        self._idle.set()
        self._ended = False  # `run` was cancelled: nobody looks any more

    def __len__(self) -> int:
        return self._count

    def add(self, sock: socket.SocketType) -> None:
        """Take over a socket after its last byte was handed to the kernel. Shuts its sending side down."""
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has reset it: nothing left to protect
            sock.close()
            return
        if self._ended:
            sock.close()
            return
        if self._count >= self._limit:
            self._close_oldest()
        due = trio.current_time() + _LOOKS[0]
        self._stages[0].append((due, sock))
        self._count += 1
        if self._idle.is_set():
            self._idle = trio.Event()
        if due < self._next_look:
            self._wanted.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the sockets until cancelled; then close them all, and those that still come."""
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
            for stage in self._stages:
                while stage:
                    self._close(stage.popleft()[1])
            self._idle.set()

    async def wait_empty(self) -> None:
        """Return when no socket waits: 2.2 s after the last `add` at the latest."""
        await self._idle.wait()

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
            return not sock.recv(_DRAIN, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _close_oldest(self) -> None:
        for stage in reversed(self._stages):
            if stage:
                self._close(stage.popleft()[1])
                return

    def _close(self, sock: socket.SocketType) -> None:
        self._count -= 1
        sock.close()
