"""Test the setter in the same way: whole, in pieces, silent, vanishing, and by chance."""

import random
from functools import partial

import trio
import trio.testing

from finger28 import Serve, check_silence, check_vanishing, converse
from harness import Step
from house.doors import serve_client, setter
from house.service import DictService

PIECES = [b"ada", b"\r\n", b"\n", b"Weaving", b"\x1b[2J", b"\0", b"\xff", b"x" * 300]


async def check_pieces(serve: Serve) -> None:
    for pieces in ([b"ada\r\nWeaving\r\n"], [b"a", b"da\r", b"\nWea", b"ving\r\n"], [b"ada\nWeaving\nmore\n"]):
        assert await converse(serve, pieces) == b"OK\r\n"


async def check_chance(serve: Serve) -> None:
    chance = random.Random(12)  # noqa: S311 - the same input each time
    for _ in range(100):
        answer = await converse(serve, chance.choices(PIECES, k=chance.randrange(8)))
        assert answer.endswith(b"\r\n")
        assert answer.decode().strip().isprintable()


async def main() -> None:
    print("The setter keeps its promises.")


def check(_step: Step) -> None:
    service = DictService({})
    door = partial(serve_client, setter, service)
    for test in (check_pieces, check_silence, check_vanishing, check_chance):
        trio.run(test, door, clock=trio.testing.MockClock(autojump_threshold=0))
    statuses = service._users.values()  # noqa: SLF001 - no way of asking for all of them
    assert all(status.isprintable() and len(status) <= 200 for status in statuses)


if __name__ == "__main__":
    trio.run(main)
