"""The server is killed with kill -9, at random moments, while statuses are set through its setter: is anything lost?

Everything is real: `python -m fingertrio` over a database file, the setter door and the finger door. Each writer sets
the statuses of one user, one after the other. A status says which it is, and carries a checksum. What has to hold:

- after each restart every user's status is one that was sent, whole, and no older than the last one that was
  acknowledged;
- after each restart the users' statuses hang together (chains.py);
- at the end every acknowledged status is in the history, whole, and the file is sound;
- the server is ready 2 s after it is started, whatever it was killed in.

That is done twice: with a history that nothing is forgotten of, and with one of three statuses, so that the server is
killed while it forgets. Then the last three of each user have to be there at the end.

kill -9 takes the process and leaves the kernel's memory, so this does not show what a loss of power does; for that,
each commit waits for fdatasync (tests/backends/sqlite holds that it does).
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
from fingertrio.testing.program import COMMAND, Program, to_toml
from fingertrio.wire.finger import Query

READY_LIMIT = 2.0  # seconds
PATIENCE = 600.0  # seconds for one campaign
ALL = 10_000_000  # statuses of a user that are kept: more than are ever set
FEW = 3  # likewise, so that some are forgotten with every ninth that is set (`rows.Retention.most`)


@dataclass
class Seen:
    """What was seen.

    Attributes:
        acknowledged: sets that were answered OK.
        unanswered: sets whose connection broke; they may have been carried out.
        lost: what was acknowledged and then not there, or older; a line each.
        torn: what was there and had never been sent; a line each.
        broken: chains that were not whole after a restart, and how; a line each.
        walks: how many restarts were followed by a look at all chains.
        rows: statuses in the file at the last of these.
        ready: seconds from each start to "ready".
        unsound: what SQLite says of the file at the end, if that is not "ok".
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
    """The status number `number` of `user`, of a length that differs, with its checksum."""
    text = f"{number} {user} " + "x" * (number * 37 % 400)
    return f"{text} {zlib.crc32(text.encode()):08x}"


def number_in(user: str, status: str) -> int | None:
    """Which status this is; None: none that was ever sent."""
    first = status.partition(" ")[0]
    return int(first) if first.isdecimal() and status == status_of(user, int(first)) else None


class Campaign:
    """Writers, the server they write to, and whoever kills it.

    Args:
        directory: empty; for the database and the server's configuration.
        writers: how many users there are, each with somebody who sets its statuses.
        history: how many statuses of each are kept.
    """

    def __init__(self, directory: Path, *, writers: int, history: int = ALL) -> None:
        self.findings = Seen()
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

    async def run(self, *, kills: int, writes: int) -> Seen:
        """Kill the server `kills` times, spread over `writes` acknowledged sets, and look at what is left."""
        portion = writes // kills
        with trio.fail_after(PATIENCE):
            for number in range(1, kills + 1):
                with self._serving() as server:
                    await self._check_present()
                    self._check_chains()
                    # Not at once, not at the end of a batch: anywhere in the portion, and at any moment of a commit.
                    within = random.randint(1, portion) if number < kills else portion
                    self._goal = portion * (number - 1) + within
                    await self._write(server)
                if number % 25 == 0:
                    progress(f"{number} of {kills} kills, {self.findings.acknowledged} acknowledged")
            with self._serving() as server:
                await self._check_present()
                self._check_chains()
                server.end()
        self._check_history()
        return self.findings

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
            self.findings.ready.append(time.monotonic() - began)
            self._ports = {door: server.port(door) for door in ("finger", "setter")}
            yield server
        log.unlink()

    async def _write(self, server: Program) -> None:
        """Set statuses until there are enough, and then kill the server while the writers go on."""
        self._enough = trio.Event()
        async with trio.open_nursery() as nursery:
            for user in self._users:
                nursery.start_soon(self._write_one, user)
            await self._enough.wait()
            await trio.sleep(random.uniform(0, 0.01))
            server.kill()
            self.findings.kills += 1

    async def _write_one(self, user: str) -> None:
        while True:
            self._sent[user] = number = self._sent[user] + 1
            try:
                await set_status(user, status_of(user, number), host="127.0.0.1", port=self._ports["setter"])
            except (SetterError, RemoteError):
                self.findings.unanswered += 1
                return
            self._acknowledged[user].append(number)
            self.findings.acknowledged += 1
            if self.findings.acknowledged >= self._goal:
                self._enough.set()

    async def _check_present(self) -> None:
        for user in self._users:
            answer = await finger(Query(user=user), "127.0.0.1", self._ports["finger"])
            status = answer.decode().rstrip("\r\n")
            last = self._acknowledged[user][-1] if self._acknowledged[user] else 0
            if status == "No such user":
                if last:
                    self.findings.lost.append(f"{user} is not there, {last} was acknowledged")
                continue
            number = number_in(user, status)
            if number is None or number > self._sent[user]:
                self.findings.torn.append(f"{user} is {status!r}")
            elif number < last:
                self.findings.lost.append(f"{user} is at {number}, {last} was acknowledged")

    def _check_chains(self) -> None:
        self.findings.rows, broken = damage(self._database)
        self.findings.broken += [f"after {self.findings.kills} kills, {one}" for one in broken]
        self.findings.walks += 1

    def _check_history(self) -> None:
        with closing(sqlite3.connect(self._database)) as database:
            (self.findings.unsound,) = database.execute("PRAGMA integrity_check").fetchone()
            if self.findings.unsound == "ok":
                self.findings.unsound = ""
            there: dict[str, set[int]] = {user: set() for user in self._users}
            for user, status in database.execute("SELECT login, text FROM status JOIN user ON user.id = status.user"):
                number = number_in(user, status)
                if number is None:
                    self.findings.torn.append(f"in the history of {user}: {status!r}")
                else:
                    there[user].add(number)
        for user, numbers in self._acknowledged.items():
            # As long as fewer are there than are kept, none may have been forgotten; of more, only the oldest.
            first = min(there[user]) if len(there[user]) >= self._history else 0
            self.findings.lost += [
                f"{user}'s {number} is not in the history"
                for number in numbers
                if number >= first and number not in there[user]
            ]


