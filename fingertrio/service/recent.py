"""The recent statuses in pages, each of which is kept until something changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fingertrio.backend import Backend, BackendError, ListsRecent, Recency, UserInfo
from fingertrio.names import is_user_name
from fingertrio.service.cache import Answer, AnswerCache
from fingertrio.service.flights import SingleFlight
from fingertrio.service.validity import Validity

# Statuses of one page at most: 100 full plan files are 1.6 MB.
RECENT_LIMIT = 100

# Pages that are kept. Each can hold hundreds of kilobytes of plan files.
PAGES = 32


@dataclass(frozen=True, slots=True)
class RecentPage:
    """Statuses, the newest first.

    Attributes:
        statuses: each as `FingerService.get_user` returns it; none of them is empty.
        next: `before` for the next page; None: there are no more.
    """

    statuses: tuple[UserInfo, ...]
    next: Recency | None


class RecentPages:
    """The pages of one backend."""

    def __init__(self, backend: Backend, flights: SingleFlight, validity: Validity) -> None:
        self._lister = backend if isinstance(backend, ListsRecent) else None
        self._flights = flights
        self._validity = validity
        self._cache: AnswerCache[RecentPage] = AnswerCache("get_recent")
        self.forget = self._cache.forget_all

    @property
    def can_list(self) -> bool:
        """Whether `ask` can succeed at all."""
        return self._lister is not None

    async def ask(self, limit: int, before: Recency | None) -> Answer[RecentPage]:
        """A page of at most `limit` statuses, with the expiry time of the answer. Any change ends it.

        Raises:
            BackendError: also if the backend cannot list statuses by their time; see `can_list`.
            ValueError: `limit` is not 1 to RECENT_LIMIT.
        """
        if not 1 <= limit <= RECENT_LIMIT:
            raise ValueError(f"limit must be 1 to {RECENT_LIMIT}")
        if (lister := self._lister) is None:
            raise BackendError("Statuses are not listed by their time here")

        async def call() -> Answer[RecentPage]:
            found = await lister.get_recent(limit + 1, before)  # one more shows whether there is another page
            return self._validity.mark(_page(found, limit), found)

        return await self._flights.ask(self._cache, _key(limit, before), call, size=PAGES)


def _key(limit: int, before: Recency | None) -> str:
    if before is None:
        return str(limit)
    return f"{limit} {'' if before.since is None else before.since.astimezone(UTC).isoformat()} {before.user}"


def _page(found: Sequence[UserInfo], limit: int) -> RecentPage:
    """The page, without statuses that ended while the answer was on its way, and names that no front end can ask for.

    Raises:
        TypeError: `found` are not UserInfos.
    """
    now = datetime.now(UTC)
    for info in found:
        if not isinstance(info, UserInfo):
            raise TypeError(f"the backend returned {type(info).__name__} among the recent statuses")
    kept = tuple(
        info
        for info in found[:limit]
        if info.status and is_user_name(info.user) and (info.until is None or info.until > now)
    )
    return RecentPage(kept, Recency.of(found[limit - 1]) if len(found) > limit else None)
