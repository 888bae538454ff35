"""Honest clients that query continuously, in a process of their own, and count the queries that they lose.

Their rate does not depend on the answers: a server that stalls for a second then meets all the clients of that second,
as it would in reality. Each answer is compared with the expected one.

The argument is a list of probes as JSON. The process writes one line when every probe has had its first answer, and one
line of results when its standard input ends. `watch` starts it.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from faults.clients import exchange
from fingertrio.testing.measure import Cores

# Where permitted, this process goes before the attack on the same core, whose delays would be in the figures.
_NICE = -10


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One query, repeated, over a new connection each time.

    Attributes:
        name: in the figures.
        port: on 127.0.0.1.
        send: the bytes, as Latin-1.
        expect: bytes that the answer contains, as Latin-1.
        exact: the answer contains nothing else.
        end: end the input after the query.
        rate: queries per second.
        source: the address that it comes from.
        deadline: seconds after which a query counts as lost.
    """

    name: str
    port: int
    send: str
    expect: str
    exact: bool = True
    end: bool = False
    rate: float = 50.0
    source: str = "127.0.0.9"
    deadline: float = 10.0


@dataclass(slots=True)
class ProbeResult:
    """The results of one probe.

    Attributes:
        asked: how many queries there were.
        lost: those without the expected answer, by what happened instead.
        p50, p99, worst: seconds from before the connect to the end of the answer, of all answered queries.
    """

    asked: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0

    @property
    def losses(self) -> int:
        """How many queries were not answered as expected."""
        return sum(self.lost.values())


class _Asker:
    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._send = probe.send.encode("latin-1")
        self._expect = probe.expect.encode("latin-1")
        self._latencies: list[float] = []
        self._lost: Counter[str] = Counter()

    async def run(self, stopping: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Query until `stopping` is set, then wait for the outstanding answers."""
        await self._ask()
        task_status.started()
        due = trio.current_time()
        async with trio.open_nursery() as asking:
            while not stopping.is_set():
                due += 1 / self._probe.rate
                with trio.move_on_at(due):
                    await stopping.wait()
                    break
                asking.start_soon(self._ask)

    async def _ask(self) -> None:
        probe = self._probe
        began = trio.current_time()
        try:
            answer = await exchange(probe.port, self._send, end=probe.end, source=probe.source, within=probe.deadline)
        except trio.TooSlowError:
            self._lost["not answered in time"] += 1
        except ConnectionRefusedError:
            self._lost["refused"] += 1
        except (OSError, trio.BrokenResourceError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            self._lost[f"broken: {cause}"] += 1
        else:
            self._latencies.append(trio.current_time() - began)
            if answer != self._expect if probe.exact else self._expect not in answer:
                self._lost[f"answered {answer[:80]!r}"] += 1

    def result(self) -> dict[str, object]:
        latencies = sorted(self._latencies) or [0.0]
        return {
            "asked": len(self._latencies) + sum(n for why, n in self._lost.items() if not why.startswith("answered")),
            "lost": dict(self._lost),
            "p50": latencies[len(latencies) // 2],
            "p99": latencies[len(latencies) * 99 // 100],
            "worst": latencies[-1],
        }


async def _main(probes: list[Probe]) -> None:
    askers = {probe.name: _Asker(probe) for probe in probes}
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        for asker in askers.values():
            await nursery.start(asker.run, stopping)
        print("asking", flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            pass
        stopping.set()
    print(json.dumps({name: asker.result() for name, asker in askers.items()}), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {Cores.choose().load})
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    trio.run(_main, [Probe(**each) for each in json.loads(sys.argv[1])])
