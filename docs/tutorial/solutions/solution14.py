"""Read the file only when its size or its time of change is another one. Looking costs less than reading."""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from finger08 import handle
from finger14 import FILE, FileService
from harness import Step

CLOCK_JUMPS = True


class LookingService(FileService):
    """A service that looks before it reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path
        self._seen: tuple[int, int] | None = None
        self.reads = 0

    async def _read(self) -> None:
        now = await trio.to_thread.run_sync(os.stat, self._file)
        if (now.st_mtime_ns, now.st_size) == self._seen:
            return
        self.reads += 1
        await super()._read()
        self._seen = (now.st_mtime_ns, now.st_size)  # only now: a bad file is read again until it is good


async def main(path: Path = FILE, host: str = "127.0.0.1", port: int = 7979) -> None:
    service = LookingService(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(partial(trio.serve_tcp, partial(handle, service.get_user), port, host=host))


async def check(step: Step) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "users.txt")
        path.write_text("ada: Weaving\n")
        service: LookingService = step["LookingService"](path)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.watch)
            await trio.sleep(20)
            assert service.reads == 1
            new = Path(folder, "new.txt")
            new.write_text("ada: Reading a book\n")
            new.replace(path)
            while await service.get_user("ada") != "Reading a book":  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(1)
            await trio.sleep(20)
            assert service.reads == 2
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
