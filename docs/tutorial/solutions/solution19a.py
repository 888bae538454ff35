"""A status that ends: `set_user` with a time after which the user has none. trio.current_time makes it testable."""

import trio

from finger19_3 import SetsStatus
from finger19a import MemoryBackend
from finger19a import main as serve
from harness import Step

CLOCK_JUMPS = True


class ForgettingBackend(MemoryBackend):
    """Each status is forgotten an hour after it was set."""

    def __init__(self, lifetime: float = 3600) -> None:
        super().__init__()
        self._lifetime = lifetime
        self._ends: dict[str, float] = {}

    async def get_user(self, user: str) -> str | None:
        if self._ends.get(user, float("inf")) <= trio.current_time():
            del self._users[user], self._ends[user]
        return await super().get_user(user)

    async def set_user(self, user: str, status: str) -> None:
        await super().set_user(user, status)
        self._ends[user] = trio.current_time() + self._lifetime


async def main(host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    await serve(ForgettingBackend(), host, task_status=task_status)


async def check(step: Step) -> None:
    assert isinstance(ForgettingBackend(), SetsStatus)
    async with step.running():
        assert await step.ask(b"ada\r\nCoffee\r\n", port=1079) == b"OK\r\n"
        assert await step.ask(b"ada\r\n") == b"Coffee\r\n"
        await trio.sleep(3601)
        assert await step.ask(b"ada\r\n") == b"No such user\r\n"


if __name__ == "__main__":
    trio.run(main)
