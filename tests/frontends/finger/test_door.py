"""The [finger] section: what a reload changes while the front end serves."""

from __future__ import annotations

import io

import trio

from fingertrio.config.doors import FingerSection
from fingertrio.frontend import Door, TakesOptions
from fingertrio.frontends.finger.door import open_finger
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from fingertrio.wire import PROXY_REFUSAL
from tests.helpers import loopback_listener, no_accounts

HEADER = b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 2, 4, 210, 0, 79])


def section(**values: object) -> FingerSection:
    return FingerSection.model_validate({"listen": ["127.0.0.1:0"], **values})


async def test_a_reload_changes_the_answers_and_who_sends_the_proxy_header():
    observer = Observer(io.StringIO(), human=False)
    with loopback_listener() as listener:
        async with (
            FingerService.open(FakeBackend({"ada": "Weaving"}), observer=observer) as service,
            trio.open_nursery() as nursery,
        ):
            door = Door(
                name="finger",
                service=service,
                accounts=no_accounts(),
                observer=observer,
                listeners=[listener],
                caps=ConnectionCaps(total=10, per_address=10),
                queries=RateLimiter(rate=100, burst=100),
                writes=RateLimiter(rate=100, burst=100),
            )
            frontend = open_finger(section(), door)
            assert isinstance(frontend, TakesOptions)
            await nursery.start(frontend.serve, trio.Event())

            async def ask(data: bytes) -> bytes:
                async with await trio.open_tcp_stream(*listener.getsockname()) as stream:
                    await stream.send_all(data)
                    return b"".join([chunk async for chunk in stream])

            assert await ask(b"ada\r\n") == b"Weaving\r\n"
            assert await ask(HEADER + b"ada\r\n") == PROXY_REFUSAL.encode() + b"\r\n"
            frontend.prepare(section(answer="full", proxy_protocol=True, trusted_proxies=["127.0.0.1"]))()
            assert (await ask(HEADER + b"ada\r\n")).startswith(b"Login: ada")
            frontend.prepare(section())()
            assert await ask(b"ada\r\n") == b"Weaving\r\n"
            nursery.cancel_scope.cancel()
