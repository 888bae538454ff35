"""Redis is killed and started again, twenty times, under three nodes of ours, one of which dies half-way.

Everything is real: redis-server with its append-only file, `python -m fingertrio` three times, and the doors that
people use. What has to hold in each round:

- while Redis is away every node answers what it answered before, says in a full answer (/W) that this is stale, and
  refuses to set anything;
- at most five seconds after it is back, a status can be set at one node, every other one shows it, and all of them
  follow the changes again, so that live feeds tell;
- nothing that was acknowledged is lost, and nothing stale is shown afterwards as if it were not.

Then the nodes are left alone, and it is measured how soon a set at one is seen at another.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import trio

from benchmarks.harness import Cores, Server, progress
from faults.scenario import Findings, NotHere, Scale, Scenario, until
from fingertrio.clients.finger import finger
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.testing.redis_server import RedisServer, redis_installed, running_redis
from fingertrio.wire.finger import Query

NODES = 3
USER = "moshez"
PATIENCE = 30.0  # seconds until a round is given up
LIMIT = 5.0  # seconds that recovery may take
AGE_LIMIT = 2.0  # seconds until answers are said to be stale
SIGHTING_LIMIT = 0.1  # seconds, of their median

_CONFIGURATION = """
[backend]
use = "redis"
url = "{url}"

[finger]
listen = ["127.0.0.1:0"]

[setter]
listen = ["127.0.0.1:0"]

{process}
"""


class Node(Server):
    """A node of ours, whose log can be read."""

    def __init__(self, name: str, argv: Sequence[str], *, core: int, log: Path) -> None:
        super().__init__(name, argv, core=core, log=log)
        self.log = log


class FaultError(Exception):
    """Something did not hold."""


@dataclass
class Seen:
    """What was seen.

    `refused` to `fresh` are seconds, of each round: until a set was refused; from Redis's return until all was as
    before, step by step.

    Attributes:
        statuses: bare statuses that were answered while Redis was away, each as before. Such an answer has no place
            to say that it is stale.
        said_stale: full answers (/W) that said so then: one of each node in each round.
        sightings: seconds from a set's OK until another node answered it.
    """

    refused: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    statuses: int = 0
    said_stale: int = 0
    sightings: list[float] = field(default_factory=list)


async def ask(node: Server) -> str:
    answer = await finger(Query(USER), "127.0.0.1", node.port("finger"))
    return answer.decode().removesuffix("\r\n")


async def is_stale(node: Server) -> bool:
    """Whether it says that its answer may be out of date."""
    answer = await finger(Query(USER, verbose=True), "127.0.0.1", node.port("finger"))
    return b"\r\nAs of " in answer


async def is_fresh(node: Server) -> bool:
    return not await is_stale(node)


async def put(node: Server, status: str) -> bool:
    """Whether it was taken."""
    try:
        await set_status(USER, status, host="127.0.0.1", port=node.port("setter"))
    except SetterError:
        return False
    return True


async def until_taken(node: Server, status: str) -> None:
    with trio.fail_after(PATIENCE):
        while not await put(node, status):  # noqa: ASYNC110 -- another program's events are not ours
            await trio.sleep(0.01)


async def until_shown(nodes: Sequence[Node], status: str) -> None:
    with trio.fail_after(PATIENCE):
        for node in nodes:
            while await ask(node) != status:  # noqa: ASYNC110 -- another program's events are not ours
                await trio.sleep(0.005)


async def until_followed(nodes: Sequence[Node]) -> None:
    """By what the nodes' logs say: a feed of changes that broke, and one that is there again."""
    with trio.fail_after(PATIENCE):
        for node in nodes:
            while not _follows(node):  # noqa: ASYNC110 -- another program's events are not ours
                await trio.sleep(0.02)


def _follows(node: Node) -> bool:
    for line in reversed(node.log.read_text("utf-8", "replace").splitlines()):
        if '"change_feed"' in line:
            return bool(json.loads(line)["event"] == "recovered")
    return True


async def look_while_away(nodes: Sequence[Node], status: str, number: int, seen: Seen) -> None:
    """Everybody answers as before, and says soon, where it is asked for more than the status, that this is stale."""
    for _ in range(5):
        for node in nodes:
            if (answer := await ask(node)) != status:
                raise FaultError(f"round {number}: {node.name} answered {answer!r} while Redis was away")
            seen.statuses += 1
        await trio.sleep(0.1)
    for node in nodes:
        if not await until(partial(is_stale, node), AGE_LIMIT):
            raise FaultError(f"round {number}: {node.name} does not say that its answers are stale")
        seen.said_stale += 1


