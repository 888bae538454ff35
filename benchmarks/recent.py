"""What the newest statuses cost each backend: the figures behind docs/design/performance.md, "The newest statuses".

    python -m benchmarks.recent [--users N] [--write]

For each backend with so many users: the CPU of one page of 50, first and further back, asked for as the service does
after a change; the same page from the service while nothing changes; and, over memory, a page of the stream and its
index. CPU of this process; for redis also that of Redis. It takes about a minute and prints one table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.harness import progress
from benchmarks.page import write_part
from benchmarks.report import table
from fingertrio.backend import Recency
from fingertrio.backends.file import FileOptions, open_file
from fingertrio.backends.layers import Layer, LayersOptions, open_layers
from fingertrio.backends.memory import MemoryBackend, MemoryOptions, open_memory
from fingertrio.backends.redis import RedisOptions, open_redis
from fingertrio.backends.sqlite import SQLiteOptions, open_sqlite
from fingertrio.frontends.web.stream import Stream
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing.measure import Machine, cpu_seconds
from fingertrio.testing.redis_server import redis_installed, running_redis

PAGE = 50
CALLS = 200
AT_ONCE = 64

Row = tuple[str, float]


async def _fill(backend: Any, users: int) -> None:
    """Set everybody's status, many at once, as one batch of a commit."""
    for start in range(0, users, AT_ONCE):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(start + AT_ONCE, users)):
                nursery.start_soon(backend.set_user, f"user{number:05}", f"\u2615 Status number {number}")


async def _cost(call: Callable[[], Awaitable[object]], also: Callable[[], float] = lambda: 0.0) -> tuple[float, float]:
    """Microseconds of CPU of one call, here and elsewhere."""
    await call()
    here, there = time.process_time(), also()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - here) / CALLS * 1e6, (also() - there) / CALLS * 1e6


async def _measure(name: str, backend: Any, also: Callable[[], float] | None = None) -> list[Row]:
    rows: list[Row] = []
    place = Recency.of((await backend.get_recent(PAGE * 2))[-1])
    for what, before in (("first page", None), ("third page", place)):
        here, there = await _cost(partial(backend.get_recent, PAGE + 1, before), also or (lambda: 0.0))
        rows.append((f"{name}: {what}", here))
        if also is not None:
            rows.append((f"{name}: {what}, CPU of Redis", there))
    async with FingerService.open(backend) as service:
        cost, _ = await _cost(lambda: service.ask_recent(PAGE))
        rows.append((f"{name}: first page from the service, nothing changed", cost))
    return rows


async def _measure_stream(users: int) -> list[Row]:
    rows: list[Row] = []
    backend = MemoryBackend({f"user{number:05}": f"\u2615 Status number {number}" for number in range(users)})
    numbers = count()
    async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
        stream = Stream(service, Observer())
        await nursery.start(stream.run)
        began = time.process_time()
        await stream.page(query="99")
        rows.append(("stream: its index is loaded, once", (time.process_time() - began) * 1e6))

        async def change() -> None:
            await backend.set_user(f"user{next(numbers) % users:05}", "New")
            await wait_all_tasks_blocked()

        for what, call in {
            "first page, nothing changed": stream.page,
            "by name, nothing changed": lambda: stream.page(by="name"),
            "a search, again": lambda: stream.page(query="number"),
            "a search": lambda: stream.page(query=f"number {next(numbers)}"),
            "a change, in the backend, the service and the index": change,
        }.items():
            rows.append((f"stream: {what}", (await _cost(call))[0]))
        nursery.cancel_scope.cancel()
    return rows


async def _run(users: int, directory: Path) -> list[Row]:
    rows: list[Row] = []
    progress("memory")
    async with open_memory(MemoryOptions()) as memory:
        await _fill(memory, users)
        rows += await _measure("memory", memory)
    progress("file")
    path = directory / "users"
    path.write_text("".join(f"user{number:05}: Status number {number}\n" for number in range(users)))
    async with open_file(FileOptions(path=path)) as file:
        rows += await _measure("file", file)
    progress("sqlite")
    options = SQLiteOptions(path=directory / "users.db")
    async with open_sqlite(options) as sqlite:
        await _fill(sqlite, users)
        rows += await _measure("sqlite", sqlite)
    progress("layers")
    over = (
        Layer(name="layer 1 (memory)", open=open_memory, options=MemoryOptions()),
        Layer(name="layer 2 (sqlite)", open=open_sqlite, options=options),
    )
    async with open_layers(LayersOptions(layers=over)) as layers:
        rows += await _measure("layers, empty over sqlite", layers)
    if redis_installed():
        progress("redis")
        with running_redis(directory) as server:
            async with open_redis(RedisOptions(url=server.url)) as redis:
                await _fill(redis, users)
                rows += await _measure("redis, 16 shards", redis, lambda: cpu_seconds(server.pid))
    progress("stream")
    rows += await _measure_stream(users)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/design/performance.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recent-") as directory:
        rows = trio.run(_run, arguments.users, Path(directory))
    shown = table(["", "CPU, us"], [[name, f"{cost:,.0f}"] for name, cost in rows])
    text = f"{shown}\n\n- {arguments.users} users, pages of {PAGE}. {Machine.here(['fingertrio', 'trio', 'coredis'])}."
    print(text)
    if arguments.write:
        write_part("benchmarks.recent", text)


if __name__ == "__main__":
    main()
