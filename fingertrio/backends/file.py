"""The backend over a users file that people edit: a change is served within a second.

How a change is noticed. Four times a second the backend calls stat on the path and compares the result with that of
the file it read. This notices every way to change a file: appending, rewriting, replacing, deleting and creating again,
renaming its directory, changing a symbolic link, mounting. Kernel events (inotify) would be faster, but they follow
inodes, not paths: each of these ways breaks some watch, network file systems send no events, and polling would still be
needed. Four polls a second cost 2 ms of CPU, mostly for wake-ups.

Half-written files. A changed file is read when two polls a tenth of a second apart give the same result, and only if it
did not change while it was read. So clients never see the middle of a rewrite in place, or of a delete and create. A
file that never settles is read half a second after it began to change.

A file that cannot be used (missing, not a regular file, no permission, too large, not text, no line of it valid): the
backend keeps serving the last good reading, reports it as stale, and logs the reason once, and the recovery once.
Before the first good reading there are no users.

A line that changes while the backend runs has the time at which that was noticed as its `since`, less than a second
later. Lines that were there at the start have none: the time of the file says when any line changed, not which.

Polling and reading run in a thread, because a file system may be slow or remote. If the file system never answers, that
thread is lost, but neither the event loop nor the shutdown waits for it.
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

from fingertrio.backend import Change, Recency, UserInfo
from fingertrio.changes import ChangeHub
from fingertrio.names import check_user_name
from fingertrio.wire.by_time import ByTime
from fingertrio.wire.status import STATUS_LIMIT
from fingertrio.wire.users_file import USERS_FILE_LIMIT, Problem, parse_users_file

# Seconds between polls, between two polls that must agree, and for how long polls may disagree. In the worst case a
# change is noticed after _POLL_INTERVAL, its writer never pauses, and it is served _SETTLE_LIMIT + _SETTLE_INTERVAL
# later: within a second, with room to spare.
_POLL_INTERVAL = 0.25
_SETTLE_INTERVAL = 0.1
_SETTLE_LIMIT = 0.5

# Seconds. The coarsest file times (FAT) have this resolution, so a change this soon after a reading may not change
# them. Until then the file is read at every poll, and its content is compared.
_COARSEST_TIME = 2.0

# Bad lines logged for one reading: enough to see what is wrong, without a flood if the path names some other file.
_LOGGED_PROBLEMS = 20

_log = logging.getLogger(__name__)


def _file_path(path: Path) -> Path:
    if not path.name or "\0" in str(path):
        raise ValueError("this is not the path of a file")
    return path


class FileOptions(BaseModel):
    """The options of the file backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[Path, AfterValidator(_file_path)] = Field(
        description="the users file; the file and its directory may be created later"
    )


# Distinguishes states of a file: device, inode, size, modification time, inode change time.
_State = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Reading:
    """The result of one reading.

    Attributes:
        state: of the file, before it was read.
        digest: of its bytes.
        users: by login name; made here, so that a question costs no more than finding one.
        order: the users by that time.
        changed: users whose answer differs from that of the previous reading; None: the order of the list.
        problems: bad lines; empty if the bytes are those of the previous reading.
        is_unsettled: the file changed while it was read.
    """

    state: _State | None = None
    digest: bytes = b""
    users: Mapping[str, UserInfo] = field(default_factory=dict)
    order: ByTime = field(default_factory=ByTime)
    changed: Sequence[str | None] = ()
    problems: Sequence[Problem] = ()
    is_unsettled: bool = False


@dataclass(frozen=True, slots=True)
class _Unusable:
    """The file cannot be used: the reason, and the state and stability of a file that could be read all the same."""

    reason: str
    state: _State | None = None
    is_unsettled: bool = False


class _UnusableError(Exception):
    """The file cannot be used; the message gives the reason."""


