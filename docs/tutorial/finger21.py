"""A live feed: watchers are sent what has changed, each at its own pace, and one that comes back misses nothing."""

import json
import secrets

import trio
from quart import websocket
from quart_trio import QuartTrio

from finger19_1 import Backend
from finger19_3 import FingerService
from finger19a import MemoryBackend
from finger20 import make_app
from house.doors import finger, open_door, setter
from house.web import serve_web


class Hub:
    """For each user the number of the last change, and nothing else: there is no queue that could grow."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)  # another one after each start: numbers of before mean nothing then
        self.last = 0
        self._changed: dict[str, int] = {}
        self._next = trio.Event()

    def emit(self, user: str) -> None:
        self.last += 1
        self._changed[user] = self.last
        self._next.set()
        self._next = trio.Event()

    async def changed_after(self, number: int) -> list[tuple[int, str]]:
        """Wait for changes after this one. Return each user once, with the number of the last change, in order."""
        while number >= self.last:
            await self._next.wait()
        return sorted((at, user) for user, at in self._changed.items() if at > number)


class LiveService(FingerService):
    """A service that tells a hub who was set."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.hub = Hub()

    async def set_user(self, user: str, status: str) -> None:
        await super().set_user(user, status)
        self.hub.emit(user.lower())


def add_feed(app: QuartTrio, service: LiveService) -> QuartTrio:
    """Let an application serve the live feed at /api/watch?since=MARK."""
    hub = service.hub

    async def send(epoch: str, number: str) -> None:
        seen = int(number) if epoch == hub.epoch and number.isdecimal() else 0
        while True:
            for at, user in await hub.changed_after(seen):
                status = await service.get_user(user)  # as it is now, which may be newer than the change
                await websocket.send(json.dumps({"user": user, "status": status, "since": f"{hub.epoch}:{at}"}))
                seen = at

    @app.websocket("/api/watch")
    async def watch() -> None:
        epoch, _, number = websocket.args.get("since", "").partition(":")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, epoch, number)
            while True:  # reading is how we learn that the watcher has gone
                await websocket.receive()

    return app


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = LiveService(backend or MemoryBackend())
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, service, host, 7979))
        await nursery.start(open_door(setter, service, host, 1079))
        await nursery.start(serve_web, add_feed(make_app(service), service), host, 8000)
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
