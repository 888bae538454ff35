"""A call to the backend, made so that its caller can rely on it: it ends in time, and fails in one way only.

It also keeps the books: how long calls took and how they ended, and whether the backend works, which is told to the log
once when it changes, not with every call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar

import trio

from fingertrio.backend import BackendError
from fingertrio.observe.observer import Observer, error_text

# Operations that write are told apart: where statuses cannot be set, questions may still be answered.
_WRITES = frozenset({"set_user"})

T = TypeVar("T")


class BackendCalls:
    """Makes calls.

    Args:
        deadline: seconds that one call may take.
        observer: told how each ended.
    """

    def __init__(self, deadline: float, observer: Observer) -> None:
        self.deadline = deadline
        self._observer = observer
        self._failed: dict[str, Callable[[], Awaitable[object]]] = {}  # by operation, the last question, if it failed

    async def make(self, operation: str, call: Callable[[], Awaitable[T]], *, label: str | None = None) -> T:
        """What `call` returns. It is counted as `label`, by default as its operation.

        Raises:
            BackendError: whatever went wrong; its cause has been reported.
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

    async def probe(self, instead: Mapping[str, Callable[[], Awaitable[object]]] = MappingProxyType({})) -> None:
        """Ask anew what failed last, or what `instead` has for its operation; never raises.

        So it shows that the backend works again even where nobody else asks any more, because it did not. One operation
        says nothing of another: a backend may list its users and know nothing of any.
        """
        for operation, call in list(self._failed.items()):
            with suppress(BackendError):
                await self.make(operation, instead.get(operation, call), label="probe")

    def _has_worked(self, operation: str) -> None:
        if operation in _WRITES:
            self._observer.recovered("backend_writes")
        else:
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
