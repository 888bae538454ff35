"""A watchdog: tell the service manager that all is well, but only while the loop is not late (sd_notify's protocol)."""

import contextlib
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from harness import Step
from observe30 import BEAT, Observer


def notify(message: str) -> None:
    """Send a line to the service manager, if there is one: a datagram to the socket that NOTIFY_SOCKET names."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)  # a manager that does not read must not stop us
            manager.connect(path.replace("@", "\0", 1) if path.startswith("@") else path)
            with contextlib.suppress(BlockingIOError):
                manager.send(message.encode())


async def heartbeat(observer: Observer, every: float = 10.0, too_late: float = 5.0) -> None:
    """Report to the watchdog. A loop that hangs does not come here at all, and one that limps is not well either."""
    while True:
        if observer.worst_lag < too_late:
            notify("WATCHDOG=1")
        observer.worst_lag = 0.0
        await trio.sleep(every)


async def main() -> None:
    observer = Observer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observer.watch_loop)
        nursery.start_soon(heartbeat, observer)
        notify("READY=1")


async def check(_step: Step) -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = Path(folder, "notify")
        manager.bind(str(path))
        manager.setblocking(False)
        os.environ["NOTIFY_SOCKET"] = str(path)
        observer = Observer()
        try:
            with trio.move_on_after(BEAT):
                await heartbeat(observer, every=0.001)
            assert manager.recv(100) == b"WATCHDOG=1"
            while True:  # whatever else was sent
                try:
                    manager.recv(100)
                except BlockingIOError:
                    break
            observer.worst_lag = 7.0
            with trio.move_on_after(0.01):
                await heartbeat(observer)
            failed = False
            try:
                manager.recv(100)
            except BlockingIOError:
                failed = True
            assert failed, "a loop that was late by seven seconds is reported as well"
        finally:
            del os.environ["NOTIFY_SOCKET"]


if __name__ == "__main__":
    trio.run(main)
