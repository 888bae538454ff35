"""Honest clients that ask all the while, in a process of their own, and count what they lose.

They ask at a rate that does not depend on how fast they are answered: a program that stands still for a second is asked
by all the clients of that second, as it would be in life. Each answer is compared with the expected one.

Started with its probes as JSON in its argument; writes a line when each of them has been answered once, and another
with what it saw when its standard input ends. `watch` is who starts it.
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

# Where we may, we come before the attack on the same core: its turns must not pass for the program's lateness.
_NICE = -10


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question, asked again and again, over a new connection each time.

    Attributes:
        name: in the figures.
        port: on 127.0.0.1.
        send: the bytes, as Latin-1.
        expect: bytes that the answer holds, as Latin-1.
        exact: the answer holds nothing else.
        end: end the input after the question.
        rate: questions a second.
        source: the address asked from.
        deadline: seconds after which a question counts as lost.
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
class Seen:
    """What became of one probe's questions.

    Attributes:
        asked: how many there were.
        lost: those without the expected answer, by what happened instead.
        p50, p99, worst: seconds from before the connect to the end of the answer; of all that were answered.
    """

    asked: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0

    @property
    def losses(self) -> int:
        """Questions that were not answered as expected."""
        return sum(self.lost.values())


class _Asker:
    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._send = probe.send.encode("latin-1")
        self._expect = probe.expect.encode("latin-1")
        self._latencies: list[float] = []
        self._lost: Counter[str] = Counter()

    async def run(self, stopping: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask until `stopping` is set, then wait for the answers that are due."""
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

    def seen(self) -> dict[str, object]:
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
    print(json.dumps({name: asker.seen() for name, asker in askers.items()}), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {Cores.choose().load})
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    trio.run(_main, [Probe(**each) for each in json.loads(sys.argv[1])])
