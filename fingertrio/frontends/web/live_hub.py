"""What all watchers of the live feed share: one subscription, one numbering, one rendering of each user. No sockets.

Every change gets a number. The log (`live_log`) keeps, for each user, the number of the latest change: names, not
contents, so its size has a bound. A watcher, too, is a number: its client has everything up to that change. The watcher
asks the log which users changed since then, and sends their current state. So nothing is queued for a slow client, and
a client that reconnects receives each changed user once. If the log does not reach back far enough, because it is full
or because the backend reported that any user may have changed, the watcher sends a snapshot. No change is ever missed.

A change is numbered, and so sent (`live_fanout`), once its result is known: the hub asks the service and renders the
answer before. A user whose answer is slow or fails does not delay the others; the hub retries with back-off.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Collection
from contextlib import AbstractContextManager

import trio

from fingertrio.backend import BackendError
from fingertrio.frontends.web.live_fanout import FanOut, Subscription
from fingertrio.frontends.web.live_log import LOG_LIMIT, ChangeLog
from fingertrio.frontends.web.live_rendering import Form, RenderedUser, SnapshotPages, text
from fingertrio.names import is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire import live
from fingertrio.wire.backoff import Backoff
from fingertrio.wire.user_json import user_json

# Bytes of rendered users that are kept: ten thousand users with a few words each, or a thousand plan files.
_KEPT_BYTES = 16 * 1024 * 1024

# Changes in preparation, each of them a task. With more than these, snapshots are cheaper.
_PREPARED = 1024

_RETRY = (1.0, 30.0)  # seconds: first and longest pause before a user who could not be read is tried again


class LiveHub:
    """Follows the service's changes while `run` runs; `run` is called once."""

    def __init__(self, service: FingerService, observer: Observer) -> None:
        self.epoch = secrets.token_hex(6)  # distinguishes our numbers from those of other runs
        self.log = ChangeLog()
        self.service = service
        self._observer = observer
        self._fan_out = FanOut(
            self.log, self._find_message, lambda error: observer.error("live_send_failed", exc=error)
        )
        self._preparing: dict[str, bool] = {}  # True: the user has changed again since
        self._rendered: OrderedDict[str, RenderedUser] = OrderedDict()  # least recently used first
        self._rendered_bytes = 0
        self.pages = SnapshotPages(self.render)
        self._listed: tuple[str, ...] = ()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the changes. Never returns."""
        async with self.service.changes() as feed, trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._follow_staleness)
            self._nursery.start_soon(self._fan_out.run)
            task_status.started()
            async for change in feed:
                self._handle_change(change.user)

    async def _follow_staleness(self) -> None:
        """Wake all watchers when answers become stale, and when they are up to date again."""
        while True:
            await self.service.staleness.changed.wait()
            self._fan_out.wake_all()

    def subscribe(self, users: Collection[str] | None, form: Form = text) -> AbstractContextManager[Subscription]:
        """A place in the feed, starting now."""
        return self._fan_out.subscribe(users, form)

    def id(self, number: int) -> str:
        """The id that clients receive for a number."""
        return f"{self.epoch}:{number}"

    def number(self, text: str) -> int | None:
        """The number behind an id; None if this hub did not issue it."""
        epoch, _, digits = text.partition(":")
        is_number = digits.isascii() and digits.isdecimal() and len(digits) <= 18
        return int(digits) if epoch == self.epoch and is_number else None

    async def list_users(self) -> tuple[str, ...]:
        """All users, as one tuple for all watchers until the list changes. Raises BackendError."""
        users = await self.service.get_users()
        if users != self._listed:
            self._listed = users
        return self._listed

    async def render(self, users: Collection[str]) -> dict[str, RenderedUser]:
        """The current state of `users`, without those that cannot be read now. A change follows for each of these."""
        found: dict[str, RenderedUser] = {}
        missing: list[str] = []
        for user in users:
            kept = self._rendered.get(user)
            if kept is not None and kept.is_current():
                self._rendered.move_to_end(user)
                found[user] = kept
            else:
                missing.append(user)
        if len(missing) == 1:
            await self._ask(missing[0], found)
        elif missing:
            async with trio.open_nursery() as nursery:
                for user in missing:
                    nursery.start_soon(self._ask, user, found)
        return found

    async def _ask(self, user: str, found: dict[str, RenderedUser]) -> None:
        try:
            answer = await self.service.ask_user(user)
            kept = self._rendered.get(user)
            if kept is None or not kept.is_current():  # no other watcher rendered this answer meanwhile
                info = answer.value
                part = live.render_removed(user) if info is None else live.render_user(user_json(info))
                kept = RenderedUser(answer, part)
                self._keep(user, kept)
            found[user] = kept
        except BackendError:  # logged by the service
            self._prepare_soon(user)
        except Exception as error:  # noqa: BLE001 -- a bug with one user must not end the feed of all
            self._observer.error("live_user_failed", user=user, exc=error)
            self._prepare_soon(user)

    def _keep(self, user: str, rendered: RenderedUser) -> None:
        if (old := self._rendered.pop(user, None)) is not None:
            self._rendered_bytes -= len(old.part)
        self._rendered[user] = rendered
        self._rendered_bytes += len(rendered.part)
        while self._rendered_bytes > _KEPT_BYTES or len(self._rendered) > LOG_LIMIT:
            self._rendered_bytes -= len(self._rendered.popitem(last=False)[1].part)

    def _handle_change(self, user: str | None) -> None:
        """Handle a change that the service reports."""
        if user is None:
            self._lose_track()
        elif user in self._preparing:
            self._preparing[user] = True
        elif not is_user_name(user):
            pass  # no client can ask for this name
        elif not self._fan_out.is_watched(user):
            self.log.add(user)  # for clients that reconnect; the service is asked only then
        else:
            self._prepare_soon(user)

    def _lose_track(self) -> None:
        self.log.forget()
        self._fan_out.wake_all()

    def _prepare_soon(self, user: str) -> None:
        if self._nursery is None or user in self._preparing:
            return
        if len(self._preparing) >= _PREPARED:
            self._lose_track()
        else:
            self._preparing[user] = False
            self._nursery.start_soon(self._prepare, user)

    async def _prepare(self, user: str) -> None:
        """Announce a change as soon as its result is known."""
        backoff = Backoff(*_RETRY)
        try:
            while True:
                self._preparing[user] = False
                if await self.render((user,)) or not self._fan_out.is_watched(user):
                    self._announce(user)
                    backoff.reset()
                    if not self._preparing[user]:
                        return
                else:
                    await trio.sleep(backoff.pause())
        finally:
            del self._preparing[user]

    def _announce(self, user: str) -> None:
        self.log.add(user)
        self._fan_out.announce(user)

    def _find_message(self, number: int, user: str, form: Form) -> bytes | None:
        """The message of a change, if the user is rendered and has not changed again."""
        rendered = self._rendered.get(user)
        return rendered.change(self.id(number), form) if rendered is not None and rendered.is_current() else None
