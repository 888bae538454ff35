import json
import time

import trio

from harness import Step


class Blocking:
    """A backend that calls a function which blocks, as somebody will."""

    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        if user == "slow":
            time.sleep(0.4)  # noqa: ASYNC251 - the mistake that is to be found
        return "Happy and well" if user == "moshez" else None


async def attack(step: Step) -> None:
    """Queries forge log lines and invent names, and a backend blocks the loop: the operator must see it."""
    lines: list[str] = []
    async with step.running(backend=Blocking(), log=lines.append):
        await step.ask(b'x", "outcome": "ok"}\x1b[2J\x0b{"event": "forged"}\r\n')
        assert all("\n" not in line and line.isprintable() for line in lines), "a client can write to the terminal"
        events = [json.loads(line) for line in lines]
        assert "forged" not in [event["event"] for event in events]
        assert events[-1]["outcome"] == "unknown"
        for number in range(50):
            await step.ask(b"invented%d\r\n" % number)
        await trio.sleep(0.1)
        await step.ask(b"slow\r\n")
        await trio.sleep(0.1)
        assert "stalled" in [json.loads(line)["event"] for line in lines], "the loop was blocked, and no line says so"
        _, _, body = await step.request("/metrics")
        assert b'finger_queries_total{outcome="unknown"} 52' in body
        assert body.count(b"\n") < 10, "the metrics grow with the names that clients invent"
        lag = next(float(line.split()[1]) for line in body.splitlines() if line.startswith(b"finger_loop_lag"))
        assert lag > 0.25
