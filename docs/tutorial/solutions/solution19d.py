"""The last good answer, for a while, when the other server is away: older, and it says so."""

import trio

from finger19_1 import Backend, BackendError
from harness import Step

CLOCK_JUMPS = True
KEPT = 600.0  # seconds


class Remembering:
    def __init__(self, backend: Backend, limit: int = 1000) -> None:
        self._backend = backend
        self._limit = limit
        self._answers: dict[str, tuple[float, str]] = {}

    async def get_user(self, user: str) -> str | None:
        try:
            status = await self._backend.get_user(user)
        except BackendError:
            when, status = self._answers.get(user, (0.0, ""))
            age = trio.current_time() - when
            if not status or age > KEPT:
                raise
            return f"{status} (as of {age / 60:.0f} minutes ago)"
        if status is not None and (user in self._answers or len(self._answers) < self._limit):
            self._answers[user] = (trio.current_time(), status)
        return status


class Moody:
    away = False

    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise BackendError("not today")
        return "Weaving" if user == "ada" else None


async def main() -> None:
    moody = Moody()
    backend = Remembering(moody)
    await backend.get_user("ada")
    moody.away = True
    print(await backend.get_user("ada"))


async def check(_step: Step) -> None:
    moody = Moody()
    backend = Remembering(moody)
    assert await backend.get_user("ada") == "Weaving"
    moody.away = True
    await trio.sleep(300)
    assert await backend.get_user("ada") == "Weaving (as of 5 minutes ago)"
    await trio.sleep(400)
    failed = False
    try:
        await backend.get_user("ada")
    except BackendError:
        failed = True
    assert failed


if __name__ == "__main__":
    trio.run(main)
