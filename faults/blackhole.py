"""A backend whose server accepts connections and does not answer, and later answers again.

The server is another fingertrio, queried by XML-RPC and suspended with SIGSTOP. The kernel still accepts connections
for it.
"""

from __future__ import annotations

import os
import signal
import time

import trio

from faults.clients import exchange, get, http_status
from faults.prober import Probe
from faults.program import STATUS, USER, running, sections
from faults.scenario import Findings, Scale, Scenario, until
from faults.watch import finger_probe, http_probe, watching
from fingertrio.backend import INTERNAL_ERROR

_SLACK = 0.5  # seconds beyond the deadline
_RECOVERY = 5.0


async def run(scale: Scale, findings: Findings) -> None:
    """Query cached users continuously, and uncached ones repeatedly."""
    hole, deadline = scale.of((60.0, 5.0), (0.8, 0.4))
    findings.done = f"the backend's server suspended for {hole:g} s, deadline {deadline:g} s"
    strangers = {f"user{number}": "here" for number in range(1000)}
    origin_table = sections(
        backend={"use": "memory", "users": {USER: STATUS, **strangers}}, finger=None, setter=None, admin=None
    )
    with running(origin_table) as origin:
        table = sections(
            backend={"use": "xmlrpc", "url": f"http://127.0.0.1:{origin.port('http')}/RPC2", "timeout": 30.0},
            service={"deadline": deadline, "cache_ttl": 600.0},
            setter=None,  # this backend cannot set
        )
        with running(table) as program:
            finger = program.port("finger")
            style = Probe(
                name="style sheet",
                port=program.port("http"),
                send="GET /-/style.css HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
                expect="text/css",
                exact=False,
                rate=10,
            )
            async with watching([finger_probe(program), http_probe(program), style]) as watch:
                os.kill(origin.pid, signal.SIGSTOP)
                try:
                    await _ask_into_the_hole(
                        finger, program.port("http"), hole, deadline + _SLACK + scale.slack, findings
                    )
                finally:
                    os.kill(origin.pid, signal.SIGCONT)
                began = time.monotonic()

                async def is_back() -> bool:
                    return await exchange(finger, b"user999\r\n") == b"here\r\n"

                await until(is_back, _RECOVERY + 10)
                took = time.monotonic() - began
            findings.figure(f"recovered {took:.2f} s after its return")
            findings.require(took <= _RECOVERY + scale.slack, f"recovery took {took:.2f} s")
            watch.report(findings)
            # The log is written by a thread of its own, a moment after the answer.
            await until(lambda: bool(program.events()["recovered"]), _RECOVERY)
            told = program.events()
            findings.figure(f"{told['degraded']} log lines of degradation, {told['recovered']} of recovery")
            findings.require(told["recovered"], "the log does not report the recovery")
            await program.examine(findings)


async def _ask_into_the_hole(finger: int, http: int, seconds: float, most: float, findings: Findings) -> None:
    """Query both doors for uncached users, several at a time."""
    expected = f"{INTERNAL_ERROR}\r\n".encode()
    worst = 0.0
    asked = 0
    wrong: list[bytes] = []
    until = trio.current_time() + seconds

    async def ask(number: int) -> None:
        nonlocal worst, asked
        while trio.current_time() < until:
            user = f"user{(asked := asked + 1) % 900}"
            began = time.monotonic()
            if number % 2:
                answer = await get(http, f"/api/users/{user}", within=60)
                right = http_status(answer) == 503 and INTERNAL_ERROR.encode() in answer
            else:
                answer = await exchange(finger, f"{user}\r\n".encode(), within=60)
                right = answer == expected
            worst = max(worst, time.monotonic() - began)
            if not right:
                wrong.append(answer[:200])
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(ask, number)
    findings.figure(f'{asked} uncached queries: "{INTERNAL_ERROR}" after at most {worst:.2f} s')
    findings.require(not wrong, f"{len(wrong)} other answers, such as {wrong[:1]}")
    findings.require(worst <= most, f"an answer took {worst:.2f} s")


SCENARIO = Scenario("black-hole", "the backend's server does not answer, then does", run, limit=150)