def _state_of(status: os.stat_result) -> _State:
    if not stat.S_ISREG(status.st_mode):
        raise _UnusableError("not a regular file")
    if status.st_size > USERS_FILE_LIMIT:
        raise _UnusableError(f"larger than {USERS_FILE_LIMIT} bytes")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _poll(path: Path) -> _State | _Unusable:
    """The state of the file at `path`, or why the file cannot be used. Runs in a thread."""
    try:
        return _state_of(path.stat())
    except (_UnusableError, OSError) as error:
        return _unusable(error)


def _unusable(error: _UnusableError | OSError) -> _Unusable:
    return _Unusable(error.strerror if isinstance(error, OSError) and error.strerror else str(error))


def _read(path: Path, last: _Reading) -> _Reading | _Unusable:
    """Read the file at `path` and compare it with the `last` reading; or why it cannot be used. Runs in a thread."""
    try:
        state, data, is_unsettled = _read_bytes(path)
    except (_UnusableError, OSError) as error:
        return _unusable(error)
    digest = hashlib.sha256(data).digest()
    if digest == last.digest:
        return replace(last, state=state, changed=(), problems=(), is_unsettled=is_unsettled)
    try:
        statuses, problems = _parse(data)
    except _UnusableError as error:
        return _Unusable(str(error), state, is_unsettled)
    since = None if last.state is None else datetime.now(UTC)
    users: dict[str, UserInfo] = {}
    changed: list[str | None] = []
    for user, status in statuses.items():
        known = last.users.get(user)
        if known is None or known.status != status:
            known = UserInfo(user, status, since=since)
            changed.append(user)
        users[user] = known
    changed += last.users.keys() - users.keys()
    if not changed and list(users) != list(last.users):
        changed.append(None)
    order = ByTime((user, info.since) for user, info in users.items())
    return _Reading(state, digest, users, order, changed, problems, is_unsettled)


def _read_bytes(path: Path) -> tuple[_State, bytes, bool]:
    """The state of the file, its bytes, and whether it changed meanwhile. Raises _UnusableError or OSError."""
    _state_of(path.stat())  # before opening, because opening some devices has side effects
    # The path may lead to another file by now: if that is a FIFO, opening must not wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        state = _state_of(os.fstat(descriptor))
        data = file.read(USERS_FILE_LIMIT + 1)
        if len(data) > USERS_FILE_LIMIT:
            raise _UnusableError(f"larger than {USERS_FILE_LIMIT} bytes")
        return state, data, state != _state_of(os.fstat(descriptor))


def _parse(data: bytes) -> tuple[dict[str, str], Sequence[Problem]]:
    """Raises _UnusableError if this is not a users file at all: a mistake, in most cases, and not an empty list."""
    try:
        parsed = parse_users_file(data, check_user=check_user_name, status_limit=STATUS_LIMIT)
    except ValueError as error:
        raise _UnusableError(str(error)) from error
    if parsed.problems and not parsed.entries:
        first = parsed.problems[0]
        raise _UnusableError(f"no line is a valid 'user: status' (line {first.line}: {first.reason})")
    return {entry.user: entry.status for entry in parsed.entries}, parsed.problems


