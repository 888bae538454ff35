"""Ask several servers at once, and take the first answer."""

from functools import partial

import trio

from finger23 import NoAnswer, ask
from harness import Step


async def first_answer(user: str, places: list[tuple[str, int]]) -> str:
    """Return the first answer; the other questions are cancelled. Raise NoAnswer if none comes."""
    answers: list[str] = []

    async def try_one(host: str, port: int, scope: trio.CancelScope) -> None:
        try:
            answers.append(await ask(user, host, port))
        except NoAnswer:
            return
        scope.cancel()

    async with trio.open_nursery() as nursery:
        for place in places:
            nursery.start_soon(try_one, *place, nursery.cancel_scope)
    if not answers:
        raise NoAnswer(f"none of {len(places)} servers answered")
    return answers[0]


async def main() -> None:
    print(await first_answer("moshez", [("localhost", 7979), ("localhost", 79)]))


async def check(_step: Step) -> None:
    async def slow(_stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def quick(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"Here\r\n")

    async with trio.open_nursery() as nursery:
        places = []
        for handler in (slow, quick):
            listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
            places.append(listeners[0].socket.getsockname()[:2])
        with trio.fail_after(5):
            assert await first_answer("ada", places) == "Here"
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
