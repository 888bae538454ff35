"""For authors of backends: the contract as a test, and fakes. Public; it needs nothing but trio.

The contract is a list of clauses, `CLAUSES`. Each is one small function with one sentence, in the chapter where it
belongs; a clause that concerns a capability is passed over where the opened backend does not have it. To add a clause,
write the function in its chapter: it is in the list by its decorator. `tests/testing/` then asks for a broken backend
that the new clause notices, and fails until it has one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

from fingertrio.backend import Backend
from fingertrio.testing import changing, expiring, history, lifetime, reading, setting
from fingertrio.testing.fakes import FakeBackend, FakeReader
from fingertrio.testing.kit import Clause, Subject

__all__ = ["CLAUSES", "Clause", "FakeBackend", "FakeReader", "check_backend"]

# From what everything rests on to what few backends have, so that the first clause that breaks tells most.
CLAUSES: tuple[Clause, ...] = (
    *reading.chapter.clauses,
    *setting.chapter.clauses,
    *expiring.chapter.clauses,
    *changing.chapter.clauses,
    *history.chapter.clauses,
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
    """Hold a backend against the contract; to be awaited in a test, under trio's real clock.

        async def test_contract():
            await check_backend(lambda: open_file(FileOptions(path=path)), known={"moshez": "Happy and well"})

    Every clause opens the backend anew, once or several times, never two at a time. A backend that can set gets new
    users with random names, which stay there. A backend that can only be read must say whom it knows.

    Args:
        open_backend: gives, each time it is called, an async context manager of the same backend over the same source.
        known: users that are there whenever it is opened, and their statuses. Nothing changes these.
        alter: sets a user's status in the source, without asking the opened backend, as other people do: writes
            the file, the row. Where it is given and the backend emits changes, it must hear of these too.
        clauses: what to check. `@pytest.mark.parametrize("clause", CLAUSES, ids=str)` makes each a test of its own.
        seconds: how long one clause may take, and a third of that any single change it waits for. Over a slow network,
            give more.

    Returns:
        The names of the clauses that were checked, those passed over left out: a capability that the backend should
        have and, by a misspelt method, has not, shows here.

    Raises:
        AssertionError: the first clause that does not hold, with its sentence and what was seen instead.
        ValueError: the backend cannot set and `known` is empty, so nothing could be learned from it.
    """
    subject = Subject(open_backend, dict(known or {}), alter, seconds)
    await subject.check_sources()
    return [clause.name for clause in clauses if await clause.holds(subject)]
