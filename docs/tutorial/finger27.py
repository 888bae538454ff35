"""When things go wrong: a door that fails is started again, the others go on, and a stop lets clients finish."""

import logging
import signal
from collections.abc import AsyncIterator, Mapping
from functools import partial

import trio

from doors25 import Start
from finger19_1 import Backend
from finger19_3 import FingerService
from finger19a import MemoryBackend
from house.doors import finger, serve_client

LOG = logging.getLogger("finger")
GRACE = 5.0  # seconds that clients have to finish when the program stops
SHORTEST, LONGEST = 0.5, 30.0  # seconds before a failed door is started again
HEALTHY, TOO_MANY = 60.0, 6  # failures are forgotten after so many seconds; after so many in a row the program ends


class Grace:
    """Shields conversations from the end of the program, for a while."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()

    async def handle(self, handler: Start, stream: trio.SocketStream) -> None:
        """Hold a conversation that is not cancelled with the server, but by `begin`, when its time is over."""
        with trio.CancelScope(shield=True) as scope:
            self._scopes.add(scope)
            try:
                await handler(stream)
            finally:
                self._scopes.discard(scope)

    def begin(self, seconds: float) -> None:
        """Give all conversations so many seconds from now. 0 ends them at once."""
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, trio.current_time() + seconds)

    async def end_at_next(self, signals: AsyncIterator[int]) -> None:
        await anext(signals)
        self.begin(0)


async def supervise(name: str, start: Start, *, task_status: trio.TaskStatus[None]) -> None:
    """Run a door. Its first start must succeed; after a failure it is started again, a little later each time."""
    failures, ready = 0, False
    while True:
        begun = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(start)
                if not ready:
                    ready = True
                    task_status.started()
        except* Exception as group:
            failures = 1 if trio.current_time() - begun > HEALTHY else failures + 1
            if not ready or failures >= TOO_MANY:
                raise
            LOG.exception("%s failed and is started again", name, exc_info=group)
        await trio.sleep(min(SHORTEST * 2**failures, LONGEST))


async def main(
    backend: Backend | None = None,
    others: Mapping[str, Start] | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    grace = Grace()
    handler = partial(grace.handle, partial(serve_client, finger, FingerService(backend or MemoryBackend())))
    doors = {"finger": partial(trio.serve_tcp, handler, 7979, host=host), **(others or {})}
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as impatience:
            async with trio.open_nursery() as nursery:
                for name, start in doors.items():
                    await nursery.start(supervise, name, start)
                task_status.started()
                await anext(signals)
                nursery.cancel_scope.cancel()
                grace.begin(GRACE)
                impatience.start_soon(grace.end_at_next, signals)
            impatience.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
