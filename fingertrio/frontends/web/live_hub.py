"""What all watchers of the live feed have in common: one subscription, one numbering, one rendering. No sockets here.

Every change gets a number. Kept is, for each user, the number of the latest one: a log of names, not of contents, which
holds each name once and so has a bound. Whoever has been told everything up to a number asks the log who has changed
since, and then what holds of them now. That is all a watcher is: a number. One that is slow, or was away, finds each
user once, however often they changed; nothing is queued for it. Where the log does not reach back so far, because it
is full, or because the backend can only say that anything may have changed, the answer is that nobody knows, and a
snapshot has to follow. So nothing is ever missed.

A change is numbered, and so told, when what it leads to is known: the hub asks the service and renders the answer
before it wakes the watchers. One user whose answer is long in coming, or fails, delays nobody else's. It is asked for
anew, ever less often, until it can be told.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import trio

from fingertrio.backend import BackendError, UserInfo
from fingertrio.frontends.web.api import describe
from fingertrio.http.websocket import text_frame
from fingertrio.names import is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.wire import live
from fingertrio.wire.backoff import Backoff

# Names in the log. Who was away while more people than these changed is better served by a snapshot.
LOG_LIMIT = 10_000

# Bytes of rendered users that are kept: all of ten thousand people with a few words each, or a thousand plan files.
_KEPT_BYTES = 16 * 1024 * 1024

# Changes that may be in preparation, each a task: past this, everybody is better served by a snapshot, too.
_PREPARED = 1024

_RETRY = (1.0, 30.0)  # seconds: first and longest pause before a user who could not be read is asked for again


class ChangeLog:
    """Numbers changes, and remembers of each user the latest. `limit` names are kept."""

    def __init__(self, limit: int = LOG_LIMIT) -> None:
        self.number = 0  # of the latest change
        self._floor = 0  # what happened up to here may be forgotten
        self._limit = limit
        self._numbers: OrderedDict[str, int] = OrderedDict()  # ascending

    def add(self, user: str) -> None:
        """`user` has changed."""
        self.number += 1
        self._numbers[user] = self.number
        self._numbers.move_to_end(user)
        if len(self._numbers) > self._limit:
            self._floor = self._numbers.popitem(last=False)[1]

    def forget(self) -> None:
        """Anybody may have changed."""
        self.number += 1
        self._floor = self.number
        self._numbers.clear()

    def reaches(self, number: int) -> bool:
        """Whether all that changed after `number` is remembered."""
        return self._floor <= number <= self.number

    def since(self, number: int, users: Collection[str] | None = None) -> list[tuple[int, str]] | None:
        """Who of `users` (None: of all) has changed after `number`, by the number of it; None: nobody knows."""
        if not self.reaches(number):
            return None
        if users is not None:
            found = [(at, user) for user in users if (at := self._numbers.get(user, 0)) > number]
            return sorted(found)
        found = []
        for user, at in reversed(self._numbers.items()):
            if at <= number:
                break
            found.append((at, user))
        found.reverse()
        return found


class Rendered:
    """What there is to say of one user, rendered once for everybody."""

    __slots__ = ("_answer", "_at", "_change", "part")

    def __init__(self, answer: Answer[UserInfo | None], part: bytes) -> None:
        self._answer = answer
        self.part = part  # see `wire.live`
        self._at = ""
        self._change = b""

    def holds(self) -> bool:
        """Whether this is still what the service would say."""
        return self._answer.expires > trio.current_time()

    @property
    def exists(self) -> bool:
        """Whether there is such a user."""
        return self._answer.value is not None

    def change(self, at: str) -> bytes:
        """The frame that tells it as the change with the id `at`; usually, all watchers ask for the same one."""
        if at != self._at:
            self._change = text_frame(live.change(at, self.part))
            self._at = at
        return self._change


class Subscription:
    """One watcher's place in the feed.

    Attributes:
        users: who is watched; None: everybody.
        number: up to which it has been told.
    """

    __slots__ = ("_hub", "_woken", "number", "users")

    def __init__(self, hub: LiveHub, users: Collection[str] | None) -> None:
        self._hub = hub
        self._woken = trio.Event()
        self.users = users
        self.number = hub.log.number

    def wake(self) -> None:
        """Something happened that concerns it."""
        self._woken.set()

    def pending(self) -> list[tuple[int, str]] | None:
        """What it has not been told, as `ChangeLog.since`; where that is nothing, it is told so far as anybody is."""
        self._woken = trio.Event()
        found = self._hub.log.since(self.number, self.users)
        if found == []:
            self.number = self._hub.log.number
        return found

    async def wait(self) -> None:
        """Wait until `pending` may have something that it had not when it was called last."""
        await self._woken.wait()


class LiveHub:
    """Follows the service's changes while `run` runs, once."""

    def __init__(self, service: FingerService, observer: Observer) -> None:
        self.epoch = secrets.token_hex(6)  # numbers of another run mean nothing to us
        self.log = ChangeLog()
        self.service = service
        self._observer = observer
        self._everything: set[Subscription] = set()
        self._by_user: dict[str, set[Subscription]] = {}
        self._preparing: dict[str, bool] = {}  # True: it has changed again meanwhile
        self._rendered: OrderedDict[str, Rendered] = OrderedDict()  # least recently used first
        self._rendered_bytes = 0
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow. Never returns."""
        async with self.service.changes() as feed, trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._follow_age)
            task_status.started()
            async for change in feed:
                self._hear(change.user)

    async def _follow_age(self) -> None:
        """Have everybody told when answers begin to be out of date, and when that is over."""
        while True:
            await self.service.staleness.changed.wait()
            self._wake_all()

    @contextmanager
    def subscribe(self, users: Collection[str] | None) -> Iterator[Subscription]:
        """A place in the feed, from now on."""
        subscription = Subscription(self, users)
        places = (
            [self._everything]
            if users is None
            else [self._by_user.setdefault(user, set()) for user in users]
        )  # fmt: skip
        for place in places:
            place.add(subscription)
        try:
            yield subscription
        finally:
            for place in places:
                place.discard(subscription)
            for user in users or ():
                if not self._by_user.get(user, True):
                    del self._by_user[user]

    def id(self, number: int) -> str:
        """A number, as it is told to watchers."""
        return f"{self.epoch}:{number}"

    def number(self, text: str) -> int | None:
        """The number that is told by an id; None: it is none of ours."""
        epoch, _, digits = text.partition(":")
        well_formed = digits.isascii() and digits.isdecimal() and len(digits) <= 18
        return int(digits) if epoch == self.epoch and well_formed else None

    async def render(self, users: Collection[str]) -> dict[str, Rendered]:
        """What there is to say now of each of `users`; those are left out of whom nothing can be said now.

        Of those, a change will tell.
        """
        found: dict[str, Rendered] = {}
        missing: list[str] = []
        for user in users:
            kept = self._rendered.get(user)
            if kept is not None and kept.holds():
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

    async def _ask(self, user: str, found: dict[str, Rendered]) -> None:
        try:
            answer = await self.service.ask_user(user)
            kept = self._rendered.get(user)
            if kept is None or not kept.holds():  # or another watcher, who asked with us, was first
                info = answer.value
                part = live.render_removed(user) if info is None else live.render_user(describe(info))
                kept = Rendered(answer, part)
                self._keep(user, kept)
            found[user] = kept
        except BackendError:  # which the log knows of
            self._prepare_soon(user)
        except Exception as error:  # noqa: BLE001 -- what nobody foresaw about one user must not end everybody's feed
            self._observer.error("live_user_failed", user=user, exc=error)
            self._prepare_soon(user)

    def _keep(self, user: str, rendered: Rendered) -> None:
        if (old := self._rendered.pop(user, None)) is not None:
            self._rendered_bytes -= len(old.part)
        self._rendered[user] = rendered
        self._rendered_bytes += len(rendered.part)
        while self._rendered_bytes > _KEPT_BYTES or len(self._rendered) > LOG_LIMIT:
            self._rendered_bytes -= len(self._rendered.popitem(last=False)[1].part)

    def _hear(self, user: str | None) -> None:
        """The service says that somebody has changed."""
        if user is None:
            self._lose_track()
        elif user in self._preparing:
            self._preparing[user] = True
        elif not is_user_name(user):
            pass  # nobody could ask for it
        elif not self._is_watched(user):
            self.log.add(user)  # for whoever comes back; what it leads to is asked for then
        else:
            self._prepare_soon(user)

    def _lose_track(self) -> None:
        self.log.forget()
        self._wake_all()

    def _wake_all(self) -> None:
        for subscription in self._everything.union(*self._by_user.values()):
            subscription.wake()

    def _is_watched(self, user: str) -> bool:
        return bool(self._everything) or user in self._by_user

    def _prepare_soon(self, user: str) -> None:
        if self._nursery is None or user in self._preparing:
            return
        if len(self._preparing) >= _PREPARED:
            self._lose_track()
        else:
            self._preparing[user] = False
            self._nursery.start_soon(self._prepare, user)

    async def _prepare(self, user: str) -> None:
        """Tell of a change as soon as it is known what it leads to."""
        backoff = Backoff(*_RETRY)
        try:
            while True:
                self._preparing[user] = False
                if await self.render((user,)) or not self._is_watched(user):
                    self._tell(user)
                    backoff.reset()
                    if not self._preparing[user]:
                        return
                else:
                    await trio.sleep(backoff.pause())
        finally:
            del self._preparing[user]

    def _tell(self, user: str) -> None:
        self.log.add(user)
        for subscription in self._everything:
            subscription.wake()
        for subscription in self._by_user.get(user, ()):
            subscription.wake()
