"""For commands that run until they are interrupted, or until the reader of their output is gone."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from fingertrio.cli.signals import INTERRUPTED


async def until_interrupted(work: Callable[[], Awaitable[int]]) -> int:
    """The status that `work` returns; INTERRUPTED after SIGINT, and 0 if the reader of the output is gone."""
    status, interrupted = 0, trio.Event()
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            nursery.start_soon(_end_at_signal, signals, nursery.cancel_scope, interrupted)
            nursery.start_soon(_end_without_reader, nursery.cancel_scope)
            status = await work()
            nursery.cancel_scope.cancel()
    return INTERRUPTED if interrupted.is_set() else status


async def _end_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope, interrupted: trio.Event) -> None:
    async for _ in signals:
        interrupted.set()
        scope.cancel()


async def _end_without_reader(scope: trio.CancelScope) -> None:
    """Notice that a pipe's reader is gone (`| head -1`), even if there is nothing to write for hours."""
    if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        # The writing end of a pipe is never readable, but its error condition wakes the wait.
        await trio.lowlevel.wait_readable(sys.stdout.fileno())
        scope.cancel()