async def run(scale: Scale, findings: Findings) -> None:
    """A hundred kills over ten thousand sets, all of them kept; and forty over three thousand, of which few are."""
    kills, writes, writers = scale.of((100, 10_000, 32), (4, 400, 16))
    few_kills, few_writes, few_writers = scale.of((40, 3_000, 8), (2, 200, 4))
    findings.done = (
        f"{writers} writers; kill -9 at {kills} random moments over {writes:,} acknowledged sets; "
        f"again with history = {FEW}: {few_writers} writers, {few_kills} kills, {few_writes:,} sets"
    )
    ready_limit = READY_LIMIT + scale.slack
    with tempfile.TemporaryDirectory(prefix="fingertrio-kills-") as directory:
        seen = await Campaign(Path(directory), writers=writers).run(kills=kills, writes=writes)
    judge(seen, findings, ready_limit=ready_limit)
    findings.require(seen.acknowledged >= writes, "too few were acknowledged")
    with tempfile.TemporaryDirectory(prefix="fingertrio-kills-") as directory:
        campaign = Campaign(Path(directory), writers=few_writers, history=FEW)
        seen = await campaign.run(kills=few_kills, writes=few_writes)
    judge_forgetting(seen, findings, ready_limit=ready_limit)
    findings.require(seen.acknowledged >= few_writes, f"too few were acknowledged with history = {FEW}")


def judge(seen: Seen, findings: Findings, *, ready_limit: float) -> None:
    """What was seen, and whether it may be."""
    findings.figure(f"{seen.acknowledged:,} acknowledged, {seen.unanswered} cut off unanswered")
    findings.figure(f"{len(seen.lost)} lost, {len(seen.torn)} torn, the file {seen.unsound or 'sound'}")
    findings.figure(f"ready after {median(seen.ready):.2f} s (median), {max(seen.ready):.2f} s (longest)")
    _require_all(seen, findings, ready_limit)


def judge_forgetting(seen: Seen, findings: Findings, *, ready_limit: float) -> None:
    """As `judge`, where few statuses are kept."""
    findings.figure(
        f"with history = {FEW}: {seen.acknowledged:,} acknowledged, {seen.rows:,} kept; {len(seen.lost)} lost, "
        f"{len(seen.torn)} torn, {len(seen.broken)} chains broken at {seen.walks} restarts, the file "
        f"{seen.unsound or 'sound'}"
    )
    _require_all(seen, findings, ready_limit)
    findings.require(seen.rows < seen.acknowledged, "nothing was forgotten")


def _require_all(seen: Seen, findings: Findings, ready_limit: float) -> None:
    findings.require(not seen.lost, f"lost: {seen.lost[:5]}")
    findings.require(not seen.torn, f"torn: {seen.torn[:5]}")
    findings.require(not seen.broken, f"broken: {seen.broken[:5]}")
    findings.require(not seen.unsound, f"the file: {seen.unsound}")
    findings.require(max(seen.ready) <= ready_limit, f"ready after {max(seen.ready):.2f} s")


SCENARIO = Scenario("kills", "kill -9 while statuses are set over SQLite", run, limit=2 * PATIENCE + 60)
