"""What the tests of the kit share: backends that are right but for one thing, and a way to see that it is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fingertrio.testing import CLAUSES, check_backend, expiring, lifetime

KNOWN = {"moshez": "Happy and well", "alice": "In the garden"}

# Clauses that wait for the calendar or for threads, so that their time is real. In the others nothing but a hanging
# backend is waited for, and that in no time.
REAL_TIME = {
    "an_expiry_is_told",
    "ended_statuses_are_not_recent",
    "history_keeps_what_ended",
    "at_once_respects_until",
    *(clause.name for chapter in (expiring.chapter, lifetime.chapter) for clause in chapter.clauses),
}

Notice = Callable[..., str]
Open = Callable[[], AbstractAsyncContextManager[Any]]


def _opening(make: Callable[[dict[str, str]], object]) -> Open:

    @asynccontextmanager
    async def open_backend() -> AsyncIterator[Any]:
        yield make(dict(KNOWN))

    return open_backend


@pytest.fixture
def opening() -> Callable[[Callable[[dict[str, str]], object]], Open]:
    """A function that gives, for a class, what opens a new backend over KNOWN and does nothing else."""
    return _opening


@pytest.fixture
def notice() -> Notice:
    """A function that checks one clause of a broken backend and returns the message of the failure there must be."""

    def check(
        name: str,
        broken: type | None = None,
        *,
        open_backend: Open | None = None,
        alter: Callable[[str, str], Awaitable[object]] | None = None,
    ) -> str:
        if open_backend is None:
            assert broken is not None
            open_backend = _opening(broken)
        clauses = [clause for clause in CLAUSES if clause.name == name]
        assert clauses, f"there is no clause {name}"
        run = partial(check_backend, open_backend, known=KNOWN, alter=alter, clauses=clauses, seconds=1.0)
        with pytest.raises(AssertionError) as caught:
            trio.run(run, clock=None if name in REAL_TIME else MockClock(autojump_threshold=0))
        message = str(caught.value)
        sentence, seen = message.split("\nwhat was seen: ")
        assert sentence.startswith(f"{name}: ")
        assert len(sentence) > len(name) + 20
        assert seen
        return seen

    return check
