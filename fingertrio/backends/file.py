"""The backend over a text file that people edit: one `user: status` a line, noticed within a second of its change.

How a change is noticed. A look at the path, four times a second, compares what stat says of the file there with what it
said of the one that was read. That sees whatever can happen to a file in one way: appended, rewritten, replaced,
deleted and made again, its directory renamed away and another in its place, a symbolic link turned, a mount. Events
from the kernel would come sooner, but they belong to inodes, not to paths: each of these ways ends or misses some
watch, network file systems send none, and a look would still be needed to mend that. Four looks cost 2 ms of CPU, most
of it for waking up.

What is half written. A file that differs is read once two looks a tenth of a second apart agree and it did not change
while it was read, so that a rewrite in place, or deleting and making again, shows its beginning and its end only. One
that never rests is read half a second after it began to move, as it is then: being late has a limit, too.

What cannot be read (missing, no regular file, no permission, too large) leaves what was read last in force; the log
says so once, and once when it is over. Nobody is known before the first reading.

A status here has no `since`: the file's own time tells when any line changed, which is not when this one was set.

Looking and reading are done in a thread, since a file system may be slow or far away; one that never answers keeps that
thread, and neither the loop nor the end of the program waits for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Annotated

import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fingertrio.backend import Change, UserInfo
from fingertrio.changes import ChangeHub
from fingertrio.names import check_user_name
from fingertrio.wire.text import clean

# Bytes. A hundred thousand users with a long line each; what is larger is no users file, and would be kept in memory.
SIZE_LIMIT = 16 * 1024 * 1024

# Seconds between looks, between two that must agree, and for how long they may disagree. In the worst case a change is
# seen after _LOOK, its writer never rests, and it is served _PATIENCE + _REST later: within the second, with room.
_LOOK = 0.25
_REST = 0.1
_PATIENCE = 0.5

# Seconds. Times of files are this coarse where they are coarsest (FAT), so that a change this soon after a reading may
# not show in them. Until then the file is read at every look, and what it says is compared.
_COARSEST_TIME = 2.0

# Bad lines told of one reading: enough to see what is wrong, and no flood when the path names some other file.
_TOLD = 20

_BOM = b"\xef\xbb\xbf"  # what some editors begin UTF-8 with

_log = logging.getLogger(__name__)


def _file_path(path: Path) -> Path:
    if not path.name or "\0" in str(path):
        raise ValueError("this names no file")
    return path


class FileOptions(BaseModel):
    """The options of the file backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[Path, AfterValidator(_file_path)] = Field(
        description="the users file; it need not be there yet, nor its directory"
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with line `line`, counted from 1; without anything that the line says but a valid user name."""

    line: int
    reason: str


def parse_users(data: bytes) -> tuple[dict[str, str], list[Problem]]:
    """Status by login name, in the order of the lines, and the lines that say neither that nor nothing.

    Lines are UTF-8. The first colon ends the name, spaces around either part do not count. Empty lines and those that
    begin with `#` say nothing. Of several lines for one user the last counts.
    """
    users: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(data.removeprefix(_BOM).split(b"\n"), 1):
        try:
            text = line.decode().strip()
            if not text or text.startswith("#"):
                continue
            user, colon, status = text.partition(":")
            if not colon:
                raise ValueError("there is no colon after the user name")  # noqa: TRY301 -- one place for bad lines
            user = check_user_name(user.rstrip())
            status = clean(status).replace("\n", " ").strip()
            if not status:
                raise ValueError("the status is empty")  # noqa: TRY301 -- one place for bad lines
        except UnicodeDecodeError:
            problems.append(Problem(number, "this is not UTF-8"))
        except ValueError as error:
            problems.append(Problem(number, str(error)))
        else:
            if users.pop(user, None) is not None:
                problems.append(Problem(number, f"{user} was in line {lines[user]} already; this line counts"))
            users[user] = status
            lines[user] = number
    return users, problems


# What tells one state of a file from another: device, inode, size, and the times of its data and of its inode.
_State = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one reading gave.

    Attributes:
        state: of the file, before it was read.
        digest: of its bytes.
        users: status by login name.
        changed: who is answered otherwise than after the reading before; None stands for the order of the list.
        problems: bad lines; empty where the bytes are those of the reading before.
        moved: the file changed while it was read.
    """

    state: _State | None = None
    digest: bytes = b""
    users: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[str | None] = ()
    problems: Sequence[Problem] = ()
    moved: bool = False


class _UnusableError(Exception):
    """The file cannot be read, for the reason that the message gives."""


def _state_of(status: os.stat_result) -> _State:
    if not stat.S_ISREG(status.st_mode):
        raise _UnusableError("it is no regular file")
    if status.st_size > SIZE_LIMIT:
        raise _UnusableError(f"it is larger than {SIZE_LIMIT} bytes")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _look(path: Path) -> _State | str:
    """The state of the file at `path`, or why it cannot be read. For a thread."""
    try:
        return _state_of(path.stat())
    except _UnusableError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)