class FileBackend:
    """Answers at once, lists users and emits changes; created by `open_file`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = _Reading()  # the last good one, which is served
        self._read_at = -inf
        self._certain_from = -inf  # a reading that begins then or later has seen all that its state stands for
        self._unusable: _Unusable | None = None  # why the file cannot be used now
        self._stale_since: datetime | None = None
        self._hub = ChangeHub()
        self._limiter = trio.CapacityLimiter(1)

    async def get_user(self, user: str) -> UserInfo | None:
        """The user from the last good reading. Never raises."""
        await trio.lowlevel.checkpoint()
        return self.get_user_now(user)

    def get_user_now(self, user: str) -> UserInfo | None:
        """The same at once: see `AnswersAtOnce`."""
        return self._reading.users.get(user)

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """The lines that changed last, then those that were there at the start, by name."""
        await trio.lowlevel.checkpoint()
        order = self._reading.order
        users = order.first(limit) if before is None else order.behind(limit, before.since, before.user)
        return [info for user in users if (info := self.get_user_now(user)) is not None]

    async def get_users(self) -> Sequence[str]:
        """Every user, in the order of the lines."""
        await trio.lowlevel.checkpoint()
        return list(self._reading.users)

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of users whose line changed, appeared or disappeared."""
        return self._hub.changes()

    def stale_since(self) -> datetime | None:
        """See `TellsStaleness`: when the backend noticed that the file cannot be used."""
        return self._stale_since

    async def read(self, *, accept_unsettled: bool) -> bool:
        """Read the file and serve the result. False: it changed meanwhile, which `accept_unsettled` would allow."""
        now = trio.current_time()
        reading = await trio.to_thread.run_sync(
            _read, self._path, self._reading, abandon_on_cancel=True, limiter=self._limiter
        )
        if reading.is_unsettled and not accept_unsettled:
            return False
        self._read_at = now
        if isinstance(reading, _Unusable):
            if self._unusable is None or self._unusable.state != reading.state:
                self._certain_from = now + _COARSEST_TIME
            self._set_unusable(reading)
        else:
            if (reading.state, reading.digest) != (self._reading.state, self._reading.digest):
                self._certain_from = now + _COARSEST_TIME
            self._serve(reading)
        return True

    async def run(self) -> None:
        """Follow the file. Never returns."""
        last: _State | _Unusable | None = self._unusable or self._reading.state
        unsettled_since = inf
        while True:
            await trio.sleep(_POLL_INTERVAL if unsettled_since == inf else _SETTLE_INTERVAL)
            polled = await trio.to_thread.run_sync(_poll, self._path, abandon_on_cancel=True, limiter=self._limiter)
            now = trio.current_time()
            if self._is_served(polled):
                unsettled_since = inf
            else:
                unsettled_since = min(unsettled_since, now)
                limit_reached = now - unsettled_since >= _SETTLE_LIMIT
                if polled == last or limit_reached:
                    if isinstance(polled, _Unusable):
                        self._set_unusable(polled)
                        unsettled_since = inf
                    elif await self.read(accept_unsettled=limit_reached):
                        unsettled_since = inf
            last = polled

    def _is_served(self, polled: _State | _Unusable) -> bool:
        """Whether what was polled is already taken into account, so that there is nothing to read."""
        if isinstance(polled, _Unusable):
            return self._unusable is not None
        known = self._reading.state if self._unusable is None else self._unusable.state
        return polled == known and self._read_at >= self._certain_from

    def _set_unusable(self, unusable: _Unusable) -> None:
        if self._unusable is None:
            if self._reading.state is None:
                consequence = "there are no users until it is repaired"
            else:
                consequence = "serving its last good content, as stale, until it is repaired"
                self._stale_since = datetime.now(UTC)
            _log.warning("%s: %s; %s", self._path, unusable.reason, consequence)
        self._unusable = unusable

    def _serve(self, reading: _Reading) -> None:
        self._reading = reading
        if self._unusable is not None:
            self._unusable = self._stale_since = None
            _log.warning("%s: the file can be read again and is served", self._path)
        for problem in reading.problems[:_LOGGED_PROBLEMS]:
            _log.warning("%s:%d: %s", self._path, problem.line, problem.reason)
        if (rest := len(reading.problems) - _LOGGED_PROBLEMS) > 0:
            _log.warning("%s: %d more bad lines", self._path, rest)
        self._hub.emit_all(reading.changed)


@asynccontextmanager
async def open_file(options: FileOptions) -> AsyncIterator[FileBackend]:
    """The backend over the file at `options.path`. The file is read before the context is entered."""
    backend = FileBackend(options.path.absolute())
    await backend.read(accept_unsettled=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
