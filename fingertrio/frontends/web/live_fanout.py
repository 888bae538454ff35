"""Sends each change to all watchers from one task: a watcher that keeps up costs one system call and no wake-up.

A watcher that owes its client nothing lends its connection (`Subscription.deliver`). Here it gets the messages that it
lacks, which are the same bytes for all that are equally far. A watcher that is busy, whose buffer is full, that needs a
snapshot or a status that is not rendered now, is woken instead, and its own task sends what is due. Either way a
watcher is a number in the log of changes (`live_log`), so nothing is queued and nothing can be sent twice or left out.

A turn serves a bounded number of watchers; then other tasks run. Changes that arrive meanwhile join what is sent to the
watchers that are still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

import trio

from fingertrio.frontends.web.live_log import ChangeLog
from fingertrio.frontends.web.live_rendering import Form

# Watchers served in one turn: half a millisecond, within which no other client notices the delay.
_TURN = 64

# Bytes that are sent at once to one watcher. With more to send, its own task takes over, which sends in slices.
_BATCH = 16_384

# The message for the number and the user of a change, in a form; None: the status is not known at once.
FindMessage = Callable[[int, str, Form], bytes | None]


class Subscription:
    """One watcher's place in the feed.

    Attributes:
        users: the users to watch; None: all.
        form: how messages are put into bytes for this watcher.
        number: everything up to this change has been sent.
        deliver: sends messages without waiting, or returns False; None: the watcher is busy.
    """

    __slots__ = ("_log", "_woken", "deliver", "form", "number", "users")

    def __init__(self, log: ChangeLog, users: Collection[str] | None, form: Form) -> None:
        self._log = log
        self._woken = trio.Event()
        self.users = users
        self.form = form
        self.number = log.number
        self.deliver: Callable[[bytes], bool] | None = None

    def wake(self) -> None:
        """Report that something changed for this watcher."""
        self._woken.set()

    def pending(self) -> list[tuple[int, str]] | None:
        """The changes that have not been sent, see `ChangeLog.since`. If there are none, `number` advances."""
        self._woken = trio.Event()
        found = self._log.since(self.number, self.users)
        if found == []:
            self.number = self._log.number
        return found

    async def wait(self, deliver: Callable[[bytes], bool] | None = None) -> None:
        """Wait until `pending` may return something new. Meanwhile `deliver` is used."""
        self.deliver = deliver
        try:
            await self._woken.wait()
        finally:
            self.deliver = None


class FanOut:
    """All watchers, and the task that sends them what is new.

    Args:
        log: the changes.
        find_message: returns a message that is rendered already.
        failed: called with a bug that one watcher met.
    """

    def __init__(self, log: ChangeLog, find_message: FindMessage, failed: Callable[[Exception], None]) -> None:
        self._log = log
        self._find_message = find_message
        self._failed = failed
        self._of_all: set[Subscription] = set()
        self._of_user: dict[str, set[Subscription]] = {}
        self._changed: set[str] = set()
        self._has_changed = trio.Event()
        # For watchers of all users, by form: the messages from one number to another, as most of them are equally far.
        self._spans: dict[Form, tuple[int, int, bytes | None]] = {}

    @contextmanager
    def subscribe(self, users: Collection[str] | None, form: Form) -> Iterator[Subscription]:
        """A place in the feed, starting now."""
        subscription = Subscription(self._log, users, form)
        groups = [self._of_all] if users is None else [self._of_user.setdefault(user, set()) for user in users]
        for group in groups:
            group.add(subscription)
        try:
            yield subscription
        finally:
            for group in groups:
                group.discard(subscription)
            for user in users or ():
                if not self._of_user.get(user, True):
                    del self._of_user[user]

    def is_watched(self, user: str) -> bool:
        """Whether any watcher would be sent a change of `user`."""
        return bool(self._of_all) or user in self._of_user

    def wake_all(self) -> None:
        """Have each watcher look for itself."""
        for subscription in self._watchers(self._of_user):
            subscription.wake()

    def announce(self, user: str) -> None:
        """A change of `user` is in the log: send it soon."""
        self._changed.add(user)
        self._has_changed.set()

    async def run(self) -> None:
        """Send what is announced. Never returns."""
        while True:
            await self._has_changed.wait()
            self._has_changed = trio.Event()
            changed, self._changed = self._changed, set()
            for count, subscription in enumerate(self._watchers(changed), 1):
                self._serve(subscription)
                if count % _TURN == 0:
                    await trio.lowlevel.checkpoint()

    def _watchers(self, users: Iterable[str]) -> set[Subscription]:
        return self._of_all.union(*(self._of_user.get(user, ()) for user in users))

    def _serve(self, subscription: Subscription) -> None:
        """Send what `subscription` lacks, or wake its task."""
        deliver = subscription.deliver
        try:
            messages = None if deliver is None else self._lacking(subscription)
            if deliver is None or messages is None or (messages and not deliver(messages)):
                subscription.wake()
            else:
                subscription.number = self._log.number
        except Exception as error:  # noqa: BLE001 -- a bug with one watcher must not end the feed of all
            self._failed(error)
            subscription.wake()

    def _lacking(self, subscription: Subscription) -> bytes | None:
        """The messages that `subscription` lacks; None: they cannot be sent at once."""
        number, last, form = subscription.number, self._log.number, subscription.form
        if subscription.users is not None:
            return self._join(self._log.since(number, subscription.users), form)
        span = self._spans.get(form)
        if span is None or span[0] != number or span[1] != last:
            span = self._spans[form] = (number, last, self._join(self._log.since(number), form))
        return span[2]

    def _join(self, changes: Collection[tuple[int, str]] | None, form: Form) -> bytes | None:
        messages: list[bytes] = []
        size = 0
        for number, user in changes or ():
            message = self._find_message(number, user, form)
            if message is None or (size := size + len(message)) > _BATCH:
                return None
            messages.append(message)
        return None if changes is None else messages[0] if len(messages) == 1 else b"".join(messages)
