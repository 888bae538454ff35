"""The costs of statuses in Redis, one by one: the figures behind docs/guide/scaling.md.

    python -m benchmarks.redis_costs [--seconds N]

- What a hot answer costs: the real program over `memory` and over `redis`, in turns, the CPU that the kernel charges.
- What a question and a set cost a node and Redis: this process is the node, and asks the backend as the service does.
- What one more node costs Redis for each change: the same sets without followers and with many.
- What a user takes: in Redis, with one status and with many; in a node, for an answer that is kept.
- What an OK costs that outlives Redis or its machine; and what it costs to be there and do nothing.

It takes about a minute and prints one table.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import trio

from benchmarks.generator import Load, load_generator
from benchmarks.harness import Server, fingertrio_server, progress
from fingertrio.backends.redis import RedisBackend, RedisOptions, open_redis
from fingertrio.clients.setter import set_status
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.testing.measure import Cores, Machine, cpu_seconds
from fingertrio.testing.redis_server import RedisServer, redis_installed, running_redis

USER, STATUS = "moshez", "Happy and well"
QUERY, ANSWER = b"moshez\r\n", b"Happy and well\r\n"
ROUNDS = 5
CALLS = 3000
AT_ONCE = 16  # simultaneous calls, as on a busy node
FOLLOWERS = 8
USERS = 20_000
STATUSES = 20

Row = tuple[str, str]


def _server(directory: Path, name: str, backend: Mapping[str, Any], core: int) -> Server:
    doors = {door: {"listen": ["127.0.0.1:0"]} for door in ("finger", "setter")}
    return fingertrio_server(name, directory, {"backend": backend, **doors}, core=core)


def hot_answers(redis: RedisServer, directory: Path, seconds: float) -> list[Row]:
    """Both servers on one core, the load on another, in turns."""
    cores = Cores.choose()
    load = Load(load_generator(), cores)
    costs: dict[str, list[float]] = {"memory": [], "redis": []}
    with ExitStack() as stack:
        servers = {
            "memory": stack.enter_context(_server(directory, "memory", {"use": "memory"}, cores.server)),
            "redis": stack.enter_context(_server(directory, "redis", {"use": "redis", "url": redis.url}, cores.server)),
        }
        for server in servers.values():
            trio.run(_set, server.port("setter"))
        for _ in range(ROUNDS):
            for name, server in servers.items():
                done = load.run(server, door="finger", query=QUERY, expected=ANSWER, seconds=seconds)
                costs[name].append(done.cpu_per_query)
                progress(f"{name}: {done.cpu_per_query * 1e6:.1f} us a query")
                server.forget_log()
    ratios = [over / under for over, under in zip(costs["redis"], costs["memory"], strict=True)]
    return [
        ("node, CPU of a hot answer over memory", f"{median(costs['memory']) * 1e6:.1f} us"),
        ("node, CPU of a hot answer over redis", f"{median(costs['redis']) * 1e6:.1f} us"),
        ("the second by the first, median of the rounds", f"{median(ratios):.3f}"),
    ]


async def _set(port: int) -> None:
    await set_status(USER, STATUS, host="127.0.0.1", port=port)


async def each(call: Callable[[int], Awaitable[object]], count: int) -> None:
    """Make `count` calls, AT_ONCE at a time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await call(number)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)


