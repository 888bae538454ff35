"""A thousand clients, each within the limits of one connection, that together would occupy 250 MB or more.

`unread_lists` does the same with answers that are not read.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import cache
from pathlib import Path

import trio
import trustme

from faults.clients import dial
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import every_probe, watching
from fingertrio.testing.measure import raise_file_limit

_BUDGET = 64 * 1024 * 1024  # bytes: the default of max_buffered
_GROWTH = 100.0  # megabytes at the peak: measured 55, for the budget and the connections, tasks and buffers around it
_SLOWEST = 0.5  # seconds for any answer of another door
_SLOWEST_HTTP = 2.0  # seconds for one of the door under attack
_BODY = 250_000  # bytes of a request's body, below the limit of one
_DESCRIPTORS = 4000
_WINDOW = 4096  # bytes of the client's receive buffer


async def _slow_post(program: AttackedProgram, stack: AsyncExitStack) -> None:
    """Nearly all of a body, and not its end."""
    stream = await stack.enter_async_context(await dial(program.port("http")))
    head = f"POST /RPC2 HTTP/1.1\r\nHost: test\r\nContent-Type: text/xml\r\nContent-Length: {_BODY}\r\n\r\n"
    with suppress(trio.BrokenResourceError):  # refused
        await stream.send_all(head.encode() + b"x" * (_BODY - 100))


@cache
def _client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def _half_handshake(program: AttackedProgram, stack: AsyncExitStack) -> None:
    """A first message, and no reaction to the server's."""
    with suppress(OSError, trio.BrokenResourceError):  # refused
        stream = await stack.enter_async_context(await dial(program.port("http"), window=_WINDOW))
        await stream.send_all(_client_hello())


async def _measure(
    name: str,
    one: Callable[[AttackedProgram, AsyncExitStack], Awaitable[None]],
    *,
    tls: bool,
    scale: Scale,
    findings: Findings,
) -> None:
    """The program's growth while so many clients hold on to what they occupy, and honest ones ask."""
    count = scale.of(1000, 40)
    with tempfile.TemporaryDirectory() as directory:
        certificate = Path(directory, "localhost.pem")
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        http = {"certfile": str(certificate), "keyfile": str(certificate)} if tls else {}
        table = sections(
            backend={"use": "memory", "users": {USER: STATUS, "ada": "Weaving"}},
            http={"max_connections_per_address": 2000, "max_buffered": scale.of(_BUDGET, 8 * 1024 * 1024), **http},
        )
        with running(table) as program:
            if not tls:
                await program.examine(findings)
            program.forget_peak()
            before = program.megabytes
            probes = [probe for probe in every_probe(program) if not tls or probe.name == "finger"]
            async with AsyncExitStack() as stack, watching(probes) as watch:
                async with trio.open_nursery() as nursery:
                    for _ in range(count):
                        nursery.start_soon(one, program, stack)
                await trio.sleep(scale.of(3.0, 0.3))
            grown = program.peak_megabytes - before
            metrics = await program.metrics()
            refused = metrics.get('fingertrio_refusals_total{door="http",reason="memory"}', 0.0)
            findings.figure(f"{count} {name}: memory +{grown:.0f} MB at the peak, {refused:.0f} refused")
            watch.report(findings)
            findings.require(grown <= _GROWTH, f"{name}: memory grew by {grown:.0f} MB")
            findings.require(refused, f"{name}: none was refused")
            others = max(result.worst for door, result in watch.results.items() if door != "HTTP")
            findings.require(others <= _SLOWEST + scale.slack, f"{name}: another door took {others:.2f} s")
            findings.require(watch.worst <= _SLOWEST_HTTP + scale.slack, f"{name}: HTTP took {watch.worst:.2f} s")
            if not tls:
                await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    """One kind after the other, each on its own program."""
    raise_file_limit(_DESCRIPTORS)
    findings.done = "clients within the limits of one connection: posts without an end, half TLS handshakes"
    await _measure("posts of 250 kB without an end", _slow_post, tls=False, scale=scale, findings=findings)
    await _measure("half TLS handshakes", _half_handshake, tls=True, scale=scale, findings=findings)


SCENARIO = Scenario("memory", "memory is bounded for all clients together", run, limit=180)
