"""Where a server reports what happens, and how the failure of one connection stays in that connection."""

from __future__ import annotations

from typing import Protocol

import trio


class Reports(Protocol):
    """Where the loop reports events: the observer, or a test."""

    def refused(self, door: str, reason: str) -> None: ...
    def connected(self, door: str, change: int) -> None: ...
    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...
    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...
    def flush(self) -> None: ...


class Guard:
    """Ends a connection's failure in that connection: a peer that is gone needs no report, a bug does."""

    def __init__(self, reports: Reports, door: str, peer: str) -> None:
        self._reports = reports
        self._door = door
        self._peer = peer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        if not isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError):
            self._reports.error("connection_failed", door=self._door, peer=self._peer, exc=error)
        return True
