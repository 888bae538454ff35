from functools import partial

import trio

from harness import Step

BEFORE = "finger22"  # the last step before that is a server


async def attack(step: Step) -> None:
    """Clients want to reach hosts through us: only the listed ones, by their listed addresses, and over one hop."""
    asked: list[bytes] = []

    async def other(stream: trio.SocketStream) -> None:
        asked.append(bytes(await stream.receive_some()))
        await stream.send_all(b"Weaving\x1b[2J\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, other, 0, host="127.0.0.1"))
        address = listeners[0].socket.getsockname()[:2]
        async with step.running(hosts={"elsewhere": address}):
            assert await step.ask(b"/W Ada@Elsewhere\r\n") == b"Weaving?[2J\r\n"
            for query in ("ada@localhost", f"ada@127.0.0.1:{address[1]}", "ada@b@elsewhere", "@elsewhere@elsewhere"):
                assert await step.ask(f"{query}\r\n".encode()) == b"Finger forwarding service denied\r\n", query
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
        nursery.cancel_scope.cancel()
    assert asked == [b"ada\r\n"]
