from functools import partial
from itertools import pairwise

import trio

from finger12 import Lines
from harness import Step

CLOCK_JUMPS = True


async def attack(step: Step) -> None:
    """The IRC server goes away again and again, then falls silent: the bot comes back, and answers as before."""
    visits: list[float] = []
    answered = trio.Event()

    async def server(stream: trio.SocketStream) -> None:
        visits.append(trio.current_time())
        lines = Lines(stream)
        assert await lines.next() == "NICK fingerbot"
        if len(visits) <= 4:
            return
        if len(visits) == 5:  # the cable is cut: no end arrives, and nothing else
            await trio.sleep_forever()
        await lines.next()
        await stream.send_all(b"PING :are you there\r\n:anna!a@example.org PRIVMSG fingerbot :ada\r\n")
        assert await lines.next() == "PONG :are you there"
        assert await lines.next() == "PRIVMSG anna :Status of ada: Weaving algebraic patterns"
        answered.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server, 0, host="127.0.0.1"))
        async with step.running(irc_server=listeners[0].socket.getsockname()):
            with trio.move_on_after(1000):
                await answered.wait()
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
        nursery.cancel_scope.cancel()
    assert answered.is_set(), f"no answer after {len(visits)} connections"
    pauses = [round(after - before) for before, after in pairwise(visits)]
    assert pauses == [1, 2, 4, 8, 601], f"the pauses were {pauses} seconds"
