"""Who may write: the kernel says who is on the other side of a Unix socket, and from elsewhere a token does."""

import os
import pwd
import socket
import struct
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from finger19_3 import FingerService
from finger19a import MemoryBackend
from house.doors import finger, open_door, read_lines, serve_client
from house.service import Service
from tokens31 import Tokens

SOCKET = Path(tempfile.gettempdir(), f"finger-{os.getuid()}.sock")

Stream = trio.abc.HalfCloseableStream


async def set_with_token(tokens: Tokens, service: Service, stream: Stream) -> str:
    """Read a token and a status, a line each. The status is that of the token's user."""
    assert isinstance(stream, trio.SocketStream)
    address = stream.socket.getpeername()[0]
    token, status = await read_lines(stream, 2)
    await service.set_user(tokens.user_of(token, address), status)
    return "OK"


async def set_by_kernel(service: Service, stream: Stream) -> str:
    """Read a status. It is that of the user whose process is on the other side, which no process can fake."""
    assert isinstance(stream, trio.SocketStream)
    credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    [status] = await read_lines(stream, 1)
    await service.set_user(pwd.getpwuid(uid).pw_name, status)
    return "OK"


async def main(
    tokens: Mapping[str, str] | None = None,
    path: Path = SOCKET,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FingerService(MemoryBackend())
    with_token = partial(set_with_token, Tokens(tokens or {}))
    path.unlink(missing_ok=True)  # left by a program that was killed
    with trio.socket.socket(socket.AF_UNIX) as local:
        await local.bind(str(path))
        path.chmod(0o666)  # anybody on this machine may connect: the kernel says who it is
        local.listen()
        handler = partial(serve_client, set_by_kernel, service)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, handler, [trio.SocketListener(local)])
            await nursery.start(open_door(finger, service, host, 7979))
            await nursery.start(open_door(with_token, service, host, 1079))
            task_status.started()


if __name__ == "__main__":
    trio.run(main)
