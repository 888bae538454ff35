"""A lost update: read, wait, write. Without a lock, every task that read before the first write is lost."""

import trio

from harness import Step


class Careless:
    def __init__(self) -> None:
        self.count = 0

    async def add(self) -> None:
        seen = self.count
        await trio.lowlevel.checkpoint()  # a database, say
        self.count = seen + 1


class Careful(Careless):
    def __init__(self) -> None:
        super().__init__()
        self._lock = trio.Lock()

    async def add(self) -> None:
        async with self._lock:
            await super().add()


async def main(counter: Careless | None = None) -> None:
    counter = counter or Careful()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(counter.add)
    print(f"{type(counter).__name__}: {counter.count} of 10")


async def check(step: Step) -> None:
    careless, careful = Careless(), Careful()
    await step.main(careless)
    await step.main(careful)
    assert careless.count == 1
    assert careful.count == 10


if __name__ == "__main__":
    trio.run(main)
