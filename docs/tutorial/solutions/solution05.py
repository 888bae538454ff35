"""Say who vanished. The address is asked for at the start: a connection that was reset has none any more."""

import trio

from finger05 import DEADLINE, converse
from harness import Step, reset

vanished: list[str] = []


async def handle(stream: trio.SocketStream) -> None:
    address, *_ = stream.socket.getpeername()
    try:
        with trio.move_on_after(DEADLINE):
            await converse(stream)
    except trio.BrokenResourceError as error:
        vanished.append(f"{address}: {error.__cause__}")
        print(vanished[-1], flush=True)


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(handle, port, host=host)


async def check(step: Step) -> None:
    async with step.running():
        await reset(await step.connect())
        assert await step.ask(b"moshez\r\n") == b"No such user\r\n"
    assert len(step["vanished"]) == 1
    assert "Connection reset by peer" in step["vanished"][0]


if __name__ == "__main__":
    trio.run(main)
