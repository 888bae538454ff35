"""`fingertrio watch --exec COMMAND`: runs a command for each change, with the change as JSON on its standard input.

One command at a time, in the order of the changes. While one runs, further changes wait, and of each user only the last
one. So a slow command is late, and never behind by more than one change of each user.

With `--state FILE`, the id of the last change that was dealt with outlasts this program: the next start goes on behind
it. The command may see a change twice, if this program was killed between the end of the command and the note of it.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import trio

from fingertrio.cli.watch_output import change_line
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import LiveFeed, open_live
from fingertrio.wire.live import Changed, Event, Hello, Removed, SnapshotBegins

# Seconds for one command. Then it is ended, so that one that hangs does not end the service that it gives.
COMMAND_TIMEOUT = 60.0

_STATE_LIMIT = 200  # characters of an id

Notice = Callable[[str], None]


class Messages(Protocol):
    """Says on standard error what becomes of the connection."""

    def opened(self, hello: Hello) -> None:
        """It is open."""
        ...

    def lost(self, error: RemoteError) -> None:
        """It was lost; another attempt follows."""
        ...


def parse_command(text: str) -> list[str]:
    """The words of a command, as a shell splits them; no shell runs it.

    Raises:
        ValueError: there is no such program, or a quotation mark is missing.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"--exec: {str(error).lower()}") from None
    if not words or shutil.which(words[0]) is None:
        raise ValueError(f"--exec: there is no program {words[0] if words else text!r} that can be run")
    return words


class StateError(ValueError):
    """The file of a `State` cannot be used. The message is for people."""


class State:
    """The id of the last change that was dealt with, in a file; without a file, in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.id: str | None = None

    def load(self) -> None:
        """Read the file, if it is there. Raises StateError if it cannot be read, or has something else in it."""
        if self._path is None:
            return
        try:
            text = self._path.read_text("ascii").strip()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise StateError(f"{self._path} cannot be read: {reason}") from None
        if not text.isprintable() or " " in text or len(text) > _STATE_LIMIT:
            raise StateError(f"{self._path} is not a file of --state: it has something else than one id in it")
        self.id = text or None

    def save(self, at: str | None) -> None:
        """Keep an id. Raises StateError if it cannot be written."""
        self.id = at
        if self._path is None or at is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.write_text(f"{at}\n", "ascii")
            new.replace(self._path)
        except OSError as error:
            raise StateError(f"{self._path} cannot be written: {error.strerror}") from None


class _Waiting:
    """The last change of each user for which no command was run yet, the oldest first."""

    def __init__(self) -> None:
        self.error: RemoteError | None = None  # how the feed has ended
        self._changes: dict[str, Changed | Removed] = {}
        self._at: str | None = None
        self._news = trio.Event()

    def put(self, event: Event, at: str | None) -> None:
        """Take an event. `at`: everything up to this id has been received."""
        if isinstance(event, Changed | Removed):
            user = _user_of(event)
            self._changes.pop(user, None)
            self._changes[user] = event
        self._at = at
        self._news.set()

    def end(self, error: RemoteError) -> None:
        """There will be no more."""
        self.error = error
        self._news.set()

    async def are_some(self) -> bool:
        """Wait for an event; False if the feed has ended, and nothing is left of it."""
        await self._news.wait()
        self._news = trio.Event()
        if self.error is not None:
            self._news.set()
        return self.error is None or bool(self._changes)

    def take(self) -> tuple[list[Changed | Removed], str | None]:
        """All of them, and the id up to which they are all."""
        changes, self._changes = list(self._changes.values()), {}
        return changes, self._at


def _user_of(change: Changed | Removed) -> str:
    return change.info.user if isinstance(change, Changed) else change.user


class Execution:
    """The feed across several connections, with a command for each change. A `watch.Subscription`.

    Args:
        url: of the web front end.
        users: the users to watch; empty: all.
        command: the words of the command.
        state: where to go on.
        messages: about the connection.
        notice: reports what went wrong.
    """

    def __init__(
        self,
        url: str,
        users: Sequence[str],
        command: Sequence[str],
        state: State,
        messages: Messages,
        notice: Notice,
    ) -> None:
        self._url = url
        self._users = users
        self._command = command
        self._state = state
        self.messages = messages
        self._notice = notice

    async def read(self) -> None:
        """Run the command for one connection's changes. Raises RemoteError when the feed ends."""
        async with open_live(self._url, users=self._users, snapshot=False, since=self._state.id) as feed:
            self.messages.opened(feed.hello)
            self._note(feed.id)
            waiting = _Waiting()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, feed, waiting)
                while await waiting.are_some():
                    batch, at = waiting.take()
                    for change in batch:
                        await self._run(change)
                    self._note(at)
        if waiting.error is not None:
            raise waiting.error

    async def _receive(self, feed: LiveFeed, waiting: _Waiting) -> None:
        try:
            async for event in feed:
                if isinstance(event, SnapshotBegins) and self._state.id is not None:
                    self._notice("changes were missed: the server no longer knows them; going on from now")
                waiting.put(event, feed.id)
        except RemoteError as error:
            waiting.end(error)

    def _note(self, at: str | None) -> None:
        if at is not None and at != self._state.id:
            self._state.save(at)

    async def _run(self, event: Changed | Removed) -> None:
        user = _user_of(event)
        try:
            with trio.fail_after(COMMAND_TIMEOUT):
                ended = await trio.run_process(self._command, stdin=change_line(event), check=False)
        except trio.TooSlowError:
            self._notice(f"{self._command[0]} was ended after {COMMAND_TIMEOUT:g} seconds, for {user}")
        except OSError as error:
            self._notice(f"{self._command[0]} cannot be run: {error.strerror}")
        else:
            if ended.returncode:
                self._notice(f"{self._command[0]} ended with status {ended.returncode}, for {user}")
