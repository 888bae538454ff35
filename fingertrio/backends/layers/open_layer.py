"""One open layer: asked, or skipped when it fails. Knows what the backend can do, not which one it is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from typing import TypeVar, TypeVarTuple

import trio

from fingertrio.backend import AnswersAtOnce, Backend, BackendError, TellsStaleness, UserInfo

# Seconds after which an answer without one of the layers is announced as changed. It is the service's default
# `cache_ttl`, the time for which the service keeps an answer from a backend that does not emit changes.
INCOMPLETE_TTL = 1.0

# Seconds between two log messages about one layer's failures. A layer that fails for some names only could otherwise
# fill the log.
_LOG_INTERVAL = 60.0

_log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SkippedError(Exception):
    """A layer failed and is skipped."""


class OpenLayer:
    """An open layer, and whether its last request failed. The arguments are those of `Layer`."""

    def __init__(
        self, name: str, backend: Backend, skip_after: float | None = None, *, falls_through: bool = False
    ) -> None:
        self.name = name
        self.backend = backend
        self.falls_through = falls_through
        self._skip_after = skip_after
        self._answers_at_once = backend if isinstance(backend, AnswersAtOnce) else None
        self._tells_staleness = backend if isinstance(backend, TellsStaleness) else None
        self._failing_since: datetime | None = None
        self._failing_from = inf  # the same on trio's clock
        self._failure_logged = False
        self._logged_at = -inf

    def stale_since(self) -> datetime | None:
        """Since when its answers, or its absence from answers, may be out of date; None: they are current."""
        own = None if self._tells_staleness is None else self._tells_staleness.stale_since()
        # A failure for one name, followed by an answer for the next, makes no other answer stale.
        failing = self._failing_since if trio.current_time() - self._failing_from >= INCOMPLETE_TTL else None
        return min((since for since in (own, failing) if since is not None), default=None)

    def ask_now(self, user: str) -> UserInfo | None:
        """The layer's answer without waiting. Raises LookupError if it has none, for whatever reason."""
        if self._answers_at_once is None:
            raise LookupError(user)
        try:
            info = self._answers_at_once.get_user_now(user)
        except Exception as error:
            raise LookupError(user) from error  # `ask` decides what a failure means
        self._has_answered()
        return info

    async def ask(self, method: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Call `method`, one of the backend's.

        Raises:
            SkippedError: it failed, and the layer may be skipped.
            Exception: it failed, and the layer may not be skipped.
        """
        if self._skip_after is None:
            return await method(*args)
        try:
            with trio.fail_after(self._skip_after):
                answer = await method(*args)
        except Exception as error:
            self._log_failure(error)
            raise SkippedError from error
        self._has_answered()
        return answer

    def _has_answered(self) -> None:
        self._failing_since, self._failing_from = None, inf
        if self._failure_logged:
            self._failure_logged = False
            _log.warning("%s answers again", self.name)

    def _log_failure(self, error: Exception) -> None:
        """Once until it answers again, and at most once a minute.

        An exception other than BackendError and a timeout is a bug in the backend, so it is logged as an error.
        """
        now = trio.current_time()
        if self._failing_since is None:
            self._failing_since, self._failing_from = datetime.now(UTC), now
        if self._failure_logged or now - self._logged_at < _LOG_INTERVAL:
            return
        self._failure_logged, self._logged_at = True, now
        if isinstance(error, trio.TooSlowError):
            _log.warning("%s is skipped: no answer within %g seconds", self.name, self._skip_after)
        else:
            level = logging.WARNING if isinstance(error, BackendError) else logging.ERROR
            _log.log(level, "%s failed and is skipped", self.name, exc_info=error)
