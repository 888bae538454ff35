"""The STS policies of all networks, kept in a file so that a restart forgets none of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import trio

from fingertrio.observe.observer import Observer
from fingertrio.wire.irc_sts import Policies

_SIZE_LIMIT = 1_000_000  # bytes


class STSStore:
    """`Policies` with a file.

    Args:
        path: of the file; None: only in memory.
        observer: logs once if the file cannot be written.
        clock: the time of day, in seconds.

    Attributes:
        policies: what holds now.
    """

    def __init__(self, path: Path | None, observer: Observer, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._observer = observer
        self._saving = trio.Lock()
        self.policies = Policies(clock, _read(path))

    async def save(self) -> None:
        """Write the policies as they are; a failure is logged and changes nothing else."""
        if self._path is None:
            return
        async with self._saving:
            try:
                await trio.to_thread.run_sync(_write, self._path, self.policies.dump())
            except OSError as error:
                reason = f"{self._path}: {error.strerror}"
                self._observer.degraded("irc_sts", reason, essential=False)
            else:
                self._observer.recovered("irc_sts")


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_SIZE_LIMIT)
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
