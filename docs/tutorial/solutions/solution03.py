"""Close at once, and see what the client sees: the answer, but then a reset instead of an end."""

import socket

import trio
import trio.testing

from harness import Step


async def handle(stream: trio.SocketStream) -> None:
    await stream.send_all(b"No statuses yet\r\n")
    await stream.aclose()


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(handle, port, host=host)


async def check(step: Step) -> None:
    async with step.running():
        with socket.create_connection((step.host, 7979)) as client:
            client.sendall(b"moshez\r\n")
            await trio.testing.wait_all_tasks_blocked()
            assert client.recv(100) == b"No statuses yet\r\n"
            try:
                client.recv(100)
            except ConnectionResetError:
                return
    raise AssertionError("the connection was ended, not reset")


if __name__ == "__main__":
    trio.run(main)