async def cost(redis: RedisServer, call: Callable[[int], Awaitable[object]]) -> tuple[float, float]:
    """CPU seconds of one call: of this process, and of Redis."""
    await each(call, CALLS // 10)
    ours, theirs = time.process_time(), cpu_seconds(redis.pid)
    await each(call, CALLS)
    return (time.process_time() - ours) / CALLS, (cpu_seconds(redis.pid) - theirs) / CALLS


@asynccontextmanager
async def followers(redis: RedisServer, count: int) -> AsyncIterator[None]:
    """Other nodes, in this process, that follow the changes and do nothing else."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(open_redis(RedisOptions(url=redis.url)))
        yield


async def calls(redis: RedisServer) -> list[Row]:
    """Reads and sets."""
    async with open_redis(RedisOptions(url=redis.url)) as backend:
        for number in range(100):
            await backend.set_user(f"user{number}", STATUS)

        async def ask(number: int) -> None:
            await backend.get_user(f"user{number % 100}")

        async def put(number: int) -> None:
            await backend.set_user(f"user{number % 100}", f"At work on part {number}")

        asked = await cost(redis, ask)
        alone = await cost(redis, put)
        async with followers(redis, FOLLOWERS):
            followed = await cost(redis, put)
    return [
        ("node, CPU of a question to Redis (beside the door's)", f"{asked[0] * 1e6:.0f} us"),
        ("Redis, CPU of a question", f"{asked[1] * 1e6:.1f} us"),
        ("node, CPU of a set (beside the door's), with hearing of it", f"{alone[0] * 1e6:.0f} us"),
        ("Redis, CPU of a set, with telling one node", f"{alone[1] * 1e6:.1f} us"),
        ("Redis, CPU of telling one node more of a change", f"{(followed[1] - alone[1]) / FOLLOWERS * 1e6:.1f} us"),
        ("node, CPU of hearing of another's change", f"{(followed[0] - alone[0]) / FOLLOWERS * 1e6:.1f} us"),
    ]


def _used_memory(redis: RedisServer) -> int:
    for line in redis.info("memory").splitlines():
        if line.startswith("used_memory:"):
            return int(line.partition(":")[2])
    raise AssertionError("INFO memory tells used_memory")


async def _set_numbered(backend: RedisBackend, status: str, number: int) -> None:
    await backend.set_user(f"user{number:06}", status)


async def room(redis: RedisServer) -> list[Row]:
    """The memory of users."""
    rows: list[Row] = []
    options = RedisOptions(url=redis.url)
    redis.command("FLUSHALL")
    async with open_redis(options) as backend:
        before = _used_memory(redis)
        await each(lambda number: backend.set_user(f"user{number:06}", STATUS), USERS)
        one = _used_memory(redis)
        rows.append(("Redis, memory of a user with one status", f"{(one - before) / USERS:.0f} B"))
        few = USERS // STATUSES
        for said in range(1, STATUSES):
            status = f"{STATUS}, {said}"
            await each(partial(_set_numbered, backend, status), few)
        more = (_used_memory(redis) - one) / few / (STATUSES - 1)
        rows.append(("Redis, memory of each status more", f"{more:.0f} B"))
        rows.append(("node, memory of an answer that is kept", f"{await _kept(options):.0f} B"))
        rows.append(("CPU of listing a user among many, node and Redis", await _listing(redis, backend)))
    return rows


async def _kept(options: RedisOptions) -> float:
    policy = ServicePolicy(cache_size=USERS)
    options = options.model_copy(update={"stale": USERS})
    async with open_redis(options) as backend, FingerService.open(backend, policy) as service:
        await service.get_user("user000000")
        gc.collect()
        tracemalloc.start()
        await each(lambda number: service.get_user(f"user{number:06}"), USERS)
        gc.collect()
        kept, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return kept / USERS


async def _listing(redis: RedisServer, backend: RedisBackend) -> str:
    ours, theirs = time.process_time(), cpu_seconds(redis.pid)
    for _ in range(5):
        users = len(await backend.get_users())
    return " and ".join(
        f"{spent / 5 / users * 1e6:.2f} us" for spent in (time.process_time() - ours, cpu_seconds(redis.pid) - theirs)
    )


def durability(directory: Path) -> list[Row]:
    """The cost of a set that survives a crash of Redis, or of its machine."""
    rows: list[Row] = []
    for policy in ("no", "everysec", "always"):
        with running_redis(directory / policy, "--appendonly", "yes", "--appendfsync", policy) as redis:
            alone, together = trio.run(_durable, redis)
        rows.append((f"a set until its OK, appendfsync {policy}, alone", f"{alone * 1000:.2f} ms"))
        rows.append((f"sets a second, appendfsync {policy}, {AT_ONCE} at once, one node", f"{together:,.0f}"))
    return rows


async def _durable(redis: RedisServer) -> tuple[float, float]:
    """Seconds of one set, the median; and how many a second there are with AT_ONCE under way."""
    seconds: list[float] = []
    async with open_redis(RedisOptions(url=redis.url)) as backend:
        for number in range(300):
            began = time.perf_counter()
            await backend.set_user(USER, f"Status {number}")
            seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        await each(lambda number: backend.set_user(f"user{number % 100}", f"Status {number}"), CALLS)
        return median(seconds), CALLS / (time.perf_counter() - began)


async def idle(redis: RedisServer, seconds: float) -> list[Row]:
    """A node without queries."""
    async with open_redis(RedisOptions(url=redis.url)):
        await trio.sleep(0.5)
        ours, theirs = time.process_time(), cpu_seconds(redis.pid)
        await trio.sleep(seconds)
        spent = [
            (now - then) / seconds for now, then in ((time.process_time(), ours), (cpu_seconds(redis.pid), theirs))
        ]
    return [
        ("node, CPU of being there", f"{spent[0] * 100:.2f} % of a core"),
        ("Redis, CPU of being there, with one node", f"{spent[1] * 100:.2f} % of a core"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="of load in each round (%(default)s)")
    seconds = parser.parse_args().seconds
    if not redis_installed():
        progress("needs redis-server (Debian package redis-server)")
        return 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="redis-") as name, running_redis(Path(name) / "redis") as redis:
        rows += hot_answers(redis, Path(name), seconds)
        for what, ask in (("calls", calls), ("room", room)):
            progress(f"measuring {what}")
            rows += trio.run(ask, redis)
        progress("measuring what durability costs")
        rows += durability(Path(name))
        progress("measuring idleness")
        rows += trio.run(idle, redis, 5.0)
    print(f"{Machine.here(['trio', 'coredis'])}\n")
    print("\n".join(["| what | measured |", "|---|---|", *(f"| {what} | {measured} |" for what, measured in rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
