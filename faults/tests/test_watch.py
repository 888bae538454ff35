"""The honest clients notice what they lose."""

from __future__ import annotations

from itertools import cycle

import trio

from faults.prober import Probe
from faults.scenario import Findings
from faults.watch import Watch, watching


async def watched(*answers: bytes) -> tuple[Watch, Findings]:
    """What a client has seen of a server that gives these answers in turn."""
    turns = cycle(answers)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    served = 0
    enough = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal served
        async with stream:
            await stream.receive_some()
            await stream.send_all(next(turns))
        served += 1
        if served == 10:
            enough.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with watching([Probe(name="x", port=port, send="?", expect="well", rate=200)]) as watch:
            with trio.fail_after(10):
                await enough.wait()
        nursery.cancel_scope.cancel()
    findings = Findings()
    watch.report(findings)
    return watch, findings


async def test_whoever_is_answered_has_lost_nothing() -> None:
    watch, findings = await watched(b"well")
    assert findings.broken == []
    assert watch.results["x"].asked >= 10
    assert 0 < watch.results["x"].p50 <= watch.results["x"].p99 <= watch.worst


async def test_a_wrong_answer_is_a_loss() -> None:
    watch, findings = await watched(b"well", b"ill", b"")
    assert set(watch.results["x"].lost) == {"answered b'ill'", "answered b''"}
    assert "x lost" in findings.broken[0]
