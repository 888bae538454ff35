"""The service: every front end asks it, and only it asks the backend.

It adds what no backend should have to implement: a deadline on every call, one call for many simultaneous queries
(single flight), a bounded cache that the backend's changes keep up to date, and a public message for every failure. It
knows neither sockets nor protocols, nor where a status comes from.

A backend that answers at once is asked without a task, by `peek` too, so a front end need not know which one it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from math import inf

import trio

from fingertrio.accounts.writer import Writer
from fingertrio.backend import (
    AnswersAtOnce,
    Backend,
    BackendError,
    Change,
    EmitsChanges,
    ListsUsers,
    Recency,
    UserInfo,
)
from fingertrio.changes import ChangeFeed, ChangeHub
from fingertrio.names import canonical_name, is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service.cache import Answer, AnswerCache
from fingertrio.service.calls import BackendCalls
from fingertrio.service.flights import SingleFlight
from fingertrio.service.following import Following
from fingertrio.service.history import History
from fingertrio.service.policy import ServicePolicy
from fingertrio.service.recent import RecentPage, RecentPages
from fingertrio.service.spelling import Spellings
from fingertrio.service.staleness import Staleness
from fingertrio.service.validity import Validity
from fingertrio.service.warming import Warming
from fingertrio.service.writes import Writes

# The user that `probe` asks for. Probably unknown, but that is an answer too.
_PROBED = "readiness-probe"

_LIST = ""  # the key of the list of users in its cache

_TURN = 32  # answers at once, which take some 100 us, after which other tasks run: one client may ask for thousands

_NOBODY: Answer[UserInfo | None] = Answer(None, inf)  # for text that is not a login name


class FingerService:
    """Asks one backend on behalf of all front ends. Made by `FingerService.open`."""

    def __init__(self, backend: Backend, policy: ServicePolicy, observer: Observer) -> None:
        self._backend = backend
        self._policy = policy
        self._observer = observer
        self._calls = BackendCalls(policy.deadline, observer)
        self._flights = SingleFlight(self._calls, observer.metrics, policy.cache_size)
        self._at_once = backend if isinstance(backend, AnswersAtOnce) else None
        self._answered_at_once = 0
        self._lister = backend if isinstance(backend, ListsUsers) else None
        self._following = Following(backend, self._changed, observer) if isinstance(backend, EmitsChanges) else None
        self._users: AnswerCache[UserInfo | None] = AnswerCache("get_user")
        self._list: AnswerCache[tuple[str, ...]] = AnswerCache("get_users")
        self._spellings = Spellings()
        self._hub = ChangeHub()
        self._writes = Writes(backend, self._calls, observer, lambda user: self._changed(Change(user)), self._spelling)
        self.staleness = Staleness(backend, observer, self._forget_all)
        self._validity = Validity(self._following, self.staleness, policy.cache_ttl)
        self._recent = RecentPages(backend, self._flights, self._validity)
        self._warming = Warming(backend, self._calls, self._users, self._validity)
        self.history = History(backend, self._flights, self._validity)
        self.adopt(policy)
        self.epoch = 0  # counts changes: while it is unchanged, so is every unexpired answer

    @classmethod
    @asynccontextmanager
    async def open(
        cls, backend: Backend, policy: ServicePolicy | None = None, observer: Observer | None = None
    ) -> AsyncIterator[FingerService]:
        """A service over an opened backend, whose changes it follows until the context ends. The backend stays open."""
        service = cls(backend, policy or ServicePolicy(), observer or Observer())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.staleness.follow)
            if (following := service._following) is not None:
                tried = trio.Event()
                nursery.start_soon(following.run, tried)
                with trio.move_on_after(service._policy.deadline):  # a silent source must not delay the start
                    await tried.wait()
                if not tried.is_set():
                    service._observer.degraded("change_feed", "the backend does not answer", essential=False)
            nursery.start_soon(service._warming.run, service._policy.cache_size)
            yield service
            nursery.cancel_scope.cancel()

    def adopt(self, policy: ServicePolicy) -> None:
        """Use other limits from now on. Cached answers keep their expiry."""
        self._policy = policy
        self._calls.deadline = policy.deadline
        self._flights.size = policy.cache_size
        self._validity.ttl = policy.cache_ttl
        self._writes.default_length = policy.default_length
        self._writes.presets = policy.presets
        self._writes.shows_status = policy.log_statuses

    @property
    def can_set(self) -> bool:
        """Whether `set_user` can succeed at all."""
        return self._writes.can_set

    @property
    def can_clear(self) -> bool:
        """Whether `clear_user` can succeed at all."""
        return self._writes.can_clear

    @property
    def can_set_details(self) -> bool:
        """Whether `set_details` can succeed at all."""
        return self._writes.can_set_details

    @property
    def can_list(self) -> bool:
        """Whether the backend lists its users."""
        return self._lister is not None

    @property
    def can_list_recent(self) -> bool:
        """Whether `get_recent` can succeed at all."""
        return self._recent.can_list

    @property
    def hears_changes(self) -> bool:
        """Whether `changes` reports every change, and not only those made through this service."""
        return self._following is not None

    def peek(self, user: str) -> Answer[UserInfo | None] | None:
        """The answer for `user` if it is cached, or the backend answers at once; None: await `ask_user`."""
        answer = self.cached(user)
        return self._ask_at_once(canonical_name(user)) if answer is None else answer

    def cached(self, user: str) -> Answer[UserInfo | None] | None:
        """The answer for `user` if a valid one is cached; None: there is none."""
        if not user.isascii():
            user = canonical_name(user)
        answer = self._users.find(user)
        if answer is not None:
            self._observer.metrics.cache_hits += 1
            return answer
        return None if is_user_name(user) else _NOBODY

    def peek_users(self) -> Answer[tuple[str, ...]] | None:
        """The list of users if a valid one is cached; None: await `get_users`."""
        answer = self._list.find(_LIST)
        if answer is not None:
            self._observer.metrics.cache_hits += 1
        return answer

    def reused(self) -> None:
        """Count a cache hit: a front end reused what it had rendered from a valid answer."""
        self._observer.metrics.cache_hits += 1

    async def get_user(self, user: str) -> UserInfo | None:
        """The user's status and details; None: no such user, or not a login name.

        Raises:
            BackendError: with a message for the client; its cause has been logged.
        """
        return (await self.ask_user(user)).value

    async def get_users(self) -> tuple[str, ...]:
        """Every login name. Raises BackendError, also if the backend does not list its users."""
        return (await self.ask_users()).value

    async def ask_user(self, user: str) -> Answer[UserInfo | None]:
        """Like `get_user`, with the expiry time of the answer."""
        if (answer := self.cached(user)) is not None:
            return answer
        user = canonical_name(user)
        if (answer := self._ask_at_once(user)) is not None:
            self._answered_at_once += 1
            if self._answered_at_once % _TURN == 0:
                await trio.lowlevel.checkpoint()
            return answer

        async def call() -> Answer[UserInfo | None]:
            info = await self._backend.get_user(user)
            if info is None and (spelling := await self._spelling(user)) is not None:
                # The same object under both names: what invalidates one answer invalidates the other.
                return await self.ask_user(spelling)
            return self._check_user(info)

        return await self._flights.ask(self._users, user, call)

    def _ask_at_once(self, user: str) -> Answer[UserInfo | None] | None:
        """The backend's answer, kept like any other; None: the backend would have to wait, or is being asked."""
        if self._at_once is None or user in self._users.flights:
            return None
        try:
            answer = self._calls.make_now("get_user", self._answer_now, user)
        except LookupError:
            return None
        except Exception as error:  # noqa: BLE001 -- a bug, which must not cost the answer: `get_user` is asked from now on
            self._at_once = None
            self._observer.error("get_user_now_failed", user=user, exc=error)
            return None
        self._observer.metrics.cache_misses += 1
        self._users.keep(user, answer, self._policy.cache_size)
        return answer

    def _answer_now(self, user: str) -> Answer[UserInfo | None]:
        """Raises LookupError if the backend would have to wait, or if another spelling of `user` is the answer."""
        if self._at_once is None:
            raise LookupError
        info = self._at_once.get_user_now(user)
        if info is None and self._has_one_spelling and self._spellings.find(user) is not None:
            raise LookupError
        return self._check_user(info)

    @property
    def _has_one_spelling(self) -> bool:
        """Whether names that differ by case alone are one user: where this server keeps the statuses."""
        return self.can_set and self._lister is not None and self._following is not None

    async def _spelling(self, user: str) -> str | None:
        """The name of an existing user that equals `user` but for case, where this server keeps the statuses."""
        if not self._has_one_spelling:
            return None
        try:
            if not self._spellings.is_loaded:
                self._spellings.load(await self.get_users())
            spelling = self._spellings.find(user)
            # Both may exist, set before this rule or past it; and the other one may have been removed.
            if spelling is None or await self._backend.get_user(user) is not None:
                return None
            return None if await self.get_user(spelling) is None else spelling
        except BackendError:
            return None

    async def ask_users(self) -> Answer[tuple[str, ...]]:
        """Like `get_users`, with the expiry time of the answer."""
        if (lister := self._lister) is None:
            raise BackendError("No list of users is kept here")

        async def call() -> Answer[tuple[str, ...]]:
            users = tuple(user for user in await lister.get_users() if is_user_name(user))
            return self._validity.mark(users)

        return await self._flights.ask(self._list, _LIST, call)

    async def get_recent(self, limit: int, before: Recency | None = None) -> RecentPage:
        """The newest statuses, or those after the place `before`. Raises as `ask_recent`."""
        return (await self.ask_recent(limit, before)).value

    async def ask_recent(self, limit: int, before: Recency | None = None) -> Answer[RecentPage]:
        """A page of at most `limit` statuses, with the expiry time of the answer. See `RecentPages.ask`."""
        return await self._recent.ask(limit, before)

    async def set_user(self, user: str, status: str, *, writer: Writer, until: datetime | None = None) -> UserInfo:
        """Set a status; every front end shows it when this returns. See `Writes.set_user`."""
        return await self._writes.set_user(user, status, writer=writer, until=until)

    async def clear_user(self, user: str, *, writer: Writer) -> UserInfo | None:
        """Take a status back; every front end shows an empty one when this returns. None: there is no such user.

        Raises:
            NotAllowedError, ValueError, BackendError: as `set_user`; a backend that cannot clear is a BackendError.
        """
        return await self._writes.clear_user(user, writer=writer)

    async def set_details(
        self, user: str, *, name: str | None, details: Mapping[str, str], writer: Writer
    ) -> UserInfo | None:
        """Replace the full name and all details; None: the user has no status yet. See `Writes.set_details`."""
        return await self._writes.set_details(user, name, details, writer=writer)

    def changes(self) -> AbstractAsyncContextManager[ChangeFeed]:
        """A feed of changes for one subscriber, from when the context is entered; see `changes.ChangeFeed`.

        If the backend does not emit changes, the feed reports only those made through this service.
        """
        return self._hub.changes()

    async def probe(self) -> None:
        """If the last call to the backend failed, repeat it, so that its recovery is noticed even without queries.

        Not for the same user: one unreadable user does not mean that the backend fails.
        """
        await self._calls.probe({"get_user": lambda: self._backend.get_user(_PROBED)})

    def _check_user(self, info: UserInfo | None) -> Answer[UserInfo | None]:
        return self._validity.mark(info, () if info is None else (info,))

    def _changed(self, change: Change) -> None:
        """Invalidate what the change concerns and notify the subscribers. Synchronous, so no task sees it half done."""
        if change.user is None:
            self._forget_all()
        else:
            self.epoch += 1
            self._users.forget(change.user)
            self._spellings.add(change.user)
            self._list.forget_all()  # the change may have added the user
            self._recent.forget()
            self._warming.forget(change.user)
            self.history.forget()
        self._hub.emit(change)

    def _forget_all(self) -> None:
        self.epoch += 1
        self._spellings.forget()
        self._users.forget_all()
        self._list.forget_all()
        self._recent.forget()
        self._warming.forget(None)
        self.history.forget()
