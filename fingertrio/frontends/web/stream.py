"""The stream for the HTML pages: who is up to what, one page at a time, on the server and without script.

    stream = Stream(service, observer)      # `run` in the front end's nursery
    page = await stream.page(by="recent", query="coffee", at=request.args.get("at"))

Where the backend lists statuses by their time, pages come from an index in memory (`stream_index`), the newest first.
While it is being loaded, they come from the service, so the first page never waits for it. Other backends, and
`by="name"`, list everybody by name, and ask for the users of one page only; a search finds login names there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import trio

from fingertrio.backend import BackendError, Recency
from fingertrio.frontends.web.sorted_names import SortedNames, name_of, sortable
from fingertrio.frontends.web.stream_index import Entry, StreamIndex
from fingertrio.frontends.web.stream_rows import StreamRow, fold, key_of, place_text, read_place, row_of
from fingertrio.names import canonical_name, is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService

PAGE = 50  # users

QUERY_LIMIT = 100  # characters

# Seconds that a search waits for an index that is being loaded for the first time: 10,000 users take a fraction.
_LOADING = 3.0

Order = Literal["recent", "name"]


@dataclass(frozen=True, slots=True)
class StreamPage:
    """One page.

    Attributes:
        rows: at most PAGE users, in order.
        by: the order: "recent", the newest status first, or "name".
        query: what was searched, as it was understood; empty: nothing.
        finds_names_only: whether a search looks at login names alone.
        total: how many users there are, or were found; None: not known (yet).
        first: the number of the first row among them, from 1; None: not known. 0: there are no rows.
        previous: `at` of the page before; empty: the first page; None: there is none.
        next: `at` of the page behind; None: there is none.
        stale_since: since when the data may be out of date, because its source is unavailable; None: up to date.
        version: while it and the arguments are the same, so is the page, except for a status whose `until` passes;
            None: nothing is known about that.
    """

    rows: tuple[StreamRow, ...]
    by: Order
    query: str
    finds_names_only: bool
    total: int | None
    first: int | None
    previous: str | None
    next: str | None
    stale_since: datetime | None
    version: int | None


class Stream:
    """Makes the pages. `run` is called once."""

    def __init__(self, service: FingerService, observer: Observer) -> None:
        self._service = service
        self._index = StreamIndex(service, observer)
        self._names = SortedNames()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the index. Never returns."""
        await self._index.run(task_status=task_status)

    @property
    def exists(self) -> bool:
        """Whether there is a stream: False where the backend neither lists users nor statuses."""
        return self._service.can_list_recent or self._service.can_list

    async def page(self, *, by: Order = "recent", query: str = "", at: str | None = None) -> StreamPage:
        """One page. Any `by`, `query` and `at` are understood somehow: links may be old, or made by hand.

        Args:
            by: the order; "name" if the backend does not list statuses by their time.
            query: words; all have to be found; upper and lower case count as the same.
            at: `next` or `previous` of another page with the same arguments; None or unknown: the first page.

        Raises:
            BackendError: the statuses cannot be read now.
        """
        query = " ".join(query[:QUERY_LIMIT].split())
        if (by == "name" and self._service.can_list) or not self._service.can_list_recent:
            return await self._page_by_name(query, at or "")
        is_before, place = _read_cursor(at or "")
        if query:
            if not await self._index.wait(_LOADING):
                raise BackendError("The search is not ready yet, please try again in a moment")
            return self._cut(await self._index.search(query), is_before, place, query, known=True)
        if self._index.look() and self._index.covers(None if place is None else key_of(place), PAGE + 1):
            return self._cut(self._index.entries(), is_before, place, "", known=self._index.total is not None)
        return await self._page_from_service(None if is_before else place)

    def _cut(
        self, entries: Sequence[Entry], is_before: bool, place: Recency | None, query: str, *, known: bool
    ) -> StreamPage:
        """The part of sorted entries that the cursor asks for."""
        key = None if place is None else key_of(place)
        if key is None:
            start = 0
        elif is_before:
            start = max(0, bisect_left(entries, key) - PAGE)
        else:
            start = bisect_right(entries, key, key=lambda entry: entry[:2])
        found = entries[start : start + PAGE]
        now = datetime.now(UTC)
        rows = tuple(row for *_, row, _ in found if row.until is None or row.until > now)
        has_more = start + PAGE < len(entries)
        return StreamPage(
            rows,
            "recent",
            query,
            finds_names_only=False,
            total=len(entries) if known else None,
            first=start + 1 if rows else 0,
            previous=_previous(found[0][2], start) if found and start else "" if start else None,
            next=_cursor(">", Recency(found[-1][2].since, found[-1][2].user)) if has_more else None,
            stale_since=self._service.staleness.since,
            version=self._index.version,
        )

    async def _page_from_service(self, before: Recency | None) -> StreamPage:
        answer = await self._service.ask_recent(PAGE, before)
        page = answer.value
        return StreamPage(
            tuple(map(row_of, page.statuses)),
            "recent",
            "",
            finds_names_only=False,
            total=self._index.total,
            first=1 if before is None and page.statuses else None if before is not None else 0,
            previous=None if before is None else "",
            next=None if page.next is None else _cursor(">", page.next),
            stale_since=answer.stale_since,
            version=None,
        )

    async def _page_by_name(self, query: str, at: str) -> StreamPage:
        answer = await self._service.ask_users()
        names = await self._names.of(answer.value)
        if words := fold(query).split():
            names = [name for name in names if all(word in name for word in words)]
        is_before, name = at.startswith("<"), canonical_name(at[1:])
        start = 0
        if at[:1] in {"<", ">"} and is_user_name(name):
            key = sortable(name)
            start = max(0, bisect_left(names, key) - PAGE) if is_before else bisect_right(names, key)
        found = [name_of(name) for name in names[start : start + PAGE]]
        rows = await self._rows(found)
        return StreamPage(
            rows,
            "name",
            query,
            finds_names_only=True,
            total=len(names),
            first=start + 1 if found else 0,
            previous=None if not start else "" if start <= PAGE or not found else f"<{found[0]}",
            next=f">{found[-1]}" if start + PAGE < len(names) else None,
            stale_since=answer.stale_since,
            version=None,
        )

    async def _rows(self, users: Sequence[str]) -> tuple[StreamRow, ...]:
        """The rows of `users`, without those who are no longer there. Raises BackendError if none can be read."""
        rows: dict[str, StreamRow] = {}
        failures: list[BackendError] = []

        async def ask(user: str) -> None:
            try:
                answer = await self._service.ask_user(user)
            except BackendError as error:  # one user who cannot be read must not cost the page
                failures.append(error)
                rows[user] = StreamRow(user, None, None, "", False, 0, None, None)
                return
            if answer.value is not None:
                rows[user] = row_of(answer.value)

        async with trio.open_nursery() as nursery:
            for user in users:
                if (answer := self._service.peek(user)) is None:
                    nursery.start_soon(ask, user)
                elif answer.value is not None:
                    rows[user] = row_of(answer.value)
        if failures and len(failures) == len(users):
            raise failures[0]
        return tuple(rows[user] for user in users if user in rows)


def _cursor(direction: Literal["<", ">"], place: Recency) -> str:
    return direction + place_text(place)


def _previous(first: StreamRow, start: int) -> str:
    return "" if start <= PAGE else _cursor("<", Recency(first.since, first.user))


def _read_cursor(text: str) -> tuple[bool, Recency | None]:
    """Whether the page ends before the place, and the place; None: the first page."""
    try:
        return text.startswith("<"), read_place(text[1:]) if text[:1] in {"<", ">"} else None
    except ValueError:
        return False, None
