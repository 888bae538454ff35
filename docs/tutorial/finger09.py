"""Run the finger program of this machine for each query."""

import subprocess
from collections.abc import Sequence
from functools import partial

import trio

from finger08 import handle

PROGRAM = ["finger"]
PATIENCE = 5.0  # seconds that the program may take
LIMIT = 64 * 1024  # bytes of its output


async def read(stream: trio.abc.ReceiveStream) -> bytes:
    """Return everything up to the end, or up to the limit."""
    data = bytearray()
    async for piece in stream:
        data += piece
        if len(data) >= LIMIT:
            break
    return bytes(data[:LIMIT])


async def get_user(program: Sequence[str], user: str) -> str:
    """Return what the program prints about a user. Raise TooSlowError if it takes too long."""
    if not user or "@" in user:
        return "No such user"
    command = [*program, "--", user]
    run = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            output = await read(process.stdout)
            nursery.cancel_scope.cancel()
    return "\r\n".join(output.decode(errors="replace").splitlines())


async def main(program: Sequence[str] = PROGRAM, host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, partial(get_user, program)), port, host=host)


if __name__ == "__main__":
    trio.run(main)
