"""Calls to the backend, with a deadline, that fail with BackendError only.

Each call is measured and counted. Whether the backend works is logged when that changes, not with every call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import perf_counter
from types import MappingProxyType
from typing import TypeVar

import trio

from fingertrio.backend import BackendError
from fingertrio.observe.observer import Observer, error_text

# Writing is a condition of its own: a backend that cannot set statuses may still answer queries. And a write is never
# repeated to see whether it works again.
_WRITES = frozenset({"set_user", "clear_user", "set_details"})

T = TypeVar("T")


class BackendCalls:
    """Makes the calls.

    Args:
        deadline: seconds that one call may take.
        observer: gets the outcome of each call.
    """

    def __init__(self, deadline: float, observer: Observer) -> None:
        self.deadline = deadline
        self._observer = observer
        self._failed: dict[str, Callable[[], Awaitable[object]]] = {}  # by operation, the last call, if it failed

    async def make(self, operation: str, call: Callable[[], Awaitable[T]], *, label: str | None = None) -> T:
        """The result of `call`. It is counted as `label`; by default, as its operation.

        Raises:
            BackendError: the call failed; its cause has been reported.
        """
        started = trio.current_time()
        outcome = "error"
        try:
            with trio.fail_after(self.deadline):
                value = await call()
            outcome = "ok"
        except trio.Cancelled:
            outcome = "cancelled"
            raise
        except BackendError as error:
            self._has_failed(operation, call, error_text(error))
            raise
        except trio.TooSlowError as error:
            outcome = "deadline"
            self._has_failed(operation, call, f"no answer within {self.deadline:g} seconds")
            raise BackendError from error
        except Exception as error:
            self._has_failed(operation, call, error_text(error), bug=error)
            raise BackendError from error
        finally:
            self._observer.backend_call(label or operation, outcome, trio.current_time() - started)
        self._has_worked(operation)
        return value

    def make_now(self, operation: str, call: Callable[[str], T], argument: str) -> T:
        """The result of a `call` that does not wait, counted like that of `make`; what it raises is not counted."""
        started = perf_counter()
        value = call(argument)
        self._observer.metrics.backend_call(operation, "ok", perf_counter() - started)
        self._has_worked(operation)
        return value

    async def probe(self, instead: Mapping[str, Callable[[], Awaitable[object]]] = MappingProxyType({})) -> None:
        """Repeat the calls that failed last, or what `instead` has for their operations. Never raises.

        This notices the backend's recovery even if no client asks. Each operation is probed by itself: a backend may
        be able to list its users and unable to answer for one.
        """
        for operation, call in list(self._failed.items()):
            with suppress(BackendError):
                await self.make(operation, instead.get(operation, call), label="probe")

    def _has_worked(self, operation: str) -> None:
        if operation in _WRITES:
            self._observer.recovered("backend_writes")
        elif self._failed:
            self._failed.pop(operation, None)
            if not self._failed:
                self._observer.recovered("backend")

    def _has_failed(
        self, operation: str, call: Callable[[], Awaitable[object]], reason: str, *, bug: Exception | None = None
    ) -> None:
        writing = operation in _WRITES
        if not writing:
            self._failed[operation] = call
        self._observer.degraded(
            "backend_writes" if writing else "backend",
            f"{operation}: {reason}",
            exc=bug,
            essential=not writing,
            unforeseen=bug is not None,
        )
