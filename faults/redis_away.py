"""Redis is killed and restarted twenty times, under three nodes; one node dies half-way.

Everything is real: redis-server with its append-only file, three times `python -m fingertrio`, and the doors that
people use. In each round:

- while Redis is away, every node gives the same answers as before, marks a full answer (/W) as stale, and refuses every
  set;
- within five seconds of its return, one node accepts a status, every node shows it, and every node follows the changes
  again, so that live feeds report it;
- no acknowledged status is lost, and no stale answer is shown as a fresh one.

Then, without faults, the scenario measures the time until a set at one node is visible at another.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import trio

from faults.program import LISTEN, AttackedProgram
from faults.scenario import Findings, NotInstalledError, Scale, Scenario, progress, until
from fingertrio.clients.finger import finger
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.testing.process import COMMAND
from fingertrio.testing.program import to_toml
from fingertrio.testing.redis_server import RedisServer, redis_installed, running_redis
from fingertrio.wire.finger import Query

NODES = 3
USER = "moshez"
PATIENCE = 30.0  # seconds until a round has failed
LIMIT = 5.0  # seconds for a recovery
STALE_LIMIT = 2.0  # seconds until answers are marked as stale
DELAY_LIMIT = 0.1  # seconds, for the median
_EVERY_SET_ON_DISK = ("--appendonly", "yes", "--appendfsync", "always")


class CriterionError(Exception):
    """A criterion does not hold, and the rounds cannot go on."""


@dataclass
class Outcome:
    """What was measured. Times are in seconds, one for each round.

    Attributes:
        refused: until a set was refused.
        accepted: from Redis's return until a set was accepted.
        shown: likewise, until every node showed it.
        followed: likewise, until every node followed the changes again.
        fresh: likewise, until no node marked its answers as stale.
        statuses: how many plain answers were given while Redis was away, all as before. A plain answer cannot say that
            it is stale.
        marked_stale: how many full answers (/W) said so: one of each node in each round.
        delays: from a set's OK until another node answered it; one for each set.
    """

    refused: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    statuses: int = 0
    marked_stale: int = 0
    delays: list[float] = field(default_factory=list)


async def ask(node: AttackedProgram) -> str:
    answer = await finger(Query(USER), "127.0.0.1", node.port("finger"))
    return answer.decode().removesuffix("\r\n")


async def answers(node: AttackedProgram, status: str) -> bool:
    return await ask(node) == status


async def is_stale(node: AttackedProgram) -> bool:
    """Whether the node marks its answer as stale."""
    answer = await finger(Query(USER, verbose=True), "127.0.0.1", node.port("finger"))
    return b"\r\nAs of " in answer


async def is_fresh(node: AttackedProgram) -> bool:
    return not await is_stale(node)


def follows(node: AttackedProgram) -> bool:
    """Whether the node follows the changes, as its log reports a broken feed and its recovery."""
    told = [record["event"] for record in node.records() if record.get("what") == "change_feed"]
    return not told or told[-1] == "recovered"


async def put(node: AttackedProgram, status: str) -> bool:
    """Whether the node accepted the status."""
    try:
        await set_status(USER, status, host="127.0.0.1", port=node.port("setter"))
    except SetterError:
        return False
    return True


async def require_soon(
    holds: Callable[[], bool | Awaitable[bool]], otherwise: str, *, within: float = PATIENCE
) -> None:
    if not await until(holds, within):
        raise CriterionError(otherwise)


async def accept(node: AttackedProgram, status: str) -> None:
    """Set the status, again and again until the node accepts it."""
    await require_soon(partial(put, node, status), f"{node.name} does not accept {status!r}")


async def check_while_away(nodes: Sequence[AttackedProgram], status: str, number: int, outcome: Outcome) -> None:
    """Every node answers as before, and soon marks its full answers as stale."""
    for _ in range(5):
        for node in nodes:
            if (answer := await ask(node)) != status:
                raise CriterionError(f"round {number}: {node.name} answered {answer!r} while Redis was away")
            outcome.statuses += 1
        await trio.sleep(0.1)
    for node in nodes:
        otherwise = f"round {number}: {node.name} does not mark its answers as stale"
        await require_soon(partial(is_stale, node), otherwise, within=STALE_LIMIT)
        outcome.marked_stale += 1


async def one_round(redis: RedisServer, nodes: list[AttackedProgram], number: int, outcome: Outcome) -> None:
    """Kill Redis, check the answers, start it again, and check them again."""
    status, back = f"Status {number}", f"Back {number}"
    await accept(nodes[0], status)
    for node in nodes:
        await require_soon(partial(answers, node, status), f"round {number}: {node.name} does not show {status!r}")
    redis.kill()
    began = time.monotonic()
    for node in nodes:
        if await put(node, f"Lost {number}"):
            raise CriterionError(f"round {number}: {node.name} accepted a status while Redis was away")
    outcome.refused.append((time.monotonic() - began) / len(nodes))
    await check_while_away(nodes, status, number, outcome)
    await trio.to_thread.run_sync(redis.start)
    began = time.monotonic()
    setter = nodes[number % len(nodes)]
    # Before any new set: the acknowledged status must still be there.
    if (answer := await ask(setter)) != status:
        raise CriterionError(f"round {number}: {setter.name} answered {answer!r} after Redis was back")
    await accept(setter, back)
    outcome.accepted.append(time.monotonic() - began)
    for node in nodes:
        await require_soon(partial(answers, node, back), f"round {number}: {node.name} does not show {back!r}")
    outcome.shown.append(time.monotonic() - began)
    for node in nodes:
        await require_soon(partial(follows, node), f"round {number}: {node.name} does not follow the changes again")
    outcome.followed.append(time.monotonic() - began)
    for node in nodes:
        await require_soon(partial(is_fresh, node), f"round {number}: {node.name} still marks its answers as stale")
    outcome.fresh.append(time.monotonic() - began)


async def measure_delays(nodes: Sequence[AttackedProgram], count: int, outcome: Outcome) -> None:
    """The time until a set at one node is visible at another, which is queried continuously."""
    first, second = nodes[:2]
    for number in range(count):
        status = f"Seen {number}"
        await accept(first, status)
        acknowledged = time.monotonic()
        while await ask(second) != status:
            if time.monotonic() - acknowledged > PATIENCE:
                raise CriterionError(f"{second.name} never showed what {first.name} accepted")
        outcome.delays.append(time.monotonic() - acknowledged)


async def all_rounds(
    redis: RedisServer, nodes: list[AttackedProgram], rounds: int, delays: int, outcome: Outcome
) -> None:
    for number in range(1, rounds + 1):
        if number == rounds // 2 + 1:
            nodes.pop().kill()
        await one_round(redis, nodes, number, outcome)
        if number % 5 == 0:
            progress(f"{number} of {rounds} rounds, a set accepted after {outcome.accepted[-1]:.2f} s")
    await measure_delays(nodes, delays, outcome)


@contextmanager
def all_running(directory: Path) -> Iterator[tuple[RedisServer, list[AttackedProgram]]]:
    """Redis and the nodes."""
    config = directory / "fingertrio.toml"
    command: list[str | Path] = [*COMMAND, "serve", "--config", config]
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(directory / "redis", *_EVERY_SET_ON_DISK))
        doors = {door: {"listen": LISTEN} for door in ("finger", "setter")}
        config.write_text(to_toml({"backend": {"use": "redis", "url": redis.url}, **doors}))
        nodes = [
            stack.enter_context(AttackedProgram(command, directory / f"{number}.log", name=f"node {number}"))
            for number in range(1, NODES + 1)
        ]
        yield redis, nodes


async def run(scale: Scale, findings: Findings) -> None:
    """Twenty rounds."""
    if not redis_installed():
        raise NotInstalledError("needs redis-server (Debian package redis-server)")
    rounds, delays = scale.of((20, 200), (2, 20))
    findings.done = f"{NODES} nodes over one Redis, which is killed {rounds} times; one node dies half-way"
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, all_running(Path(name)) as (redis, nodes):
        try:
            await all_rounds(redis, nodes, rounds, delays, outcome)
        except CriterionError as error:
            findings.require(False, str(error))
            return
    findings.figure(
        f"while it was away: {outcome.statuses} plain answers, all as before; {outcome.marked_stale} full answers "
        "(/W), one of each node in each round, marked as stale"
    )
    findings.figure(f"a set refused after at most {max(outcome.refused) * 1000:.0f} ms")
    for what, times in (
        ("a set is accepted", outcome.accepted),
        ("every node shows it", outcome.shown),
        ("every node follows the changes", outcome.followed),
        ("no node marks its answers as stale", outcome.fresh),
    ):
        findings.figure(f"from its return until {what}: at most {max(times):.2f} s")
        findings.require(max(times) <= LIMIT + scale.slack, f"it took {max(times):.2f} s until {what}")
    middle = median(outcome.delays)
    findings.figure(
        f"from a set's OK until another node answers it: {middle * 1000:.1f} ms (median), "
        f"{max(outcome.delays) * 1000:.1f} ms (longest)"
    )
    findings.require(middle <= DELAY_LIMIT + scale.slack, f"a change was visible after {middle * 1000:.0f} ms")


SCENARIO = Scenario("redis-away", "Redis killed under three nodes", run, limit=300)