async def one_round(redis: RedisServer, nodes: list[Node], number: int, seen: Seen) -> None:
    """Kill Redis, look at what is served meanwhile, start it, and look at what is served then."""
    status = f"Status {number}"
    await until_taken(nodes[0], status)
    await until_shown(nodes, status)
    redis.kill()
    began = time.monotonic()
    for node in nodes:
        if await put(node, f"Lost {number}"):
            raise FaultError(f"round {number}: {node.name} took a status while Redis was away")
    seen.refused.append((time.monotonic() - began) / len(nodes))
    await look_while_away(nodes, status, number, seen)
    await trio.to_thread.run_sync(redis.start)
    began = time.monotonic()
    setter, *others = nodes[number % len(nodes) :] + nodes[: number % len(nodes)]
    # Read first: what was acknowledged is still there, whatever any node has kept of it.
    if (answer := await ask(setter)) != status:
        raise FaultError(f"round {number}: {setter.name} answered {answer!r} after Redis was back")
    await until_taken(setter, f"Back {number}")
    seen.taken.append(time.monotonic() - began)
    await until_shown([setter, *others], f"Back {number}")
    seen.seen.append(time.monotonic() - began)
    await until_followed(nodes)
    seen.followed.append(time.monotonic() - began)
    for node in nodes:
        if not await until(partial(is_fresh, node), PATIENCE):
            raise FaultError(f"round {number}: {node.name} goes on saying that its answers are stale")
    seen.fresh.append(time.monotonic() - began)


async def sightings(nodes: Sequence[Node], count: int, seen: Seen) -> None:
    """How soon a set at one node is answered by another, which is asked all the time."""
    first, second = nodes[:2]
    for number in range(count):
        began = time.monotonic()
        await until_taken(first, f"Seen {number}")
        acknowledged = time.monotonic()
        while await ask(second) != f"Seen {number}":
            if time.monotonic() - began > PATIENCE:
                raise FaultError(f"{second.name} never showed what {first.name} was told")
        seen.sightings.append(time.monotonic() - acknowledged)


async def all_rounds(redis: RedisServer, nodes: list[Node], rounds: int, sights: int, seen: Seen) -> None:
    for number in range(1, rounds + 1):
        if number == rounds // 2 + 1:
            victim = nodes.pop()
            os.kill(victim.pid, 9)
        await one_round(redis, nodes, number, seen)
        if number % 5 == 0:
            progress(f"{number} of {rounds} rounds, taken after {seen.taken[-1]:.2f} s")
    await sightings(nodes, sights, seen)


@contextmanager
def all_running(directory: Path) -> Iterator[tuple[RedisServer, list[Node]]]:
    """Redis and our nodes."""
    cores = Cores.choose()
    with ExitStack() as stack:
        redis = stack.enter_context(
            running_redis(directory / "redis", "--appendonly", "yes", "--appendfsync", "always")
        )
        process = "[process]\nrun_as_root = true" if os.geteuid() == 0 else ""
        config = directory / "fingertrio.toml"
        config.write_text(_CONFIGURATION.format(url=redis.url, process=process))
        nodes = [
            stack.enter_context(
                Node(
                    f"node {number}",
                    [sys.executable, "-m", "fingertrio", "serve", "--config", str(config)],
                    core=cores.server,
                    log=directory / f"{number}.log",
                )
            )
            for number in range(1, NODES + 1)
        ]
        yield redis, nodes


async def run(scale: Scale, findings: Findings) -> None:
    """Twenty times."""
    if not redis_installed():
        raise NotHere("needs redis-server (Debian package redis-server)")
    rounds, sights = scale.of((20, 200), (2, 20))
    findings.done = f"{NODES} nodes over one Redis, which is killed {rounds} times; one node dies half-way"
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, all_running(Path(name)) as (redis, nodes):
        try:
            await all_rounds(redis, nodes, rounds, sights, seen)
        except (FaultError, trio.TooSlowError) as error:
            findings.require(False, str(error) or "a node did not come back in time")
            return
    findings.figure(
        f"while it was away: {seen.statuses} statuses asked for, each as before; {seen.said_stale} full answers (/W), "
        "one of each node in each round, said to be stale"
    )
    findings.figure(f"a set refused after at most {max(seen.refused) * 1000:.0f} ms")
    for what, times in (
        ("a set is taken", seen.taken),
        ("every node shows it", seen.seen),
        ("every node follows the changes", seen.followed),
        ("no node says any more that it is stale", seen.fresh),
    ):
        findings.figure(f"from its return until {what}: at most {max(times):.2f} s")
        findings.require(max(times) <= LIMIT + scale.slack, f"it took {max(times):.2f} s until {what}")
    middle = median(seen.sightings)
    findings.figure(
        f"from a set's OK until another node answers it: {middle * 1000:.1f} ms (median), "
        f"{max(seen.sightings) * 1000:.1f} ms (longest)"
    )
    findings.require(middle <= SIGHTING_LIMIT + scale.slack, f"a change was seen after {middle * 1000:.0f} ms")


SCENARIO = Scenario("redis-away", "Redis killed under three nodes", run, limit=300)
