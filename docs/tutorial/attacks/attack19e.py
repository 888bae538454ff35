import trio

from harness import Step

CLOCK_JUMPS = True


class Good:
    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return "Weaving" if user == "ada" else None


class InBand(Good):
    async def get_user(self, user: str) -> str | None:
        return await super().get_user(user) or "No such user"


class KeepsItsToken(Good):
    """A call that is cancelled keeps one of four tokens."""

    def __init__(self) -> None:
        self._tokens = trio.Semaphore(4)

    async def get_user(self, user: str) -> str | None:
        await self._tokens.acquire()
        answer = await super().get_user(user)
        self._tokens.release()
        return answer


class OneAtATime(Good):
    """Two calls at the same time get in each other's way."""

    def __init__(self) -> None:
        self._asked = ""

    async def get_user(self, user: str) -> str | None:
        self._asked = user
        await trio.lowlevel.checkpoint()
        return await super().get_user(self._asked)


async def attack(step: Step) -> None:
    """Backends with common mistakes are offered: each must be refused, and a good one accepted."""
    check_backend, opening = step["check_backend"], step["opening"]
    await check_backend(lambda: opening(Good()), known={"ada": "Weaving"})
    for bad in (InBand, KeepsItsToken, OneAtATime):
        try:
            await check_backend(lambda bad=bad: opening(bad()), known={"ada": "Weaving"})
        except AssertionError:
            continue
        except ExceptionGroup as group:
            if group.subgroup(AssertionError) is not None:
                continue
            raise
        raise AssertionError(f"{bad.__name__} was accepted")
