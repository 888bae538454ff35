"""Writes log lines in a thread of its own, so that a log that is not read never blocks the program.

A write to a full pipe blocks until its reader reads, and blocks every client if the event loop makes it. Here the
callers put lines into a bounded queue and return; the thread writes. When the queue is full, new lines are dropped and
counted, and once the log can be written again one line reports how many.

A disk can be full in the middle of a line. The thread keeps the rest of that line and writes it first when there is
room again, so that the file holds whole lines only.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

# Bytes that wait for a log that is not read: about 10,000 lines of queries. The thread may hold as much again.
QUEUE_SIZE = 2 * 1024 * 1024

# Seconds that lines wait for more. A write for each line would cost the express lane a switch of threads; this
# limits the switches to twenty per second. Warnings and errors do not wait.
LINGER = 0.05

# Seconds for writing the queue at the end of the program.
CLOSE_TIMEOUT = 1.0


class LogWriter:
    """A sink for log lines: `write` puts them into the queue, `flush` has them written without `LINGER`.

    Thread-safe. The thread starts with the first line, and again in a forked child.

    Args:
        descriptor: where lines are written; stays open.
        lost: called with the number of lines that could not be queued or written, by one thread at a time.
        lost_line: makes the line that reports a number of lost lines.
        encoding: of the lines.
    """

    def __init__(
        self,
        descriptor: int,
        lost: Callable[[int], None],
        lost_line: Callable[[int], str],
        *,
        encoding: str = "utf-8",
    ) -> None:
        self._descriptor = descriptor
        self._lost = lost
        self._lost_line = lost_line
        self._encoding = encoding
        self.reset()
        _WRITERS.add(self)

    def reset(self) -> None:
        """Start anew in a forked child: the parent writes what is queued, and its thread is not here."""
        self._output = _LineOutput(self._descriptor)
        self._lock = threading.RLock()  # a finalizer that runs while it is held may log too
        self._queue: list[str] = []
        self._size = 0
        self._unreported = 0
        self._has_lines = threading.Event()
        self._is_urgent = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def write(self, lines: str) -> None:
        """Queue whole lines. Never waits for the log."""
        with self._lock:
            if self._size + len(lines) > QUEUE_SIZE:
                self._count_lost(lines.count("\n"))
                return
            self._queue.append(lines)
            self._size += len(lines)
            if self._size > QUEUE_SIZE // 2:
                self.flush()
            if not self._has_lines.is_set():
                self._has_lines.set()
            if self._thread is None:
                self._start()

    def flush(self) -> None:
        """Have the queued lines written at once. Does not wait."""
        if not self._is_urgent.is_set():
            self._is_urgent.set()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Write the queued lines and end the thread; give up after `timeout` seconds."""
        with self._lock:
            thread = self._thread
            self._is_closing = thread is not None
            self._has_lines.set()
            self._is_urgent.set()
        if thread is not None:
            thread.join(timeout)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        with suppress(RuntimeError):  # no more threads: the next line tries again
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            self._has_lines.wait()
            self._is_urgent.wait(LINGER)
            with self._lock:
                self._is_urgent.clear()
                self._has_lines.clear()
                queue, self._queue, self._size = self._queue, [], 0
                unreported, self._unreported = self._unreported, 0
            if unreported:
                queue.append(self._lost_line(unreported))
            failed = self._output.write("".join(queue).encode(self._encoding, "backslashreplace"))
            with self._lock:
                if failed:
                    self._count_lost(failed - bool(unreported))  # the report itself is not a lost line
                    self._unreported += unreported
                if self._is_closing and not self._queue:
                    self._is_closing = False
                    self._thread = None
                    return

    def _count_lost(self, lines: int) -> None:
        if lines > 0:
            self._unreported += lines
            self._lost(lines)


class _LineOutput:
    """Writes whole lines to a descriptor, also across failures in the middle of one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""  # of a line whose beginning has been written
        self._end = 0  # of a file, where that beginning ends
        if _ends_within_a_line(descriptor):  # an earlier run met a full disk
            self._rest, self._end = b"\n", os.fstat(descriptor).st_size

    def write(self, data: bytes) -> int:
        """Write `data`, which consists of lines. Returns how many of its lines are lost.

        A line whose beginning has been written is not lost: the next call completes it.
        """
        if self._rest:
            if self._has_moved():
                self._rest = b""
            else:
                self._rest = self._rest[self._write(self._rest) :]
                if self._rest:
                    return data.count(b"\n")
        written = self._write(data)
        if written == len(data):
            return 0
        if not written or data[written - 1 : written] == b"\n":
            return data.count(b"\n", written)
        end_of_line = data.index(b"\n", written) + 1
        self._rest = data[written:end_of_line]
        return data.count(b"\n", end_of_line)

    def _write(self, data: bytes) -> int:
        """Write as much as possible; returns how much that was."""
        written = 0
        with memoryview(data) as view:
            while written < len(data):
                try:
                    written += os.write(self._descriptor, view[written:])
                except BlockingIOError:  # another program has made the descriptor non-blocking
                    self._wait_writable()
                except OSError:
                    self._end = self._size()
                    break
        return written

    def _wait_writable(self) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()

    def _has_moved(self) -> bool:
        """Whether the file was truncated or another program has written since the line began."""
        return self._size() != self._end

    def _size(self) -> int:
        try:
            status = os.fstat(self._descriptor)
        except OSError:  # a library has closed it
            return -1
        return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _ends_within_a_line(descriptor: int) -> bool:
    """Whether `descriptor` is a file whose last line has no end."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return False
        reader = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(reader, 1, status.st_size - 1) != b"\n"
        finally:
            os.close(reader)
    except OSError:
        return False


_WRITERS: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _reset_all() -> None:
    for writer in _WRITERS:
        writer.reset()


os.register_at_fork(after_in_child=_reset_all)
