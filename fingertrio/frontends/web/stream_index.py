"""All statuses as the stream shows them, in memory: sorted by time, and searchable. No sockets.

The index is loaded when somebody first looks, page by page from the service, and then follows the service's changes: a
change costs one answer and one insertion. When any status may have changed, it is loaded again, but not more often than
it pays, and only if somebody looks. Nothing is ever loaded or sorted for one request, and no step of the work takes
more than a few hundred statuses.

It holds rows (`stream_rows`), not statuses: about a kilobyte for each user, however long the plans are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import inf

import trio

from fingertrio.backend import BackendError, Recency
from fingertrio.frontends.web.stream_rows import Key, StreamRow, fold, haystack, key_of, row_of
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.service.recent import RECENT_LIMIT

# Users in the index: 50 MB of memory. With more, the oldest statuses are reached page by page, but not by search.
USERS_LIMIT = 50_000

# Seconds between two loads at least, and how many times as long as the last one took: a tenth of a core at most.
_PAUSE = 1.0
_PAUSE_FACTOR = 10

# Seconds that the index holds if the backend does not emit changes.
_TTL = 10.0

# Seconds without a look at it after which changes that concern every status do not load it again.
_FORGOTTEN = 600.0

# Rows that one turn of a search looks at: about a millisecond.
_TURN = 5000

# Searches whose results are kept until something changes, so that the second page costs nothing.
_SEARCHES = 8

# A row with its place, and the text in which words are searched.
Entry = tuple[float, str, StreamRow, str]


class StreamIndex:
    """Follows the statuses while `run` runs.

    Attributes:
        version: counts changes: while it is unchanged, so is every row.
    """

    def __init__(self, service: FingerService, observer: Observer, limit: int = USERS_LIMIT) -> None:
        self._service = service
        self._observer = observer
        self._limit = limit
        self._entries: list[Entry] = []  # sorted
        self._keys: dict[str, Key] = {}
        self._loaded_at: float | None = None
        self._is_complete = False
        self._dirty = True  # any row may be wrong
        self._changed: set[str] = set()  # while loading
        self._loading = False
        self._following = False
        self._has_news: Callable[[], bool] = lambda: True
        self._looked_at = -inf
        self._wanted = trio.Event()
        self._ready = trio.Event()
        self._found: OrderedDict[str, list[Entry]] = OrderedDict()
        self.version = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the changes, and load when that is needed. Never returns."""
        if not self._service.can_list_recent:
            task_status.started()
            await trio.sleep_forever()
        async with self._service.changes() as feed, trio.open_nursery() as nursery:
            nursery.start_soon(self._load_when_wanted)
            self._has_news = lambda: feed.pending
            task_status.started()
            async for change in feed:
                self._following = True
                if self._is_forgotten:
                    self._drop()
                elif change.user is None:
                    self._spoil()
                else:
                    await self._follow(change.user)
                self._following = False

    # --- looking ------------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Whether the rows are those of this moment. If not, they will be soon: they are loaded meanwhile."""
        now = trio.current_time()
        self._looked_at = now
        is_old = self._loaded_at is not None and now - self._loaded_at > _TTL
        if is_old and not self._service.hears_changes and not self._loading:
            self._dirty = True
        if self._dirty:
            self._wanted.set()
        return not (self._dirty or self._loading or self._following or self._has_news())

    async def wait(self, seconds: float) -> bool:
        """`look`, after waiting for rows for so long at most. Rows that may be out of date are better than none."""
        if self.look() or self._loaded_at is not None:
            return True
        with trio.move_on_after(seconds):
            await self._ready.wait()
        return self._loaded_at is not None

    def covers(self, key: Key | None, count: int) -> bool:
        """Whether the `count` entries behind the place `key` are here, if there are as many at all."""
        start = 0 if key is None else bisect_left(self._entries, key)
        return self._is_complete or start + count < len(self._entries)

    @property
    def total(self) -> int | None:
        """How many users there are; None: not known, or more than fit."""
        return len(self._entries) if self._is_complete and self._loaded_at is not None else None

    def entries(self) -> Sequence[Entry]:
        """All of them, the newest first."""
        return self._entries

    async def search(self, query: str) -> Sequence[Entry]:
        """Those that contain each word of `query`, the newest first."""
        words = sorted(set(fold(query).split()), key=len, reverse=True)  # a long word excludes most rows at once
        key = " ".join(words)
        if (found := self._found.get(key)) is not None:
            self._found.move_to_end(key)
            return found
        version, entries, found = self.version, list(self._entries), []
        for start in range(0, len(entries), _TURN):
            if start:
                await trio.lowlevel.checkpoint()
            left = entries[start : start + _TURN]
            for word in words:
                left = [entry for entry in left if word in entry[3]]
            found += left
        if version == self.version:
            self._found[key] = found
            if len(self._found) > _SEARCHES:
                self._found.popitem(last=False)
        return found

    # --- following ----------------------------------------------------------------------------------------------------

    def _spoil(self) -> None:
        """Any row may be wrong."""
        self._dirty = True
        self._touch()
        self._wanted.set()

    @property
    def _is_forgotten(self) -> bool:
        return trio.current_time() - self._looked_at > _FORGOTTEN

    def _drop(self) -> None:
        """Nobody looks any more."""
        if self._loaded_at is not None:
            self._entries, self._keys, self._loaded_at, self._ready = [], {}, None, trio.Event()
        self._dirty = True
        self._touch()

    def _touch(self) -> None:
        self.version += 1
        self._found.clear()

    async def _follow(self, user: str) -> None:
        if self._loading:
            self._changed.add(user)
        if self._loaded_at is None:
            return
        try:
            answer = await self._service.ask_user(user)
        except BackendError:  # logged by the service
            self._spoil()
            return
        if user in self._keys:
            del self._entries[bisect_left(self._entries, self._keys.pop(user))]
        info = answer.value
        if info is not None and info.status and info.user == user:
            self._insert(_entry(row_of(info)))
        self._touch()

    def _insert(self, entry: Entry) -> None:
        if len(self._entries) >= self._limit:
            self._is_complete = False
            oldest = self._entries.pop()
            del self._keys[oldest[1]]
        insort(self._entries, entry)
        self._keys[entry[1]] = entry[:2]

    async def _load_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            began = trio.current_time()
            try:
                await self._load()
            except BackendError:  # logged by the service
                pass
            except Exception as error:  # noqa: BLE001 -- a bug must not end the front end
                self._observer.error("stream_failed", exc=error)
            await trio.sleep(max(_PAUSE, (trio.current_time() - began) * _PAUSE_FACTOR))
            if self._dirty and not self._is_forgotten:
                self._wanted.set()

    async def _load(self) -> None:
        """Take all pages, and then what changed meanwhile."""
        self._loading, self._dirty = True, False
        self._changed.clear()
        entries: dict[str, Entry] = {}
        before: Recency | None = None
        try:
            while True:
                page = await self._service.get_recent(RECENT_LIMIT, before)
                for info in page.statuses:
                    entries[info.user] = _entry(row_of(info))
                before = page.next
                if before is None or len(entries) >= self._limit:
                    break
                await trio.lowlevel.checkpoint()
            rows = sorted(entries.values())[: self._limit]
            await trio.lowlevel.checkpoint()
            keys = {entry[1]: entry[:2] for entry in rows}
        except BaseException:
            self._dirty = True
            raise
        finally:
            self._loading = False
        self._entries, self._keys = rows, keys
        self._is_complete = before is None
        self._loaded_at = trio.current_time()
        self._touch()
        for user in list(self._changed):
            await self._follow(user)
        self._ready.set()


def _entry(row: StreamRow) -> Entry:
    return (*key_of(Recency(row.since, row.user)), row, haystack(row))
