"""`fingertrio watch`: shows the live feed. It reconnects after every break and shows nothing twice.

It watches until SIGINT, or until the reader of its output is gone. On a terminal each change is one line, with the
first line of the status; in a pipe it is a JSON line with everything. Messages about the connection go to standard
error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import click
import trio

from fingertrio.cli import completing
from fingertrio.cli.arguments import text
from fingertrio.cli.discover import web_url
from fingertrio.cli.errors import stop
from fingertrio.cli.output import is_discarded
from fingertrio.cli.until import until_interrupted
from fingertrio.cli.watch_exec import Execution, Messages, State, StateError, parse_command
from fingertrio.cli.watch_output import JSONLines, Lines, Show, clock
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import open_live
from fingertrio.clients.websocket import RefusedError, parse_url
from fingertrio.names import canonical_name, is_user_name
from fingertrio.wire.backoff import Backoff
from fingertrio.wire.live import (
    Alive,
    Changed,
    Event,
    Hello,
    LiveUser,
    Present,
    Removed,
    SnapshotBegins,
    SnapshotEnds,
    Unavailable,
)
from fingertrio.wire.text import clean_line

# Exit statuses: those of `fingertrio finger`.
SEEN, UNKNOWN, NOT_ASKED = 0, 1, 3

_BACKOFF = (0.25, 30.0)  # seconds: first and longest pause before the next attempt

_ONCE = 30.0  # seconds for the snapshot of --once

_TEMPORARY = frozenset({408, 425, 429})  # the 4xx statuses of HTTP after which another attempt may succeed


@click.command("watch")
@click.option(
    "--url",
    metavar="URL",
    help="Web front end to watch; by default that of FINGERTRIO_URL, of login, or of this machine.",
)
@click.option("--json/--text", "as_json", default=None, help="By default text on a terminal, JSON lines otherwise.")
@click.option("--once", is_flag=True, help="Show the current statuses and exit.")
@click.option("--exec", "command", metavar="COMMAND", help="Run COMMAND for each change, with it as JSON on its input.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), help="With --exec: go on where FILE says.")
@click.argument("users", metavar="[USER]...", nargs=-1, type=text, shell_complete=completing.users)
def watch_command(
    users: tuple[str, ...],
    url: str | None,
    as_json: bool | None,
    once: bool,
    command: str | None,
    state: Path | None,
) -> None:
    """Show the status of each USER, or of all users, and every change as it happens.

    After a lost connection it reconnects, misses nothing and shows nothing twice. Ctrl-C ends it.

    With --exec it shows nothing: COMMAND gets each change, one after the other, without a shell. A COMMAND that fails
    is reported, and the next change is not affected.

    Exit status: 0 the reader of the output is gone, or with --once all was shown; 1 with --once, a USER does not exist;
    2 wrong usage; 3 the feed could not be read; 130 Ctrl-C.
    """
    show = Lines() if as_json is False or (as_json is None and sys.stdout.isatty()) else JSONLines()
    if command is not None and (once or as_json is not None):
        raise click.UsageError("--exec shows nothing: leave out --once, --json and --text")
    if command is None and state is not None:
        raise click.UsageError("--state needs --exec")
    try:
        if command is None:
            status = trio.run(partial(watch, url or web_url(), users, show, once=once))
        else:
            status = trio.run(execute, url or web_url(), users, command, state)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(status)


class Watcher:
    """Shows the events of a feed, each thing once, even if the feed repeats it after a break.

    Args:
        show: the output.
        users: the users to watch; empty: all.
    """

    def __init__(self, show: Show, users: Sequence[str]) -> None:
        self._show = show
        self._named = tuple(users)  # each must be shown as missing if the first snapshot lacks it
        self._known: dict[str, LiveUser | None] = {}  # None: cannot be read
        self._snapshot: dict[str, LiveUser | None] | None = None  # the incomplete snapshot
        self.missing = False  # whether a named user was not in the snapshot

    def take(self, event: Event) -> bool:
        """Show one event. Returns whether everything current has been shown."""
        match event:
            case SnapshotBegins():
                self._snapshot = {}
            case Present(info) if self._snapshot is not None:
                self._snapshot[info.user] = info
                if self._known.get(info.user) != info:
                    self._show.user(info, None)
            case Unavailable(user) if self._snapshot is not None:
                self._snapshot[user] = None
                self._show.unavailable(user)
            case SnapshotEnds() if self._snapshot is not None:
                self._end_snapshot(self._snapshot)
            case Changed(at, info):
                self._known[info.user] = info
                self._show.user(info, at)
            case Removed(at, user):
                self._known.pop(user, None)
                self._show.gone(user, at)
        return self._snapshot is None

    def _end_snapshot(self, snapshot: dict[str, LiveUser | None]) -> None:
        absent = [user for user in (*self._known, *self._named) if user not in snapshot]
        for user in absent:
            if user in self._known:
                self._show.gone(user, None)
            else:
                self._show.missing(user)
        self.missing = bool(absent)
        self._known, self._snapshot, self._named = snapshot, None, ()


class ConnectionMessages:
    """Messages about the connection, on standard error, each only when something changes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_lost = False
        self._stale_since: datetime | None = None

    def opened(self, hello: Hello) -> None:
        """The feed is open."""
        if self._is_lost:
            _notice(f"{self._url}: connected again" + (", nothing was missed" if hello.resumed else ""))
            self._is_lost = False
        if not hello.complete:
            _notice("some changes will not be shown: the backend there does not report all of them")
        self.staleness(hello.stale_since)

    def staleness(self, since: datetime | None) -> None:
        """The statuses are out of date since then; None: they are current."""
        if since is not None and self._stale_since is None:
            _notice(f"the statuses are as of {clock(since)}: their source is not available")
        elif since is None and self._stale_since is not None:
            _notice("the statuses are up to date again")
        self._stale_since = since

    def lost(self, error: RemoteError) -> None:
        """The connection was lost or could not be opened; another attempt follows."""
        if not self._is_lost:
            _notice(f"{error}; trying again")
        self._is_lost = True


