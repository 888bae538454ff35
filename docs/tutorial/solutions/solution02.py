"""Tell each client how many are connected. No lock is needed: tasks switch only at an await."""

import trio

from harness import Step

present = 0


async def handle(stream: trio.SocketStream) -> None:
    global present  # noqa: PLW0603 - the exercise is about state that tasks share
    present += 1
    try:
        await stream.send_all(f"You are number {present}\r\n".encode())
        await trio.sleep_forever()
    finally:
        present -= 1


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(handle, port, host=host)


async def check(step: Step) -> None:
    async with step.running(), await step.connect() as first, await step.connect() as second:
        assert await first.receive_some() == b"You are number 1\r\n"
        assert await second.receive_some() == b"You are number 2\r\n"


if __name__ == "__main__":
    trio.run(main)
