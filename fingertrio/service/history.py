"""Earlier statuses in pages, each of which is kept until something changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fingertrio.backend import Backend, BackendError, KeepsHistory, UserInfo
from fingertrio.names import canonical_name
from fingertrio.service.cache import Answer, AnswerCache
from fingertrio.service.flights import SingleFlight
from fingertrio.service.recent import PAGES
from fingertrio.service.validity import Validity

# Statuses of one page at most: a year of one status a day.
HISTORY_LIMIT = 366


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Statuses of one user, the newest first.

    Attributes:
        statuses: each with its `since`, and as `until` when it ended or will end; None: it holds, or will hold again.
        next: `before` for the next page; None: there are no more.
    """

    statuses: tuple[UserInfo, ...]
    next: datetime | None


class History:
    """The pages of one backend."""

    def __init__(self, backend: Backend, flights: SingleFlight, validity: Validity) -> None:
        self._historian = backend if isinstance(backend, KeepsHistory) else None
        self._flights = flights
        self._validity = validity
        self._cache: AnswerCache[HistoryPage] = AnswerCache("get_history")
        self.forget = self._cache.forget_all

    @property
    def is_kept(self) -> bool:
        """Whether `ask` can succeed at all."""
        return self._historian is not None

    async def ask(self, user: str, limit: int, before: datetime | None = None) -> Answer[HistoryPage]:
        """At most `limit` statuses of `user` that were set before `before`. Any change ends the answer.

        Whether `user` is shown at all is not checked here: ask for the user first.

        Raises:
            BackendError: also if the backend keeps no history.
            ValueError: `limit` is not 1 to HISTORY_LIMIT.
        """
        if not 1 <= limit <= HISTORY_LIMIT:
            raise ValueError(f"limit must be 1 to {HISTORY_LIMIT}")
        if (historian := self._historian) is None:
            raise BackendError("No history is kept here")
        user = canonical_name(user)

        async def call() -> Answer[HistoryPage]:
            found = await historian.get_history(user, limit + 1, before)  # one more shows whether there is another page
            shown = tuple(found[:limit])
            following = shown[-1].since if len(found) > limit else None
            return self._validity.mark(HistoryPage(shown, following))

        key = f"{limit} {'' if before is None else before.astimezone(UTC).isoformat()} {user}"
        return await self._flights.ask(self._cache, key, call, size=PAGES)