class Subscription(Protocol):
    """The feed across several connections: each continues where the previous one ended."""

    @property
    def messages(self) -> Messages:
        """About the connection."""
        ...

    async def read(self) -> None:
        """Take one connection's events. Returns if nothing more is wanted; raises RemoteError when the feed ends."""
        ...


class _Shown:
    """The feed across several connections: each continues where the previous one ended."""

    def __init__(self, url: str, users: Sequence[str], show: Show) -> None:
        self._url = url
        self._users = users
        self._since: str | None = None
        self._watcher = Watcher(show, users)
        self.messages = ConnectionMessages(url)

    async def read(self) -> None:
        """Show one connection's events. Returns if the output is discarded; raises RemoteError when the feed ends."""
        async with open_live(self._url, users=self._users, since=self._since) as feed:
            self.messages.opened(feed.hello)
            async for event in feed:
                if isinstance(event, Alive):
                    self.messages.staleness(event.stale_since)
                self._watcher.take(event)
                self._since = feed.id
                if is_discarded():
                    return


async def watch(url: str, users: Sequence[str], show: Show, *, once: bool) -> int:
    """Show the feed of the fingertrio at `url` until SIGINT; with `once`, to the end of the snapshot.

    Returns:
        The exit status.

    Raises:
        ValueError: `url` is not a URL, or one of `users` cannot be a user name.
    """
    users = _checked(url, users)
    if once:
        return await until_interrupted(partial(_show_once, url, users, show))
    return await until_interrupted(partial(_reconnect, _Shown(url, users, show)))


async def execute(url: str, users: Sequence[str], command: str, path: Path | None) -> int:
    """Run `command` for each change of the fingertrio at `url` until SIGINT; the exit status.

    Raises:
        ValueError: as `watch`; also if there is no such command, or the state in the file `path` cannot be used.
    """
    state = State(path)
    state.load()
    execution = Execution(url, _checked(url, users), parse_command(command), state, ConnectionMessages(url), _notice)
    try:
        return await until_interrupted(partial(_reconnect, execution))
    except* StateError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        stop(str(error), NOT_ASKED)


def _checked(url: str, users: Sequence[str]) -> list[str]:
    """The names as the feed has them. Raises ValueError if `url` is not a URL, or one cannot be a user name."""
    parse_url(url)
    for user in users:
        if not is_user_name(canonical_name(user)):
            raise ValueError(f'"{clean_line(user)}" cannot be a user name')
    return [canonical_name(user) for user in users]


async def _show_once(url: str, users: Sequence[str], show: Show) -> int:
    watcher = Watcher(show, users)
    try:
        with trio.fail_after(_ONCE):
            async with open_live(url, users=users) as feed:
                ConnectionMessages(url).staleness(feed.hello.stale_since)
                async for event in feed:
                    if watcher.take(event):
                        break
    except RemoteError as error:
        _notice(str(error))
        return NOT_ASKED
    except trio.TooSlowError:
        _notice(f"{url}: no snapshot within {_ONCE:g} seconds")
        return NOT_ASKED
    return UNKNOWN if watcher.missing else SEEN


async def _reconnect(subscription: Subscription) -> int:
    """Read the feed again and again, until the server rejects it for good or the output is discarded."""
    backoff = Backoff(*_BACKOFF)
    while True:
        began = trio.current_time()
        try:
            await subscription.read()
        except RemoteError as error:
            if isinstance(error, RefusedError) and _is_final(error.status):
                _notice(str(error))
                return NOT_ASKED
            subscription.messages.lost(error)
        else:
            return SEEN
        if trio.current_time() - began > _BACKOFF[1]:
            backoff.reset()
        await trio.sleep(backoff.pause())


def _is_final(status: int) -> bool:
    return 400 <= status < 500 and status not in _TEMPORARY


def _notice(text: str) -> None:
    click.secho(f"fingertrio: {clean_line(text)}", fg="yellow", err=True)
