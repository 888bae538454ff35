"""TCP_DEFER_ACCEPT: the kernel hands a connection over when its query has arrived, so nearly all take the fast lane."""

import socket
from collections.abc import Mapping

import trio

from finger07 import USERS
from finger29 import ExpressLane, PeekingService
from harness import Step

PATIENCE = 3  # seconds after which the kernel hands it over without


class Counted(ExpressLane):
    answered = 0

    def answer(self, client: socket.socket) -> bool:
        done = super().answer(client)
        Counted.answered += done
        return done


async def main(
    users: Mapping[str, str] = USERS,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with socket.create_server((host, 7979)) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, PATIENCE)
        listening.setblocking(False)
        async with trio.open_nursery() as nursery:
            task_status.started()
            await Counted(PeekingService(users)).serve(listening, nursery)


async def check(step: Step) -> None:
    async with step.running():
        for _ in range(20):
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
        assert step["Counted"].answered == 20


if __name__ == "__main__":
    trio.run(main)
