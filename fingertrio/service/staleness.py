"""Whether answers are out of date, and since when: what a backend says of its age, followed for whoever shows it.

A backend does not have to announce that. It is looked at with every answer, which is marked with what is found, and
about once a second, so that those who show answers, or keep them, learn of it though nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import trio

from fingertrio.backend import Backend, TellsStaleness
from fingertrio.observe.observer import Observer, error_text
from fingertrio.wire.times import in_utc

_LOOKED_AT = 1.0  # seconds between two looks, and so the time for which an answer that is kept may say otherwise


class Staleness:
    """Followed while `follow` runs.

    Args:
        backend: that may, or may not, tell its staleness.
        observer: told, as a condition that is not essential. The log is left to the backend, which knows more.
        forget: called when the staleness has become another, since what was kept of answers says otherwise.

    Attributes:
        since: since when answers may be out of date; None: they are true.
        changed: set, and replaced, when `since` has become another.
    """

    def __init__(self, backend: Backend, observer: Observer, forget: Callable[[], None]) -> None:
        self._ages = backend if isinstance(backend, TellsStaleness) else None
        self._observer = observer
        self._forget = forget
        self.since: datetime | None = None
        self.changed = trio.Event()

    def look(self) -> datetime | None:
        """Since when what the backend has just answered may be out of date; where it cannot tell, what it told last."""
        try:
            return self._ask()
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with the backend, its answers are given
            self._cannot_tell(error)
            return self.since

    async def follow(self) -> None:
        """Notice when answers begin to be out of date, and when that is over."""
        if self._ages is None:
            return
        while True:
            try:
                since = self._ask()
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with the backend, the doors stay open
                self._cannot_tell(error)
            else:
                self._take(since)
            await trio.sleep(_LOOKED_AT)

    def _ask(self) -> datetime | None:
        since = None if self._ages is None else self._ages.stale_since()
        # No later than now, whatever the clock says by which the backend knows.
        return None if since is None else min(in_utc(since), datetime.now(UTC))

    def _cannot_tell(self, error: Exception) -> None:
        self._observer.degraded("stale_answers", error_text(error), exc=error, essential=False, unforeseen=True)

    def _take(self, since: datetime | None) -> None:
        if since is None:
            self._observer.recovered("stale_answers")
        else:
            reason = f"what answers come from is away; they are as of {since:%Y-%m-%d %H:%M:%S} UTC"
            self._observer.degraded("stale_answers", reason, essential=False, quiet=True)
        if since != self.since:
            self.since = since
            self._forget()
            self.changed.set()
            self.changed = trio.Event()
