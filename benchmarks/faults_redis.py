"""Redis is killed and started again, twenty times, under three nodes of ours, one of which dies half-way.

    python -m benchmarks.faults_redis [--rounds N]

Everything is real: redis-server with its append-only file, `python -m fingertrio` three times, and the doors that
people use. What has to hold in each round:

- while Redis is away every node answers what it answered before, and refuses to set anything;
- at most five seconds after it is back, a status can be set at one node, every other one shows it, and all of them
  follow the changes again, so that live feeds tell;
- nothing that was acknowledged is lost, and nothing stale is shown afterwards.

Then the nodes are left alone, and it is measured how soon a set at one is seen at another. Progress goes to standard
error, the table to standard output. The exit status is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import trio

from benchmarks.harness import Cores, Server, progress
from benchmarks.report import Machine
from fingertrio.clients.finger import finger
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.wire.finger import Query
from tests.backends.redis.servers import RedisServer, installed, running

NODES = 3
USER = "moshez"
PATIENCE = 30.0  # seconds until a round is given up
LIMIT = 5.0  # seconds that recovery may take
SIGHTINGS = 200  # sets whose way to another node is measured
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
class Findings:
    """Seconds, of each round: until a set was refused; from Redis's return until all was as before, step by step."""

    refused: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    answers_meanwhile: int = 0
    sightings: list[float] = field(default_factory=list)


async def ask(node: Server) -> str:
    answer = await finger(Query(USER), "127.0.0.1", node.port("finger"))
    return answer.decode().removesuffix("\r\n")


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


async def one_round(redis: RedisServer, nodes: list[Node], number: int, findings: Findings) -> None:
    """Kill Redis, look at what is served meanwhile, start it, and look at what is served then."""
    status = f"Status {number}"
    await until_taken(nodes[0], status)
    await until_shown(nodes, status)
    redis.kill()
    began = time.monotonic()
    for node in nodes:
        if await put(node, f"Lost {number}"):
            raise FaultError(f"round {number}: {node.name} took a status while Redis was away")
    findings.refused.append((time.monotonic() - began) / len(nodes))
    for _ in range(5):
        for node in nodes:
            if (answer := await ask(node)) != status:
                raise FaultError(f"round {number}: {node.name} answered {answer!r} while Redis was away")
            findings.answers_meanwhile += 1
        await trio.sleep(0.1)
    await trio.to_thread.run_sync(redis.start)
    began = time.monotonic()
    setter, *others = nodes[number % len(nodes) :] + nodes[: number % len(nodes)]
    # Read first: what was acknowledged is still there, whatever any node has kept of it.
    if (answer := await ask(setter)) != status:
        raise FaultError(f"round {number}: {setter.name} answered {answer!r} after Redis was back")
    await until_taken(setter, f"Back {number}")
    findings.taken.append(time.monotonic() - began)
    await until_shown([setter, *others], f"Back {number}")
    findings.seen.append(time.monotonic() - began)
    await until_followed(nodes)
    findings.followed.append(time.monotonic() - began)


async def sightings(nodes: Sequence[Node], findings: Findings) -> None:
    """How soon a set at one node is answered by another, which is asked all the time."""
    first, second = nodes[:2]
    for number in range(SIGHTINGS):
        began = time.monotonic()
        await until_taken(first, f"Seen {number}")
        acknowledged = time.monotonic()
        while await ask(second) != f"Seen {number}":
            if time.monotonic() - began > PATIENCE:
                raise FaultError(f"{second.name} never showed what {first.name} was told")
        findings.sightings.append(time.monotonic() - acknowledged)


async def run(redis: RedisServer, nodes: list[Node], rounds: int, findings: Findings) -> None:
    for number in range(1, rounds + 1):
        if number == rounds // 2 + 1:
            victim = nodes.pop()
            progress(f"{victim.name} dies")
            os.kill(victim.pid, 9)
        await one_round(redis, nodes, number, findings)
        progress(
            f"round {number}: taken after {findings.taken[-1]:.2f} s, seen everywhere {findings.seen[-1]:.2f} s, "
            f"followed {findings.followed[-1]:.2f} s"
        )
    progress(f"measuring {SIGHTINGS} sightings")
    await sightings(nodes, findings)


@contextmanager
def all_running(directory: Path) -> Iterator[tuple[RedisServer, list[Node]]]:
    """Redis and our nodes."""
    cores = Cores.choose()
    with ExitStack() as stack:
        redis = stack.enter_context(running(directory / "redis", "--appendonly", "yes", "--appendfsync", "always"))
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


def table(findings: Findings, rounds: int) -> str:
    """Markdown, worst first where there is a limit."""
    rows = [
        ("Redis killed and started again", f"{rounds} times", ""),
        ("answers given while it was away, all as before", f"{findings.answers_meanwhile}", ""),
        ("a set refused while it was away, worst", f"{max(findings.refused) * 1000:.1f} ms", ""),
        ("from its return until a set is taken, worst", f"{max(findings.taken):.2f} s", f"{LIMIT:g} s"),
        ("from its return until every node shows it, worst", f"{max(findings.seen):.2f} s", f"{LIMIT:g} s"),
        (
            "from its return until every node follows the changes, worst",
            f"{max(findings.followed):.2f} s",
            f"{LIMIT:g} s",
        ),
        (
            "from a set's OK at one node until another answers it, median",
            f"{median(findings.sightings) * 1000:.2f} ms",
            f"{SIGHTING_LIMIT * 1000:g} ms",
        ),
        ("the same, worst", f"{max(findings.sightings) * 1000:.2f} ms", ""),
    ]
    lines = [f"| {what} | {measured} | {limit} |" for what, measured, limit in rows]
    return "\n".join(["| what | measured | to be at most |", "|---|---|---|", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how often Redis is killed (%(default)s)")
    rounds = parser.parse_args().rounds
    if not installed():
        progress("needs redis-server (Debian package redis-server)")
        return 1
    findings = Findings()
    with tempfile.TemporaryDirectory(prefix="redis-") as name, all_running(Path(name)) as (redis, nodes):
        try:
            trio.run(run, redis, nodes, rounds, findings)
        except (FaultError, trio.TooSlowError) as error:
            progress(f"FAILED: {error}")
            return 1
    print(f"{Machine.here(['trio', 'coredis'])}\n\n{table(findings, rounds)}")
    recovered = max([*findings.taken, *findings.seen, *findings.followed]) <= LIMIT
    return 0 if recovered and median(findings.sightings) <= SIGHTING_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