def _read(path: Path, last: _Reading) -> _Reading | str:
    """What the file at `path` says, compared with the `last` reading, or why it cannot be read. For a thread."""
    try:
        _state_of(path.stat())  # because opening alone does something to some devices
        # What is there by now is looked at again; if that is a FIFO, opening must not have waited for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor is no path
            state = _state_of(os.fstat(descriptor))
            data = file.read(SIZE_LIMIT + 1)
            if len(data) > SIZE_LIMIT:
                raise _UnusableError(f"it is larger than {SIZE_LIMIT} bytes")  # noqa: TRY301 -- as all other reasons
            moved = state != _state_of(os.fstat(descriptor))
    except _UnusableError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    digest = hashlib.sha256(data).digest()
    if digest == last.digest:
        return replace(last, state=state, changed=(), problems=(), moved=moved)
    users, problems = parse_users(data)
    changed: list[str | None] = [user for user, status in users.items() if last.users.get(user) != status]
    changed += last.users.keys() - users.keys()
    if not changed and list(users) != list(last.users):
        changed.append(None)
    return _Reading(state, digest, users, changed, problems, moved)


class FileBackend:
    """Lists and emits changes; made by `open_file`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = _Reading()  # the last one that is served
        self._read_at = -inf
        self._certain_from = -inf  # a reading that begins then or later has seen what its state says
        self._trouble: str | None = None  # why the file cannot be read now
        self._stale_since: datetime | None = None
        self._hub = ChangeHub()
        self._limiter = trio.CapacityLimiter(1)

    async def get_user(self, user: str) -> UserInfo | None:
        """What the file says of `user`; never raises."""
        await trio.lowlevel.checkpoint()
        status = self._reading.users.get(user)
        return None if status is None else UserInfo(user, status)

    async def get_users(self) -> Sequence[str]:
        """Everybody in the file, in the order of its lines."""
        await trio.lowlevel.checkpoint()
        return list(self._reading.users)

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of those whose line says something else, is new or is gone."""
        return self._hub.changes()

    def stale_since(self) -> datetime | None:
        """See `TellsStaleness`: since when it was noticed that the file cannot be read."""
        return self._stale_since

    async def read(self, *, moving: bool) -> bool:
        """Read the file and serve what it says. False: it changed meanwhile, which `moving` would have allowed."""
        now = trio.current_time()
        reading = await trio.to_thread.run_sync(
            _read, self._path, self._reading, abandon_on_cancel=True, limiter=self._limiter
        )
        if isinstance(reading, str):
            self._is_unusable(reading)
            return True
        if reading.moved and not moving:
            return False
        if (reading.state, reading.digest) != (self._reading.state, self._reading.digest):
            self._certain_from = now + _COARSEST_TIME
        self._read_at = now
        self._serve(reading)
        return True

    async def run(self) -> None:
        """Notice changes. Never returns."""
        last: _State | str | None = self._trouble or self._reading.state
        moving_since = inf
        while True:
            await trio.sleep(_LOOK if moving_since == inf else _REST)
            look = await trio.to_thread.run_sync(_look, self._path, abandon_on_cancel=True, limiter=self._limiter)
            now = trio.current_time()
            if self._is_served(look):
                moving_since = inf
            else:
                moving_since = min(moving_since, now)
                patience_ends = now - moving_since >= _PATIENCE
                if look == last or patience_ends:
                    if isinstance(look, str):
                        self._is_unusable(look)
                        moving_since = inf
                    elif await self.read(moving=patience_ends):
                        moving_since = inf
            last = look

    def _is_served(self, look: _State | str) -> bool:
        if isinstance(look, str):
            return self._trouble is not None
        return self._trouble is None and look == self._reading.state and self._read_at >= self._certain_from

    def _is_unusable(self, reason: str) -> None:
        if self._trouble is None:
            if self._reading.state is None:
                _log.warning("%s: %s; nobody is known until it can be read", self._path, reason)
            else:
                self._stale_since = datetime.now(UTC)
                _log.warning("%s: %s; what it said last is served, stale, until it can be read", self._path, reason)
        self._trouble = reason

    def _serve(self, reading: _Reading) -> None:
        self._reading = reading
        if self._trouble is not None:
            self._trouble = self._stale_since = None
            _log.warning("%s: it can be read again, and is served", self._path)
        for problem in reading.problems[:_TOLD]:
            _log.warning("%s:%d: %s", self._path, problem.line, problem.reason)
        if (untold := len(reading.problems) - _TOLD) > 0:
            _log.warning("%s: %d more lines are bad", self._path, untold)
        self._hub.emit_all(reading.changed)


@asynccontextmanager
async def open_file(options: FileOptions) -> AsyncIterator[FileBackend]:
    """The backend over the file at `options.path`, which is read before this returns, and followed until it ends."""
    backend = FileBackend(options.path.absolute())
    await backend.read(moving=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
