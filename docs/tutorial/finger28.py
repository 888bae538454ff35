"""Testing it: a door is checked without a network, with a clock that jumps, with bad clients, and by chance."""

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio
import trio.testing

from finger07 import USERS
from house.doors import finger, serve_client
from house.service import DictService

Serve = Callable[[trio.abc.HalfCloseableStream], Awaitable[object]]
PIECES = [*b"moshez /W  @ \r\n \n \r \0 \xff\xfe \x1b[2J \xc3\xa4".split(b" "), b" ", b"x" * 700]


async def converse(serve: Serve, pieces: list[bytes], end: bool = True) -> bytes:
    """Send pieces, one after the other, and return the answer."""
    client, server = trio.testing.memory_stream_pair()
    answer = bytearray()

    async def serve_and_close() -> None:  # as serve_tcp does
        await serve(server)
        await trio.aclose_forcefully(server)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_close)
        for piece in pieces:
            await client.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        if end:
            await client.send_eof()
        async for data in client:
            answer += data
    return bytes(answer)


async def check_pieces(serve: Serve) -> None:
    whole = await converse(serve, [b"moshez\r\n"])
    bytewise = await converse(serve, [bytes([byte]) for byte in b"moshez\r\n"])
    assert whole == bytewise == b"Happy and well\r\n", f"in pieces {bytewise!r}, whole {whole!r}"


async def check_silence(serve: Serve) -> None:
    with trio.move_on_after(3600) as hour:
        await converse(serve, [b"mos"], end=False)
    assert not hour.cancelled_caught, "a silent client is kept for an hour"


async def check_flood(serve: Serve) -> None:
    answer = await converse(serve, [b"x" * 100] * 30, end=False)
    assert answer.endswith(b"\r\n"), f"an endless line is answered with {answer!r}"


async def check_vanishing(serve: Serve) -> None:
    client, server = trio.testing.memory_stream_pair()

    async def gone() -> None:
        raise trio.BrokenResourceError

    server.send_stream.send_all_hook = gone
    await client.send_all(b"moshez\r\n")
    await serve(server)


async def check_chance(serve: Serve, seed: int = 1079) -> None:
    """Any input gives lines of text, and nothing but text; nothing is raised, and everything ends."""
    chance = random.Random(seed)  # noqa: S311 - the same input each time, so that a failure can be repeated
    for _ in range(100):
        pieces = chance.choices(PIECES, k=chance.randrange(6))
        answer = await converse(serve, pieces)
        assert answer.endswith(b"\r\n"), f"{pieces!r} is answered with {answer!r}"
        assert all(line.isprintable() for line in answer.decode().split("\r\n")), f"{pieces!r} gives {answer!r}"


def check_door(serve: Serve) -> None:
    """Raise AssertionError, or what the door raises, unless a finger door is right."""
    for check in (check_pieces, check_silence, check_flood, check_vanishing, check_chance):
        trio.run(check, serve, clock=trio.testing.MockClock(autojump_threshold=0))


async def main() -> None:
    door = partial(serve_client, finger, DictService(USERS))
    await trio.to_thread.run_sync(check_door, door)
    print("The finger door keeps its promises.")


if __name__ == "__main__":
    trio.run(main)
