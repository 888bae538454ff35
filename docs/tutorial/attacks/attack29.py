import socket
from typing import Any

import trio

from harness import Step

BEFORE = "finger18"  # the same door, with a task for each connection
QUESTIONS = 200


class Counting(trio.abc.Instrument):
    """Counts the tasks of the server, which runs a handler for each connection."""

    def __init__(self) -> None:
        self.tasks = 0

    def task_spawned(self, task: Any) -> None:
        self.tasks += "serve_client" in task.name or "_run_handler" in task.name or "_serve_slowly" in task.name


async def attack(step: Step) -> None:
    """Many small questions come, one after the other: they must not need a task each, and all answers stay."""
    counting = Counting()
    async with step.running(users={"moshez": "Happy and well"}):
        trio.lowlevel.add_instrument(counting)
        for _ in range(QUESTIONS):
            client = socket.create_connection((step.host, 7979))
            client.sendall(b"/W Moshez\r\n")  # it has arrived before the server sees the connection
            client.setblocking(False)
            async with trio.SocketStream(trio.socket.from_stdlib_socket(client)) as stream:
                assert await step.read(stream) == b"Happy and well\r\n"
        trio.lowlevel.remove_instrument(counting)
        async with await step.connect() as slow:  # what is not in one piece takes the other lane
            await slow.send_all(b"mos")
            await trio.sleep(0.01)
            await slow.send_all(b"hez\r\n")
            assert await step.read(slow) == b"Happy and well\r\n"
        assert await step.ask(b"nobody\r\n") == b"No such user\r\n"
        assert await step.ask(b"x" * 2000) == b"Line too long\r\n"
    assert counting.tasks < QUESTIONS / 10, f"{counting.tasks} tasks for {QUESTIONS} questions"
