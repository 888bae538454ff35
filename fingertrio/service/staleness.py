"""Whether answers are out of date, and since when.

A backend need not announce that it became stale. The service checks with every answer, which it marks accordingly, and
about once a second, so that front ends that show or keep answers notice it without a query.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import trio

from fingertrio.backend import Backend, TellsStaleness
from fingertrio.observe.observer import Observer, error_text
from fingertrio.wire.times import in_utc

_INTERVAL = 1.0  # seconds between two checks, and so the time for which a cached answer may be marked wrongly


class Staleness:
    """The staleness of one backend, followed while `follow` runs.

    Args:
        backend: any backend; one without the capability is never stale.
        observer: gets a condition that is not essential. Logging is left to the backend, which knows more.
        forget: called when the staleness changes, since cached answers are marked with the old one.

    Attributes:
        since: the time since which answers may be out of date; None: up to date.
        changed: set, and replaced, when `since` changes.
    """

    def __init__(self, backend: Backend, observer: Observer, forget: Callable[[], None]) -> None:
        self._ages = backend if isinstance(backend, TellsStaleness) else None
        self._observer = observer
        self._forget = forget
        self.since: datetime | None = None
        self.changed = trio.Event()

    def look(self) -> datetime | None:
        """The staleness of the answer that the backend has just given; if the backend fails, the last known one."""
        try:
            return self._ask()
        except Exception as error:  # noqa: BLE001 -- a backend that cannot say is still asked
            self._cannot_tell(error)
            return self.since

    async def follow(self) -> None:
        """Notice when answers become out of date, and when they are up to date again."""
        if self._ages is None:
            return
        while True:
            try:
                since = self._ask()
            except Exception as error:  # noqa: BLE001 -- the doors stay open whatever the backend raises
                self._cannot_tell(error)
            else:
                self._take(since)
            await trio.sleep(_INTERVAL)

    def _ask(self) -> datetime | None:
        since = None if self._ages is None else self._ages.stale_since()
        # No later than now: the backend's source may have another clock.
        return None if since is None else min(in_utc(since), datetime.now(UTC))

    def _cannot_tell(self, error: Exception) -> None:
        self._observer.degraded("stale_answers", error_text(error), exc=error, essential=False, unforeseen=True)

    def _take(self, since: datetime | None) -> None:
        if since is None:
            self._observer.recovered("stale_answers")
        else:
            reason = f"the source of the answers is unavailable; they are as of {since:%Y-%m-%d %H:%M:%S} UTC"
            self._observer.degraded("stale_answers", reason, essential=False, quiet=True)
        if since != self.since:
            self.since = since
            self._forget()
            self.changed.set()
            self.changed = trio.Event()
