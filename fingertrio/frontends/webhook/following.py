"""Follows the changes of statuses for all webhooks, and stores the messages that each has to send.

A change is a name. Its user is asked for as every front end does, so what is hidden from them is hidden from webhooks.
A user who cannot be read now is asked for again, with back-off; meanwhile the others go on.

The store has a mark: changes up to that time have been stored. After a restart, and whenever anything may have changed,
the statuses that are newer than the mark are looked for, where the backend lists by time. So a status is reported that
was set while this program was stopped, was being killed, or did not hear its backend. The users who were reported last
are read again as well, so what was taken back is found too.

What waited at the last stop is held until its user has been read again. It may say what is not shown any more; then a
newer message takes its place before it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import inf

import trio

from fingertrio.backend import BackendError, Recency, UserInfo
from fingertrio.changes import ChangeFeed
from fingertrio.frontends.webhook.store import Change, Stored, StoreError, WebhookStore
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.backoff import Backoff

# Changes stored in one transaction, which takes some milliseconds of the disk.
_BATCH = 64

# Users who cannot be read now. With more than these, looking for what is newer than the mark is cheaper.
_LATER = 1024

_RETRY = (1.0, 30.0)  # seconds: first and longest pause before what failed is tried again

_PAGE = 100  # statuses of one question

# Of what was missed: no statuses that are older than a message lives, and of no more users than messages can wait.
_NEWS = timedelta(hours=24)
_MISSED = 10_000

# Users who were reported before and are read again when something may have been missed: what is not shown any more is
# in no list. Reading them costs as much as a thousand clients that ask once.
_KNOWN = 1000

# Two statuses of the same moment may be stored in either order, and two servers' clocks differ. What is found again
# within this overlap is not reported again, since the store knows what was.
_OVERLAP = timedelta(minutes=1)


class ChangeFollower:
    """The one subscription of all webhooks.

    Args:
        service: has the changes and the users.
        store: where messages are put.
        observer: reports what is degraded.
        wants: the names of the webhooks that report a user's changes.
        deliver: receives the messages that were stored.
    """

    def __init__(
        self,
        service: FingerService,
        store: WebhookStore,
        observer: Observer,
        *,
        wants: Callable[[str], Sequence[str]],
        deliver: Callable[[Sequence[Stored]], Awaitable[None]],
    ) -> None:
        self._service = service
        self._store = store
        self._observer = observer
        self._wants = wants
        self._deliver = deliver
        self.begin((), None)

    def begin(self, waiting: Iterable[Stored], mark: datetime | None) -> None:
        """Forget everything, before `run`.

        Args:
            waiting: the messages in the store.
            mark: from the store; None: nothing was reported before, so what is there now is no news.
        """
        self._held: dict[str, list[Stored]] = {}
        for message in waiting:
            self._held.setdefault(message.user, []).append(message)
        self._names: dict[str, None] = dict.fromkeys(self._held)  # to be read, the oldest first
        self._later: dict[str, None] = {}  # could not be read or stored
        self._missed = mark is not None  # anything may have changed
        self._mark = self._newest = mark or datetime.now(UTC)  # of what is stored: as far as all of it is, and in all
        self._oldest = self._mark if mark is None else mark - _OVERLAP
        self._is_stopping = False
        self._waiting = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until `stop`. Calls `started` once no change can be missed."""
        backoff = Backoff(*_RETRY)
        retry_at = trio.current_time()
        async with self._service.changes() as feed:
            task_status.started()
            await self._store_batch({})  # the mark, which is new where there was none
            while not self._is_stopping:
                await self._wait(feed, retry_at)
                is_retry = trio.current_time() >= retry_at
                await self._work(with_failed=is_retry)
                if not self._later and not self._missed:
                    backoff.reset()
                    retry_at = inf
                elif is_retry or retry_at == inf:
                    retry_at = trio.current_time() + backoff.pause()
            await self._take(feed)
            await self._work(with_failed=True)

    def stop(self) -> None:
        """Store what has changed by now, and return from `run`."""
        self._is_stopping = True
        self._waiting.cancel()

    async def _wait(self, feed: ChangeFeed, retry_at: float) -> None:
        if retry_at == inf or retry_at > trio.current_time():
            with trio.CancelScope(deadline=retry_at) as self._waiting:
                if self._is_stopping:
                    return
                self._note((await feed.__anext__()).user)
        await self._take(feed)

    async def _take(self, feed: ChangeFeed) -> None:
        """Note what the feed has, without waiting."""
        while feed.pending:
            self._note((await feed.__anext__()).user)

    def _note(self, user: str | None) -> None:
        if user is None:
            self._missed = True
        else:
            self._later.pop(user, None)
            self._names[user] = None

    async def _work(self, *, with_failed: bool) -> None:
        """Read and store what has changed; `with_failed`: also what could not be before."""
        if with_failed:
            self._names = {**self._later, **self._names}
            self._later = {}
            if self._missed:
                await self._look_for_missed()
        while self._names:
            batch = list(self._names)[:_BATCH]
            for user in batch:
                del self._names[user]
            await self._store_batch(await self._read(batch))
        if len(self._later) > _LATER:
            # A held message leaves only after its user has been read, and a user who is gone is in no list.
            self._later = dict.fromkeys(user for user in self._later if user in self._held)
            self._missed = True

    async def _read(self, users: Sequence[str]) -> dict[str, UserInfo | None]:
        """The users as they are shown; those who cannot be read now are left for later."""
        found: dict[str, UserInfo | None] = {}

        async def read(user: str) -> None:
            try:
                found[user] = await self._service.get_user(user)
            except BackendError:  # logged by the service
                self._later[user] = None
            except Exception as error:  # noqa: BLE001 -- a bug with one user must not end the feed of all
                self._observer.error("webhook_failed", user=user, exc=error)

        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(read, user)
        return found

    async def _look_for_missed(self) -> None:
        """Store every status that is newer than the mark, and read the users again who were reported before."""
        try:
            found = await self._list_new()
            known = await self._store.known(_KNOWN)
        except BackendError:  # logged by the service; tried again
            return
        except StoreError as error:
            self._observer.degraded("webhook_store", str(error), exc=error, essential=False)
            return
        self._missed = False
        self._names |= dict.fromkeys(known)
        users = [user for user in reversed(found) if user not in self._names]  # those are read again, later than this
        for start in range(0, len(users), _BATCH):
            await self._store_batch({user: found[user] for user in users[start : start + _BATCH]})

    async def _list_new(self) -> dict[str, UserInfo]:
        """The users whose status is newer than the mark, the newest first; none if the backend has no such list."""
        oldest = max(self._oldest, self._mark - _OVERLAP, datetime.now(UTC) - _NEWS)
        found: dict[str, UserInfo] = {}
        before: Recency | None = None
        while self._service.can_list_recent and len(found) < _MISSED:
            page = await self._service.get_recent(_PAGE, before)
            new = [info for info in page.statuses if info.since is not None and info.since > oldest]
            found |= {info.user: info for info in new}
            before = page.next
            if before is None or len(new) < len(page.statuses):
                break
        return found

    async def _store_batch(self, infos: Mapping[str, UserInfo | None]) -> None:
        now = datetime.now(UTC)
        times = [info.since for info in infos.values() if info is not None and info.since is not None]
        self._newest = min(now, max([self._newest, *times]))
        mark = None if self._later or self._missed or self._names else self._newest
        changes = [Change(user, info, self._wants(user)) for user, info in infos.items()]
        try:
            stored = await self._store.record(changes, now, mark)
        except StoreError as error:
            self._observer.degraded("webhook_store", str(error), exc=error, essential=False)
            self._later |= dict.fromkeys(infos)
            return
        self._mark = mark or self._mark
        self._observer.recovered("webhook_store")
        await self._deliver([*self._release(infos, stored), *stored])

    def _release(self, users: Iterable[str], stored: Sequence[Stored]) -> list[Stored]:
        """The messages that were held for `users`, but for those whose place `stored` has taken."""
        if not self._held:
            return []
        replaced = {(message.webhook, message.user) for message in stored}
        held = [message for user in users for message in self._held.pop(user, ())]
        return [message for message in held if (message.webhook, message.user) not in replaced]
