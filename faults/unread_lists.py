"""Clients that request the list of users, or a snapshot of the live feed, and read nothing."""

from __future__ import annotations

import trio

from faults.clients import dial, get, request, websocket
from faults.program import running, sections
from faults.scenario import Findings, Scale, Scenario
from fingertrio.testing.measure import raise_file_limit

_WINDOW = 4096  # bytes of the client's receive buffer
_CALL = b"<methodCall><methodName>getUsers</methodName></methodCall>"
_ASK = {
    "page": request("/", "Connection: keep-alive"),
    "JSON": request("/api/users", "Connection: keep-alive"),
    "XML-RPC": request("/RPC2", "Connection: keep-alive", "Content-Type: text/xml", method="POST", body=_CALL),
    "snapshot": websocket("/api/watch?snapshot=1"),
}

# Kilobytes that one client may cost: its connection, without a copy of what it does not read. Measured: 36.
_EACH = 50.0

# Megabytes for the lists themselves, each in memory once, and for the program's own variation.
_ONCE = 16.0


async def run(scale: Scale, findings: Findings) -> None:
    """Let the clients wait, and see what they cost."""
    users, each = 10_000, scale.of(250, 20)
    findings.done = f"{each} clients each for {', '.join(_ASK)}: a list of {users} users, which none of them reads"
    raise_file_limit(len(_ASK) * each * 2 + 500)
    statuses = {f"user{number:05}-with-a-long-name": f"Working on item {number}" for number in range(users)}
    table = sections(
        backend={"use": "memory", "users": statuses},
        http={"max_watchers": 20_000, "max_watchers_per_address": 20_000},
    )
    with running(table) as program:
        port = program.port("http")
        streams: list[trio.SocketStream] = []

        async def ask(data: bytes) -> None:
            streams.append(stream := await dial(port, window=_WINDOW))
            await stream.send_all(data)
            await stream.receive_some(1)

        for data in _ASK.values():  # everything is rendered once, and all code has run
            await ask(data)
        before = program.megabytes
        async with trio.open_nursery() as nursery:
            for data in _ASK.values():
                for _ in range(each):
                    nursery.start_soon(ask, data)
        page = await get(port, "/user00000-with-a-long-name")
        grown = program.megabytes - before
        allowed = _ONCE + len(_ASK) * each * _EACH / 1024
        findings.figure(f"{len(streams)} answers unread: {grown:.0f} MB more than with {len(_ASK)}")
        findings.require(b"Working on item 0" in page, "another visitor was not answered")
        findings.require(grown <= allowed, f"the clients cost {grown:.0f} MB instead of {allowed:.0f} MB at most")
        for stream in streams:
            await trio.aclose_forcefully(stream)
        await program.end_soon(30)


SCENARIO = Scenario("unread-lists", "clients that request long lists and do not read", run, limit=60)
