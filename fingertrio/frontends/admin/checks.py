"""Whether the front ends can answer: for /readyz, each renders something as for a client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio

from fingertrio.observe.observer import Observer, error_text

# Seconds for one check. It needs no backend and takes about a millisecond; the rest is for a machine without CPU time,
# which is slow but ready.
_DEADLINE = 5.0


class DoorChecks:
    """Runs the checks of all front ends and reports each failure as a condition, such as "http_answers".

    Args:
        checks: by the front end's name. Read at each run: front ends are opened one after the other.
        observer: receives the conditions.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[None]]], observer: Observer) -> None:
        self._checks = checks
        self._observer = observer

    async def run(self) -> None:
        """Run every check."""
        for name, check in self._checks.items():
            condition = f"{name}_answers"
            try:
                with trio.fail_after(_DEADLINE):
                    await check()
            except Exception as error:  # noqa: BLE001 -- any exception here would also reach a client
                self._observer.degraded(condition, f"cannot render an answer: {error_text(error)}", exc=error)
            else:
                self._observer.recovered(condition)
