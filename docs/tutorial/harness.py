"""Runs one listing of the tutorial, for its attack, the solution of its exercise and the sessions on its page.

The listing's own `main()` runs in a nursery, in this process, on a loopback address of its own. So listings keep their
real ports, any number of tests can run at once, and a test costs milliseconds instead of a process. Whatever goes wrong
with a listing is an AssertionError: it ends, it resets a connection, it does not answer in time.
"""

from __future__ import annotations

import itertools
import os
import re
import runpy
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any
from unittest import mock

import trio
import trio.testing

HERE = Path(__file__).parent
FINGER = 7979
PATIENCE = 60.0  # seconds that an answer may take before the test fails
_count = itertools.count(1)

if str(HERE) not in sys.path:  # listings import earlier listings, as they do when Python runs them as a file
    sys.path.append(str(HERE))


class Step:
    """One listing.

    Attributes:
        name: such as "finger04", or the path of a solution without ".py".
        main: what the listing gives to trio.run when it is run as a program.
        host: the loopback address on which it serves here.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{next(_count) % 253 + 1}"
        arguments = mock.patch("sys.argv", [f"{name}.py"])
        with arguments, mock.patch("trio.run") as run, mock.patch("asyncio.run", lambda main: main.close()):
            self.names = runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
        self.main: Callable[..., Awaitable[object]] = run.call_args.args[0] if run.called else self.names["main"]

    def __getitem__(self, name: str) -> Any:
        """Return what the listing calls so. A listing without it fails the attack."""
        assert name in self.names, f"{self.name} has no {name}"
        return self.names[name]

    @asynccontextmanager
    async def running(self, **arguments: object) -> AsyncIterator[Step]:
        """Run main(host=..., **arguments) until the block ends. A main() that ends before fails the attack."""
        unknown = set(arguments) - set(signature(self.main).parameters)
        assert not unknown, f"{self.name} has no {', '.join(sorted(unknown))}"
        if "host" in signature(self.main).parameters:
            arguments = {"host": self.host, **arguments}
        async with trio.open_nursery() as nursery:
            if "task_status" in signature(self.main).parameters:
                # Without a deadline: a clock that jumps would jump to it while a thread still reads a file.
                await nursery.start(self._run, arguments)
            else:
                nursery.start_soon(self._run, arguments)
                await trio.testing.wait_all_tasks_blocked()
            yield self
            nursery.cancel_scope.cancel()

    async def _run(
        self, arguments: dict[str, Any], *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
    ) -> None:
        if "task_status" in signature(self.main).parameters:
            arguments = {**arguments, "task_status": task_status}
        try:
            await self.main(**arguments)
        except Exception as error:
            raise AssertionError(f"{self.name} failed: {error!r}") from error
        raise AssertionError(f"{self.name} ended by itself")

    @asynccontextmanager
    async def process(self, **arguments: object) -> AsyncIterator[trio.Process]:
        """Run main() in a process of its own, for what only a process has: signals, an exit status, privileges."""
        arguments = {"host": self.host, **arguments}
        code = f"import functools, trio, {self.name}; trio.run(functools.partial({self.name}.main, **{arguments!r}))"
        command = [sys.executable, "-c", code]
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, cwd=HERE, check=False, stdout=DEVNULL, stderr=DEVNULL)
            process: trio.Process = await nursery.start(run)
            with trio.fail_after(PATIENCE):
                while not await self.listens():
                    assert process.returncode is None, f"{self.name} does not start"
                    await trio.sleep(0.02)
            yield process
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def program(self, *arguments: str | Path) -> AsyncIterator[trio.Process]:
        """Run the listing as a program of its own, with its output in `stdout`, and FINGER_HOST as its address."""
        command = [sys.executable, f"{self.name}.py", *arguments]
        environment = {**os.environ, "FINGER_HOST": self.host}
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, cwd=HERE, env=environment, check=False, stdout=PIPE, stderr=STDOUT)
            yield await nursery.start(run)
            nursery.cancel_scope.cancel()

    async def refuses(self) -> None:
        """Wait until the step accepts no more connections."""
        with trio.fail_after(PATIENCE):
            while await self.listens():  # noqa: ASYNC110 - the event is in another process
                await trio.sleep(0.02)

    async def listens(self, port: int = FINGER) -> bool:
        """Return whether the step accepts connections on a port."""
        try:
            stream = await trio.open_tcp_stream(self.host, port)
        except OSError:
            return False
        await stream.aclose()
        return True

    async def connect(self, port: int = FINGER) -> trio.SocketStream:
        """Open a connection to the step, which the caller closes."""
        try:
            return await trio.open_tcp_stream(self.host, port, happy_eyeballs_delay=PATIENCE)
        except OSError as error:
            raise AssertionError(f"{self.name} does not listen on port {port}: {error}") from None

    async def ask(self, query: bytes, port: int = FINGER) -> bytes:
        """Send a query in one piece and return the whole answer."""
        async with await self.connect(port) as stream:
            await stream.send_all(query)
            return await self.read(stream)

    async def request(
        self, target: str, body: bytes = b"", headers: str = "", method: str = "", port: int = 8000
    ) -> tuple[int, str, bytes]:
        """Send one HTTP request. Return the status, the headers and the body of the answer."""
        method = method or ("POST" if body else "GET")
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        answer = b""
        async with await self.connect(port) as stream:
            with trio.move_on_after(PATIENCE):
                await stream.send_all(head.encode() + body)
                async for data in stream:
                    answer += data
                    first, separator, rest = bytes(answer).partition(b"\r\n\r\n")
                    head, body = first.decode(errors="replace"), rest
                    length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
                    if separator and (length is None or len(body) >= int(length[1]) or head.split()[1] == "304"):
                        return int(head.split()[1]), head, body
        raise AssertionError(f"no whole answer to {method} {target}, only {answer!r}")

    async def read(self, stream: trio.abc.ReceiveStream) -> bytes:
        """Return everything until the end. A reset is a failure: the client cannot know whether it got all."""
        answer = bytearray()
        with trio.move_on_after(PATIENCE):
            try:
                async for data in stream:
                    answer += data
            except trio.BrokenResourceError:
                raise AssertionError(f"the connection was reset after {bytes(answer)!r}") from None
            return bytes(answer)
        raise AssertionError(f"no end within {PATIENCE:g} s, only {bytes(answer)!r}")


async def reset(stream: trio.SocketStream) -> None:
    """Close a connection with a reset (RST), as a client does that crashes with unread input."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await trio.aclose_forcefully(stream)
    await trio.testing.wait_all_tasks_blocked()
