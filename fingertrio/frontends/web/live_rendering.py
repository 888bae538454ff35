"""The messages of the live feed as bytes that all watchers share: one user, and one page of a snapshot.

A snapshot of 10,000 users is megabytes, and after a restart all clients ask for one. It is sent in pages. A page exists
once for all watchers that are sending it, and is freed when the last one has sent it. So the memory for snapshots
depends on the number of users, not on the number of slow clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

import trio

from fingertrio.backend import UserInfo
from fingertrio.http.websocket import text_frame
from fingertrio.service.cache import Answer
from fingertrio.wire import live

_T = TypeVar("_T")

# Users of a page: few enough to build one in a fraction of a millisecond, enough for few sends.
PAGE = 64

# Users that are asked for at once.
BATCH = 16


class RenderedUser:
    """The message part about one user, rendered once for all watchers."""

    __slots__ = ("_answer", "_at", "_change", "part")

    def __init__(self, answer: Answer[UserInfo | None], part: bytes) -> None:
        self._answer = answer
        self.part = part  # see `wire.live`
        self._at = ""
        self._change = b""

    def is_current(self) -> bool:
        """Whether the service would still give this answer."""
        return self._answer.expires > trio.current_time()

    @property
    def exists(self) -> bool:
        """Whether there is such a user."""
        return self._answer.value is not None

    def change(self, at: str) -> bytes:
        """The frame of a change with id `at`. It is kept, because usually all watchers ask for the same one."""
        if at != self._at:
            self._change = text_frame(live.change(at, self.part))
            self._at = at
        return self._change


class Page:
    """The frames for some users of a snapshot."""

    __slots__ = ("__weakref__", "_users", "frames")

    def __init__(self, users: Collection[str], rendered: Mapping[str, RenderedUser]) -> None:
        frames = bytearray()
        for user in users:
            if user not in rendered:
                frames += text_frame(live.present(live.render_unavailable(user)))
            elif rendered[user].exists:
                frames += text_frame(live.present(rendered[user].part))
        self.frames = bytes(frames)
        self._users = tuple(rendered.values()) if len(rendered) == len(users) else None

    def is_current(self) -> bool:
        """Whether every user in it could be read, and still has this status."""
        return self._users is not None and all(user.is_current() for user in self._users)


class SnapshotPages:
    """The pages that watchers are sending now.

    Args:
        render: the current state of users; see `LiveHub.render`.
    """

    def __init__(self, render: Callable[[Collection[str]], Awaitable[Mapping[str, RenderedUser]]]) -> None:
        self._render = render
        self._pages: WeakValueDictionary[tuple[str, ...], Page] = WeakValueDictionary()

    async def page(self, users: Sequence[str]) -> Page:
        """The page for these users, at most PAGE of them. It is shared while a caller holds it."""
        key = tuple(users)
        if (page := self._current(key)) is not None:
            return page
        rendered: dict[str, RenderedUser] = {}
        for batch in batches(key, BATCH):
            rendered |= await self._render(batch)
        if (page := self._current(key)) is None:  # no other watcher made it meanwhile
            page = self._pages[key] = Page(key, rendered)
        return page

    def _current(self, key: tuple[str, ...]) -> Page | None:
        page = self._pages.get(key)
        return page if page is not None and page.is_current() else None


def batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """`items` in groups of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
