"""Connections that are kept and reconnected, each used by one thread at a time.

A kept connection may have ended since its last use: the server was restarted, or something in between forgot it. So a
conversation that fails on a kept connection is repeated once on a new one; all of ours can be repeated without harm.
A server that does not answer in time is not asked a second time.
While no server can be reached, attempts are made at growing intervals, and between them everything fails at once.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from ldap3.core.exceptions import LDAPExceptionError
from pyasn1.error import PyAsn1Error

from fingertrio.wire.backoff import Backoff
from fingertrio_ldap.connection import VerifiedTLS, begin, discard, prepare
from fingertrio_ldap.errors import BrokenConnectionError, DirectoryError
from fingertrio_ldap.options import LDAPOptions, uses_tls

# Seconds: first and longest pause between two attempts to connect. A short outage costs little more than its own time,
# and a long one needs no more than an attempt now and then.
_BACKOFF = (0.25, 15.0)

# What ldap3 raises and lets through. The last three are what its decoder meets in bytes that are not LDAP.
_FAILURES = (LDAPExceptionError, PyAsn1Error, OSError, LookupError, TypeError, ValueError)

T = TypeVar("T")


class Pool:
    """Connections to the first server that answers. Thread-safe.

    Args:
        options: servers, time-outs, who to bind as.
        clock: seconds, for the pauses between attempts.
    """

    def __init__(self, options: LDAPOptions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._tls = VerifiedTLS(options) if uses_tls(options) else None
        self._lock = threading.Lock()  # guards what follows; never held while waiting for the network
        self._idle: list[Any] = []
        self._busy: set[Any] = set()
        self._closed = False
        self._backoff = Backoff(*_BACKOFF)
        self._next_attempt = -math.inf
        self._last_failure = ""

    def run(self, conversation: Callable[[Any], T]) -> T:
        """What `conversation` returns with a connection, kept or new. It may be called twice. Raises DirectoryError."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            if connection is not None:
                self._busy.add(connection)
        if connection is not None:
            with suppress(BrokenConnectionError):
                return self._use(connection, conversation)
            with self._lock:  # what ended this one has most likely ended the others too
                stale, self._idle = self._idle, []
            for each in stale:
                discard(each)
        try:
            return self._use(self._connect(), conversation)
        except BrokenConnectionError as error:
            raise DirectoryError(str(error)) from error

    def close(self) -> None:
        """Close every connection. A conversation that is under way fails."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._busy:
                if (sock := connection.socket) is not None:  # the thread that uses it may close it at any moment
                    with suppress(OSError):
                        # Wakes that thread. Not the method of an SSLSocket, which is not for two threads.
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for connection in idle:
            discard(connection)

    def _use(self, connection: Any, conversation: Callable[[Any], T]) -> T:
        """Raises DirectoryError for what was refused or late, and BrokenConnectionError if the connection has ended."""
        good = False
        try:
            value = conversation(connection)
            good = True
        except DirectoryError:
            good = True
            raise
        except TimeoutError as error:  # of the socket; no request waits for a second time-out
            raise DirectoryError(f"{connection.server.host}: {_words(error)}") from error
        except _FAILURES as error:
            raise BrokenConnectionError(f"{connection.server.host}: {_words(error)}") from error
        finally:
            with self._lock:
                self._busy.discard(connection)
                if good := good and not self._closed:
                    self._idle.append(connection)
            if not good:
                discard(connection)
        return value

    def _connect(self) -> Any:
        """A new connection, bound, among the busy ones. Raises DirectoryError if no server accepts one."""
        with self._lock:
            if (pause := self._next_attempt - self._clock()) > 0:
                raise DirectoryError(f"{self._last_failure} (next attempt in {pause:.1f} s)")
        failures = []
        for server in self._options.servers:
            try:
                connection = self._open(server)
            except (*_FAILURES, DirectoryError) as error:
                failures.append(f"{server}: {_words(error)}")
                continue
            with self._lock:
                self._backoff.reset()
                self._next_attempt = -math.inf
            return connection
        with self._lock:
            self._last_failure = "; ".join(failures)
            self._next_attempt = self._clock() + self._backoff.pause()
        raise DirectoryError(self._last_failure)

    def _open(self, server: str) -> Any:
        connection = prepare(self._options, server, self._tls)
        with self._lock:
            if self._closed:
                raise DirectoryError("the backend has been closed")
            self._busy.add(connection)
        try:
            begin(self._options, connection)
        except BaseException:
            with self._lock:
                self._busy.discard(connection)
            discard(connection)
            raise
        return connection


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
