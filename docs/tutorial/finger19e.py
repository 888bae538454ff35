"""The contract as a test: check_backend(open, known) fails for a backend that breaks a sentence of it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from finger07 import USERS
from finger19_1 import Backend
from finger19_3 import SetsStatus
from finger19a import MemoryBackend

Open = Callable[[], AbstractAsyncContextManager[Backend]]
NAMES = ["no-user-of-this-name", "", "-x", "../../etc/passwd", "a" * 1000, "Straße", "\N{CJK UNIFIED IDEOGRAPH-4E00}"]
PATIENCE = 10.0  # seconds for each part
TURNS = 10  # a call is cancelled after one turn of the scheduler, after two, and so on
ROUNDS = 10  # so often, for what is lost one by one, such as the tokens of a pool


async def check_unknown(backend: Backend, _known: Mapping[str, str]) -> None:
    for name in NAMES:
        answer = await backend.get_user(name)
        assert answer is None, f"there is no user {name[:30]!r}, but get_user returns {answer!r} and not None"


async def check_known(backend: Backend, known: Mapping[str, str]) -> None:
    for user, status in known.items():
        answer = await backend.get_user(user)
        assert answer == status, f"get_user({user!r}) returns {answer!r} and not {status!r}"


async def check_together(backend: Backend, known: Mapping[str, str]) -> None:
    """Twenty tasks ask for different names at the same time."""
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(check_unknown, backend, known)
            nursery.start_soon(check_known, backend, known)


async def check_cancelling(backend: Backend, known: Mapping[str, str]) -> None:
    """Calls are cancelled after some turns of the scheduler, wherever they are then. The next call must work."""
    for turns in [*range(TURNS)] * ROUNDS:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.get_user, next(iter(known)))
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    await check_known(backend, known)


async def check_backend(open_backend: Open, known: Mapping[str, str]) -> None:
    """Raise AssertionError, perhaps in a group, with the sentence of the contract that does not hold."""
    async with open_backend() as backend:
        for check in (check_unknown, check_known, check_together, check_cancelling):
            with trio.move_on_after(PATIENCE) as scope:
                await check(backend, known)
            assert not scope.cancelled_caught, f"{check.__name__}: not done within {PATIENCE:g} s"
        if isinstance(backend, SetsStatus):
            await backend.set_user("newcomer", "Just arrived")
            assert await backend.get_user("newcomer") == "Just arrived", "what was set is not what is returned"


@asynccontextmanager
async def opening(backend: Backend) -> AsyncIterator[Backend]:
    """Open a backend that owns nothing."""
    yield backend


async def main() -> None:
    await check_backend(lambda: opening(MemoryBackend(USERS)), known=USERS)
    print("MemoryBackend keeps the contract.")


if __name__ == "__main__":
    trio.run(main)
