"""Keep an answer for ten seconds. Times come from trio.current_time, so a test needs no real seconds."""

from functools import partial

import trio

from finger08 import handle
from finger10 import Upstream
from harness import Step

CLOCK_JUMPS = True
FRESH = 10.0  # seconds


class CachingUpstream(Upstream):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._answers: dict[str, tuple[float, str]] = {}

    async def get_user(self, user: str) -> str:
        expires, answer = self._answers.get(user, (0.0, ""))
        if trio.current_time() >= expires:
            answer = await super().get_user(user)
            if len(self._answers) >= 1000:  # names are invented by clients: a cache without a limit is a leak
                self._answers.clear()
            self._answers[user] = (trio.current_time() + FRESH, answer)
        return answer


async def main(upstream: tuple[str, int] = ("localhost", 79), host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, CachingUpstream(*upstream).get_user), port, host=host)


async def check(step: Step) -> None:
    asked = 0

    async def count(stream: trio.SocketStream) -> None:
        nonlocal asked
        await stream.receive_some()
        asked += 1
        await stream.send_all(f"{asked}\r\n".encode())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, count, 0, host="127.0.0.1"))
        async with step.running(upstream=listeners[0].socket.getsockname()):
            assert [await step.ask(b"ada\r\n") for _ in range(3)] == [b"1\r\n"] * 3
            await trio.sleep(11)
            assert await step.ask(b"ada\r\n") == b"2\r\n"
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
