"""`fingertrio watch`: the live feed for eyes or for programs. It comes back after every break and shows nothing twice.

It follows until SIGINT, or until nobody reads what it writes. On a terminal each change is one line, of a status of
several lines the first; in a pipe it is a line of JSON with all there is. What is about the watching and not about
users goes to standard error.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import click
import trio

from fingertrio.cli.watch_output import Show, clock
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import open_live
from fingertrio.clients.websocket import RefusedError, parse_url
from fingertrio.names import canonical_name, is_user_name
from fingertrio.wire.backoff import Backoff
from fingertrio.wire.live import (
    Alive,
    Changed,
    Event,
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

_ONCE = 30.0  # seconds for a snapshot, where that is all that is wanted

_MAY_PASS = frozenset({408, 425, 429})  # of HTTP's 4xx, those that another attempt may not get


class Follower:
    """Shows what is told, each thing once, whatever is told again after a break.

    Args:
        show: where.
        users: whom; empty: everybody.
    """

    def __init__(self, show: Show, users: Sequence[str]) -> None:
        self._show = show
        self._named = tuple(users)  # not to be missed silently in the first snapshot
        self._known: dict[str, LiveUser | None] = {}  # None: it cannot be read
        self._coming: dict[str, LiveUser | None] | None = None  # a snapshot that is not whole yet
        self.missing = False  # somebody who was named was not there

    def take(self, event: Event) -> bool:
        """Show it. Returns whether everything that holds has been shown."""
        match event:
            case SnapshotBegins():
                self._coming = {}
            case Present(info) if self._coming is not None:
                self._coming[info.user] = info
                if self._known.get(info.user) != info:
                    self._show.user(info, None)
            case Unavailable(user) if self._coming is not None:
                self._coming[user] = None
                self._show.unavailable(user)
            case SnapshotEnds() if self._coming is not None:
                absent = [user for user in (*self._known, *self._named) if user not in self._coming]
                for user in absent:
                    self._show.gone(user, None, was_there=user in self._known)
                self.missing = bool(absent)
                self._known, self._coming, self._named = self._coming, None, ()
            case Changed(at, info):
                self._known[info.user] = info
                self._show.user(info, at)
            case Removed(at, user):
                self._known.pop(user, None)
                self._show.gone(user, at, was_there=True)
        return self._coming is None


async def watch(url: str, users: Sequence[str], show: Show, *, once: bool) -> int:
    """Follow the feed of the fingertrio at `url` until SIGINT; with `once`, to the end of the snapshot.

    Returns:
        The exit status.

    Raises:
        ValueError: `url` is not one, or one of `users` could not be called so.
    """
    parse_url(url)
    users = [canonical_name(user) for user in users]  # as the feed names them
    for user in users:
        if not is_user_name(user):
            raise ValueError(f'"{clean_line(user)}" could not be the name of a user')
    status = SEEN
    try:
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(signal.SIGINT) as signals:
                nursery.start_soon(_end_at_signal, signals, nursery.cancel_scope)
                nursery.start_soon(_end_without_reader, nursery.cancel_scope)
                status = await _look(url, users, show) if once else await _follow(url, users, show)
                nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        _forget_stdout()
    return status


async def _look(url: str, users: Sequence[str], show: Show) -> int:
    follower = Follower(show, users)
    try:
        with trio.fail_after(_ONCE):
            async with open_live(url, users=users) as feed:
                _tell_age(feed.hello.stale_since, None)
                async for event in feed:
                    if follower.take(event):
                        break
    except RemoteError as error:
        _tell(str(error))
        return NOT_ASKED
    except trio.TooSlowError:
        _tell(f"{url}: no snapshot within {_ONCE:g} seconds")
        return NOT_ASKED
    return UNKNOWN if follower.missing else SEEN


async def _follow(url: str, users: Sequence[str], show: Show) -> int:
    follower = Follower(show, users)
    since: str | None = None
    stale_since: datetime | None = None
    backoff = Backoff(*_BACKOFF)
    lost = False
    while True:
        began = trio.current_time()
        try:
            async with open_live(url, users=users, since=since) as feed:
                if lost:
                    _tell(f"{url} is back" + (", nothing was missed" if feed.hello.resumed else ""))
                    lost = False
                if not feed.hello.complete:
                    _tell("not every change can be told: the backend there does not hear of all")
                stale_since = _tell_age(feed.hello.stale_since, stale_since)
                async for event in feed:
                    if isinstance(event, Alive):
                        stale_since = _tell_age(event.stale_since, stale_since)
                    follower.take(event)
                    since = feed.id
        except RefusedError as error:
            if 400 <= error.status < 500 and error.status not in _MAY_PASS:
                _tell(str(error))
                return NOT_ASKED
            lost = _tell_once(error, lost=lost)
        except RemoteError as error:
            lost = _tell_once(error, lost=lost)
        if trio.current_time() - began > _BACKOFF[1]:
            backoff.reset()
        await trio.sleep(backoff.pause())


def _tell_age(since: datetime | None, before: datetime | None) -> datetime | None:
    """Say that what is shown is out of date since then, if that is news, or that it is not any more."""
    if since is not None and before is None:
        _tell(f"what is shown is as of {clock(since)}: what it comes from is away")
    elif since is None and before is not None:
        _tell("what is shown is up to date again")
    return since


def _tell_once(error: RemoteError, *, lost: bool) -> bool:
    if not lost:
        _tell(f"{error}; trying again")
    return True


def _tell(text: str) -> None:
    click.secho(f"fingertrio: {clean_line(text)}", fg="yellow", err=True)


async def _end_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _end_without_reader(scope: trio.CancelScope) -> None:
    """Notice that a pipe's reader has left (`| head -1`), though there may be nothing to write for hours."""
    if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        await trio.lowlevel.wait_readable(
            sys.stdout.fileno()
        )  # it never is; but an error, which this one is, wakes too
        _forget_stdout()
        scope.cancel()


def _forget_stdout() -> None:
    """Let nothing be written any more, not even by the interpreter when it ends."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
