"""kill -9 at random moments, while statuses are set through the setter: is an acknowledged status lost?

Everything is real: `python -m fingertrio` over a database file, the setter door and the finger door. Each writer sets
the statuses of one user, one after the other. A status contains its number and a checksum. The criteria:

- after each restart, every user's status is one that was sent, complete, and not older than the last acknowledged;
- after each restart, the chains of statuses are intact (chains.py);
- at the end, every acknowledged status is in the history, complete, and SQLite finds the file intact;
- the server is ready 2 s after its start, wherever it was killed.

The scenario runs twice: with an unlimited history, and with one of three statuses, so that the server is killed while
it deletes old ones. The last three statuses of each user must be there at the end.

kill -9 ends the process but not the kernel, so this does not show the effect of a power loss. Against that, each commit
waits for fdatasync (tested in tests/backends/sqlite).
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import trio

from faults.chains import damage
from faults.program import LISTEN
from faults.scenario import Findings, Scale, Scenario, progress
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.finger import finger
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.testing.process import COMMAND
from fingertrio.testing.program import Program, to_toml
from fingertrio.wire.finger import Query

READY_LIMIT = 2.0  # seconds
PATIENCE = 600.0  # seconds for one campaign
ALL = 10_000_000  # statuses kept of each user: more than are ever set
FEW = 3  # likewise: old ones are deleted with every ninth set (`rows.Retention.most`)


@dataclass
class CampaignResult:
    """The result of one campaign.

    Attributes:
        acknowledged: how many sets were answered OK.
        unanswered: how many connections broke during a set, which may have been carried out.
        kills: how many times the server was killed.
        lost: acknowledged statuses that were missing or replaced by an older one; one line each.
        torn: statuses that were never sent; one line each.
        broken: defects of chains after a restart; one line each.
        walks: after how many restarts all chains were checked.
        rows: statuses in the file at the last check.
        ready: seconds from each start to "ready".
        unsound: SQLite's report on the file at the end, if it is not "ok".
    """

    acknowledged: int = 0
    unanswered: int = 0
    kills: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    walks: int = 0
    rows: int = 0
    ready: list[float] = field(default_factory=list)
    unsound: str = ""


def status_of(user: str, number: int) -> str:
    """Status number `number` of `user`, with a checksum. The lengths differ."""
    text = f"{number} {user} " + "x" * (number * 37 % 400)
    return f"{text} {zlib.crc32(text.encode()):08x}"


def number_in(user: str, status: str) -> int | None:
    """The number of a status; None: it was never sent."""
    first = status.partition(" ")[0]
    return int(first) if first.isdecimal() and status == status_of(user, int(first)) else None


class Campaign:
    """Writers, and a server that is killed and restarted.

    Args:
        directory: empty; for the database and the server's configuration.
        writers: how many users there are, each with a task that sets its statuses.
        history: how many statuses of each user are kept.
    """

    def __init__(self, directory: Path, *, writers: int, history: int = ALL) -> None:
        self.result = CampaignResult()
        self._directory = directory
        self._database = directory / "x.db"
        self._history = history
        self._users = [f"user{number}" for number in range(writers)]
        self._sent = dict.fromkeys(self._users, 0)
        self._acknowledged: dict[str, list[int]] = {user: [] for user in self._users}
        self._ports: dict[str, int] = {}
        self._up = trio.Event()
        self._enough = trio.Event()
        self._goal = 0
        self._starts = 0

    async def run(self, *, kills: int, writes: int) -> CampaignResult:
        """Kill the server `kills` times during `writes` acknowledged sets, and check what is stored."""
        portion = writes // kills
        with trio.fail_after(PATIENCE):
            for number in range(1, kills + 1):
                with self._serving() as server:
                    await self._check_present()
                    self._check_chains()
                    # At any moment of a commit, anywhere in the portion.
                    within = random.randint(1, portion) if number < kills else portion
                    self._goal = portion * (number - 1) + within
                    await self._write(server)
                if number % 25 == 0:
                    progress(f"{number} of {kills} kills, {self.result.acknowledged} acknowledged")
            with self._serving() as server:
                await self._check_present()
                self._check_chains()
                server.end()
        self._check_history()
        return self.result

    @contextmanager
    def _serving(self) -> Iterator[Program]:
        """The server, ready. At the end of the context it has ended, by force if need be."""
        self._starts += 1
        config = self._directory / "conf.toml"
        config.write_text(
            to_toml(
                {
                    "backend": {"use": "sqlite", "path": self._database, "history": self._history},
                    "finger": {"listen": LISTEN},
                    "setter": {"listen": LISTEN, "max_connections_per_address": 10_000},
                }
            )
        )
        began = time.monotonic()
        log = self._directory / f"{self._starts}.log"
        with Program([*COMMAND, "serve", "--config", config], log) as server:
            self.result.ready.append(time.monotonic() - began)
            self._ports = {door: server.port(door) for door in ("finger", "setter")}
            yield server
        log.unlink()

    async def _write(self, server: Program) -> None:
        """Set statuses until there are enough, then kill the server while the writers continue."""
        self._enough = trio.Event()
        async with trio.open_nursery() as nursery:
            for user in self._users:
                nursery.start_soon(self._write_one, user)
            await self._enough.wait()
            await trio.sleep(random.uniform(0, 0.01))
            server.kill()
            self.result.kills += 1

    async def _write_one(self, user: str) -> None:
        while True:
            self._sent[user] = number = self._sent[user] + 1
            try:
                await set_status(user, status_of(user, number), host="127.0.0.1", port=self._ports["setter"])
            except (SetterError, RemoteError):
                self.result.unanswered += 1
                return
            self._acknowledged[user].append(number)
            self.result.acknowledged += 1
            if self.result.acknowledged >= self._goal:
                self._enough.set()

    async def _check_present(self) -> None:
        for user in self._users:
            answer = await finger(Query(user=user), "127.0.0.1", self._ports["finger"])
            status = answer.decode().rstrip("\r\n")
            last = self._acknowledged[user][-1] if self._acknowledged[user] else 0
            if status == "No such user":
                if last:
                    self.result.lost.append(f"{user} does not exist, {last} was acknowledged")
                continue
            number = number_in(user, status)
            if number is None or number > self._sent[user]:
                self.result.torn.append(f"{user} is {status!r}")
            elif number < last:
                self.result.lost.append(f"{user} is at {number}, {last} was acknowledged")

    def _check_chains(self) -> None:
        self.result.rows, broken = damage(self._database)
        self.result.broken += [f"after {self.result.kills} kills, {one}" for one in broken]
        self.result.walks += 1

    def _check_history(self) -> None:
        with closing(sqlite3.connect(self._database)) as database:
            (self.result.unsound,) = database.execute("PRAGMA integrity_check").fetchone()
            if self.result.unsound == "ok":
                self.result.unsound = ""
            there: dict[str, set[int]] = {user: set() for user in self._users}
            for user, status in database.execute("SELECT login, text FROM status JOIN user ON user.id = status.user"):
                number = number_in(user, status)
                if number is None:
                    self.result.torn.append(f"in the history of {user}: {status!r}")
                else:
                    there[user].add(number)
        for user, numbers in self._acknowledged.items():
            # With fewer statuses than are kept, none may have been deleted; with more, only the oldest.
            first = min(there[user]) if len(there[user]) >= self._history else 0
            self.result.lost += [
                f"{user}'s {number} is not in the history"
                for number in numbers
                if number >= first and number not in there[user]
            ]


async def run(scale: Scale, findings: Findings) -> None:
    """100 kills during 10,000 sets with an unlimited history; 40 during 3,000 with a short one."""
    kills, writes, writers = scale.of((100, 10_000, 32), (4, 400, 16))
    few_kills, few_writes, few_writers = scale.of((40, 3_000, 8), (2, 200, 4))
    findings.done = (
        f"{writers} writers; kill -9 at {kills} random moments over {writes:,} acknowledged sets; "
        f"again with history = {FEW}: {few_writers} writers, {few_kills} kills, {few_writes:,} sets"
    )
    ready_limit = READY_LIMIT + scale.slack
    with tempfile.TemporaryDirectory(prefix="fingertrio-kills-") as directory:
        result = await Campaign(Path(directory), writers=writers).run(kills=kills, writes=writes)
    judge(result, findings, ready_limit=ready_limit)
    findings.require(result.acknowledged >= writes, "too few sets were acknowledged")
    with tempfile.TemporaryDirectory(prefix="fingertrio-kills-") as directory:
        campaign = Campaign(Path(directory), writers=few_writers, history=FEW)
        result = await campaign.run(kills=few_kills, writes=few_writes)
    judge_forgetting(result, findings, ready_limit=ready_limit)
    findings.require(result.acknowledged >= few_writes, f"too few sets were acknowledged with history = {FEW}")


def judge(result: CampaignResult, findings: Findings, *, ready_limit: float) -> None:
    """Record the result and check the criteria."""
    findings.figure(f"{result.acknowledged:,} acknowledged, {result.unanswered} unanswered")
    findings.figure(f"{len(result.lost)} lost, {len(result.torn)} torn, the file {result.unsound or 'sound'}")
    findings.figure(f"ready after {median(result.ready):.2f} s (median), {max(result.ready):.2f} s (longest)")
    _require_all(result, findings, ready_limit)


def judge_forgetting(result: CampaignResult, findings: Findings, *, ready_limit: float) -> None:
    """Like `judge`, for a short history."""
    findings.figure(
        f"with history = {FEW}: {result.acknowledged:,} acknowledged, {result.rows:,} kept; {len(result.lost)} lost, "
        f"{len(result.torn)} torn, {len(result.broken)} chains broken at {result.walks} restarts, the file "
        f"{result.unsound or 'sound'}"
    )
    _require_all(result, findings, ready_limit)
    findings.require(result.rows < result.acknowledged, "no status was deleted")


def _require_all(result: CampaignResult, findings: Findings, ready_limit: float) -> None:
    findings.require(not result.lost, f"lost: {result.lost[:5]}")
    findings.require(not result.torn, f"torn: {result.torn[:5]}")
    findings.require(not result.broken, f"broken: {result.broken[:5]}")
    findings.require(not result.unsound, f"the file: {result.unsound}")
    findings.require(max(result.ready) <= ready_limit, f"ready after {max(result.ready):.2f} s")


SCENARIO = Scenario("kills", "kill -9 while statuses are set over SQLite", run, limit=2 * PATIENCE + 60)
