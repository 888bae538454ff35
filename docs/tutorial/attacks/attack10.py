from functools import partial

import trio
import trio.testing

from harness import Step

CLOCK_JUMPS = True


async def attack(step: Step) -> None:
    """Fifty clients ask at once, and the other server is slow: it must not get fifty connections."""
    present: set[trio.SocketStream] = set()
    most = 0

    async def slow(stream: trio.SocketStream) -> None:
        nonlocal most
        present.add(stream)
        most = max(most, len(present))
        name = await stream.receive_some()
        await trio.sleep(0.2)
        await stream.send_all(b"Status of " + name)
        present.discard(stream)

    async def client(number: int) -> None:
        answer = await step.ask(b"user%d\r\n" % number)
        assert answer == b"Status of user%d\r\n" % number, f"user{number} got {answer!r}"

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, slow, 0, host="127.0.0.1"))
        async with step.running(upstream=listeners[0].socket.getsockname()), trio.open_nursery() as clients:
            for number in range(50):
                clients.start_soon(client, number)
        nursery.cancel_scope.cancel()
    assert 1 < most < 10, f"the other server had {most} connections at the same time"
