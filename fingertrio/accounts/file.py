"""The tokens in a file: read again when it changes, replaced as a whole.

The file is made for its owner alone (0600). A file that other users could change is refused, because its writer can
set every status. Work on the file is done in a thread with a limiter of its own, so a slow file system delays
writers of statuses and no other user.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from fingertrio.accounts.tokens import TokensError

# Bytes. A token takes about 300, so this is some ten thousand of them.
_SIZE_LIMIT = 4 * 1024 * 1024

_THREADS = 4  # at work on the file at once


class TokenFile:
    """A `Document` in a file.

    Args:
        path: of the file; it and its directory are made with the first token.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._limiter = trio.CapacityLimiter(_THREADS)
        # What stat said of the file, and its content then. One attribute, since several threads read and set it.
        self._kept: tuple[tuple[int, ...], bytes] | None = None

    async def read(self) -> bytes | None:
        """The file's content; None: there is no file."""
        return await trio.to_thread.run_sync(self._read, limiter=self._limiter)

    async def replace(self, document: bytes, old: bytes | None) -> bool:
        """Put `document` in the place of `old`, unless the file has another content by now."""
        # Not abandoned when cancelled: the lock must not outlive the call.
        return await trio.to_thread.run_sync(self._replace, document, old, limiter=self._limiter)

    def _read(self) -> bytes | None:
        try:
            kept, status = self._kept, self.path.stat()
            if kept is not None and kept[0] == _identity(status):
                return kept[1]
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from error
        try:
            status = os.fstat(descriptor)
            self._check(status)
            content = os.read(descriptor, _SIZE_LIMIT + 1)  # whole: a file that is not larger is read at once
        finally:
            os.close(descriptor)
        if len(content) > _SIZE_LIMIT:
            raise TokensError(f"{self.path} is larger than {_SIZE_LIMIT} bytes: revoke tokens that are not used")
        self._kept = _identity(status), content
        return content

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise TokensError(f"{self.path} is not a file")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in {0, os.geteuid(), self._owner()}:
            raise TokensError(
                f"{self.path} can be changed by other users: chmod 600 it, and chown it to the server's user"
            )

    def _owner(self) -> int:
        """The owner of the directory: root runs commands on the files of a server that is not root."""
        return self.path.parent.stat().st_uid if os.geteuid() == 0 else os.geteuid()

    def _replace(self, document: bytes, old: bytes | None) -> bool:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                self._kept = None  # compare the content, not what stat says
                if self._read() != old:
                    return False
                self._write(document)
        except OSError as error:
            raise self._failed("written", error) from error
        return True

    def _failed(self, what: str, error: OSError) -> TokensError:
        denied = isinstance(error, PermissionError)
        advice = "; run the command as the server's user, or as root" if denied else ""
        return TokensError(f"{self.path} cannot be {what}: {error.strerror}{advice}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, whichever program it is in. The lock is on the directory, which stays the same file."""
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, document: bytes) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        # A new file, never one that is there: its mode is unknown, and root would give away what a hard link leads to.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._give_away(descriptor)
                file.write(document)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(self.path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _give_away(self, descriptor: int) -> None:
        """A file that root writes belongs to the owner of the one before, or of the directory: to the server's user."""
        if os.geteuid() != 0:
            return
        try:
            status = self.path.stat()
        except FileNotFoundError:
            status = self.path.parent.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
