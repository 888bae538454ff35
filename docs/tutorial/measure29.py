"""What a task costs on your machine: CPU time for one query, with a task for each (finger18) and without (finger29)."""

import socket
import time
from functools import partial
from threading import Thread

import trio

import finger29
from doors25 import Start
from finger07 import USERS
from house.doors import finger, open_door
from house.service import DictService


def ask(host: str, queries: int) -> None:
    """Ask so often, one query after the other, as a client with an empty queue does."""
    for _ in range(queries):
        with socket.create_connection((host, 7979)) as client:
            client.sendall(b"moshez\r\n")
            while client.recv(100):
                pass


async def with_tasks(host: str, *, task_status: trio.TaskStatus[None]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, DictService(USERS), host, 7979))
        task_status.started()


async def measure(serve: Start, host: str, queries: int) -> float:
    """Return the CPU seconds of the server's thread for one query."""
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, host=host))
        before = time.thread_time()
        client = Thread(target=ask, args=(host, queries))
        client.start()
        await trio.to_thread.run_sync(client.join)
        spent = time.thread_time() - before
        nursery.cancel_scope.cancel()
    return spent / queries


async def main(host: str = "127.0.0.1", queries: int = 2000) -> None:
    slow = await measure(with_tasks, host, queries)
    fast = await measure(finger29.main, host, queries)
    print(f"with a task for each query: {slow * 1e6:4.0f} microseconds of CPU time")
    print(f"from the accept loop:       {fast * 1e6:4.0f} microseconds of CPU time")


if __name__ == "__main__":
    trio.run(main)
