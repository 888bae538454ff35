"""For authors of backends and front ends: the contract as a test, fakes, and the real program. It needs only trio.

The contract is a list of clauses, `CLAUSES`. Each is one small function with one sentence, in the chapter where it
belongs. A clause about a capability is skipped if the opened backend does not have it. To add a clause, write the
function in its chapter; its decorator adds it to the list. `tests/testing/` then fails until it has a broken backend
that the new clause rejects.

`program.running` starts the real program with a configuration, for tests through its doors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

from fingertrio.backend import Backend
from fingertrio.testing import (
    at_once,
    changing,
    clearing,
    describing,
    expiring,
    history,
    lifetime,
    reading,
    recent,
    setting,
)
from fingertrio.testing.fakes import FakeBackend, FakeReader
from fingertrio.testing.kit import Clause, Subject

__all__ = ["CLAUSES", "Clause", "FakeBackend", "FakeReader", "check_backend"]

# From what everything depends on to what few backends have, so that the first broken clause is the most informative.
CLAUSES: tuple[Clause, ...] = (
    *reading.chapter.clauses,
    *setting.chapter.clauses,
    *clearing.chapter.clauses,
    *describing.chapter.clauses,
    *expiring.chapter.clauses,
    *changing.chapter.clauses,
    *at_once.chapter.clauses,
    *history.chapter.clauses,
    *recent.chapter.clauses,
    *lifetime.chapter.clauses,
)


async def check_backend(
    open_backend: Callable[[], AbstractAsyncContextManager[Backend]],
    *,
    known: Mapping[str, str] | None = None,
    alter: Callable[[str, str], Awaitable[object]] | None = None,
    clauses: Iterable[Clause] = CLAUSES,
    seconds: float = 10.0,
) -> list[str]:
    """Check a backend against the contract. Await this in a test, under trio's real clock.

        async def test_contract():
            await check_backend(lambda: open_file(FileOptions(path=path)), known={"moshez": "Happy and well"})

    Every clause opens the backend again, once or several times, never two at a time. A backend that can set statuses
    gets new users with random names, which are not removed. For a read-only backend, `known` must name some users.

    Args:
        open_backend: returns, at each call, an async context manager of the same backend over the same source.
        known: users that exist whenever it is opened, and their statuses. Nothing changes these.
        alter: sets a user's status in the source, not through the opened backend, as another program does: writes the
            file, the row. If it is given and the backend emits changes, the backend must emit these too.
        clauses: what to check. `@pytest.mark.parametrize("clause", CLAUSES, ids=str)` makes each a test of its own.
        seconds: the deadline of one clause; a third of it, for each change that a clause waits for. Allow more over a
            slow network.

    Returns:
        The names of the clauses that were checked, without the skipped ones: this shows a capability that the backend
        lacks by mistake, such as a misspelt method.

    Raises:
        AssertionError: the first broken clause, with its sentence and what was seen instead.
        ValueError: the backend cannot set statuses and `known` is empty, so there is nothing to check.
    """
    subject = Subject(open_backend, dict(known or {}), alter, seconds)
    await subject.check_sources()
    return [clause.name for clause in clauses if await clause.holds(subject)]
