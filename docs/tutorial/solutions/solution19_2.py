"""Ask the backend once for all clients that want the same answer at the same time."""

import trio

from finger19_1 import Backend
from harness import Step


class Call:
    """One call to the backend: its answer, and an event for those who wait for it."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.answers: list[str | None] = []


class SingleFlight:
    """A backend in front of another. The first who asks for a name makes the call, the others wait for it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._calls: dict[str, Call] = {}

    async def get_user(self, user: str) -> str | None:
        while (call := self._calls.get(user)) is not None:
            await call.ended.wait()
            if call.answers:
                return call.answers[0]
            # It was cancelled or it failed, which is no answer for us: the first of us who wakes up asks again.
        call = self._calls[user] = Call()
        try:
            answer = await self._backend.get_user(user)
            call.answers.append(answer)
            return answer
        finally:
            del self._calls[user]
            call.ended.set()


class Slow:
    calls = 0

    async def get_user(self, _user: str) -> str | None:
        self.calls += 1
        await trio.sleep(1)
        return "Weaving"


async def main() -> None:
    slow = Slow()
    backend = SingleFlight(slow)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(backend.get_user, "ada")
    print(f"10 clients, {slow.calls} call")


CLOCK_JUMPS = True


async def check(_step: Step) -> None:
    slow = Slow()
    backend = SingleFlight(slow)
    answers: list[str | None] = []

    async def client() -> None:
        answers.append(await backend.get_user("ada"))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):  # the task that makes the call leaves
            nursery.start_soon(client)
            nursery.start_soon(client)
            await backend.get_user("ada")
    assert answers == ["Weaving", "Weaving"]
    assert slow.calls <= 2


if __name__ == "__main__":
    trio.run(main)
