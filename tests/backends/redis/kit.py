"""What the tests of the redis backend share."""

from __future__ import annotations

from collections.abc import Callable

import trio

from fingertrio.backend import BackendError, SetsStatus
from fingertrio.service import FingerService
from tests.helpers import ANYONE

CONTRACT_DEADLINE = 60.0  # seconds for one clause of the contract, on a machine that does much else

RECOVERY = 10.0  # seconds after which a condition or a recovery counts as missed; on an idle machine each takes under 2


async def until(condition: Callable[[], bool]) -> None:
    """Poll `condition` until it holds. For states outside of this process, or without an event."""
    with trio.fail_after(RECOVERY):
        await _poll(condition)


async def _poll(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- see `until`
        await trio.sleep(0.005)


async def set_when_possible(store: SetsStatus | FingerService, user: str, status: str) -> None:
    """Set a status as soon as Redis accepts it."""
    with trio.fail_after(RECOVERY):
        while True:
            try:
                if isinstance(store, FingerService):
                    await store.set_user(user, status, writer=ANYONE)
                else:
                    await store.set_user(user, status)
            except BackendError:
                await trio.sleep(0.01)
            else:
                return
