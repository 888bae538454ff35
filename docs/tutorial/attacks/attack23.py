import contextlib
import socket
from functools import partial
from typing import Any

import trio

from harness import Step

CLOCK_JUMPS = True


async def hostile(stream: trio.SocketStream) -> None:
    """Answer as no server should."""
    with contextlib.suppress(trio.BrokenResourceError):
        match (await stream.receive_some()).split():
            case [b"escape"]:
                await stream.send_all(b"\x1b]0;owned\x07Fine\r\n\tand well\r\n")
            case [b"endless"]:
                while True:
                    await stream.send_all(b"more and more\r\n" * 100)
            case [b"silent"]:
                await trio.sleep_forever()


class TwoAddresses(trio.abc.HostnameResolver):
    """A name with two addresses. The first leads nowhere."""

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        addresses = ["127.255.255.1", "127.0.0.1"] if host == b"two.example" else ["127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def attack(step: Step) -> None:
    """The server sends escape sequences, or an answer without an end, or nothing; and its first address is dead."""
    ask, no_answer = step["ask"], step["NoAnswer"]
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, hostile, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        assert await ask("escape", "two.example", port) == "?]0;owned?Fine\n\tand well"
        for user, reason in (("endless", "longer than"), ("silent", "did not answer"), ("x\r\ny", "control")):
            said = ""
            try:
                await ask(user, "127.0.0.1", port)
            except no_answer as error:
                said = str(error)
            assert reason in said, f"{user!r}: {said!r}"
        nursery.cancel_scope.cancel()
