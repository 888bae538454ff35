"""A proxy: a query for user@host is asked at that host, if the operator has listed it."""

from collections.abc import Mapping
from functools import partial

import trio

from finger19_1 import Backend
from finger19_3 import FingerService
from finger19a import MemoryBackend
from finger23 import NoAnswer, ask
from house.doors import open_door, read_lines
from house.service import Service
from house.wire import user_of

AT_ONCE = 8  # queries that are forwarded at the same time
HOSTS: Mapping[str, tuple[str, int]] = {"example": ("finger.example.org", 79)}


class Forwarder:
    """Asks the listed hosts, each by the address that the operator gave it, and no other host at all."""

    def __init__(self, hosts: Mapping[str, tuple[str, int]]) -> None:
        self._hosts = hosts
        self._turns = trio.CapacityLimiter(AT_ONCE)

    async def ask(self, user: str, host: str) -> str:
        """Return the answer, or why there is none, as text for the client."""
        if host not in self._hosts or "@" in user:  # one hop: two servers that forward to each other make a loop
            await trio.lowlevel.checkpoint()
            return "Finger forwarding service denied"
        try:
            async with self._turns:
                return (await ask(user, *self._hosts[host])).replace("\n", "\r\n")
        except NoAnswer as error:
            return str(error)


async def forwarding_finger(forwarder: Forwarder, service: Service, stream: trio.abc.HalfCloseableStream) -> str:
    """Read one query, and answer it from here or from there."""
    [query] = await read_lines(stream, 1)
    user, at, host = user_of(query).rpartition("@")
    if at:
        return await forwarder.ask(user, host)
    status = await service.get_user(host)
    return "No such user" if status is None else status.replace("\n", "\r\n")


async def main(
    backend: Backend | None = None,
    hosts: Mapping[str, tuple[str, int]] = HOSTS,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FingerService(backend or MemoryBackend())
    door = partial(forwarding_finger, Forwarder(hosts))
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(door, service, host, 7979))
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
