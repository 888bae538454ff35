"""The messages of the live feed as bytes that all watchers share: one user, and one page of a snapshot.

A snapshot of 10,000 users is megabytes, and after a restart all clients ask for one. It is sent in pages. A page exists
once for all watchers that are sending it, and is freed when the last one has sent it. So the memory for snapshots
depends on the number of users, not on the number of slow clients.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

import trio

from fingertrio.backend import UserInfo
from fingertrio.http.websocket import text_frame
from fingertrio.service.cache import Answer
from fingertrio.wire import live

_T = TypeVar("_T")

# How a message is put into bytes for one kind of connection: from its JSON, and the id from which a client resumes.
Form: TypeAlias = Callable[[bytes, str | None], bytes]


def text(payload: bytes, at: str | None = None) -> bytes:  # noqa: ARG001 -- of the form; the JSON has the id
    """A message for WebSockets."""
    return text_frame(payload)


# Users of a page: few enough to build one in a fraction of a millisecond, enough for few sends.
PAGE = 64

# Users that are asked for at once.
BATCH = 16


class RenderedUser:
    """The message part about one user, rendered once for all watchers."""

    __slots__ = ("_answer", "_changes", "part")

    def __init__(self, answer: Answer[UserInfo | None], part: bytes) -> None:
        self._answer = answer
        self.part = part  # see `wire.live`
        self._changes: dict[Form, tuple[str, bytes]] = {}  # with the id

    def is_current(self) -> bool:
        """Whether the service would still give this answer."""
        return self._answer.expires > trio.current_time()

    @property
    def exists(self) -> bool:
        """Whether there is such a user."""
        return self._answer.value is not None

    def change(self, at: str, form: Form = text) -> bytes:
        """The message of a change with id `at`. It is kept, because usually all watchers ask for the same one."""
        kept = self._changes.get(form)
        if kept is None or kept[0] != at:
            kept = self._changes[form] = (at, form(live.change(at, self.part), at))
        return kept[1]


class Page:
    """The messages for some users of a snapshot."""

    __slots__ = ("__weakref__", "_users", "frames")

    def __init__(self, users: Collection[str], rendered: Mapping[str, RenderedUser], form: Form) -> None:
        frames = bytearray()
        for user in users:
            if user not in rendered:
                frames += form(live.present(live.render_unavailable(user)), None)
            elif rendered[user].exists:
                frames += form(live.present(rendered[user].part), None)
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
        self._pages: WeakValueDictionary[tuple[Form, tuple[str, ...]], Page] = WeakValueDictionary()

    async def page(self, users: Sequence[str], form: Form = text) -> Page:
        """The page for these users, at most PAGE of them. It is shared while a caller holds it."""
        key = (form, tuple(users))
        if (page := self._current(key)) is not None:
            return page
        rendered: dict[str, RenderedUser] = {}
        for batch in batches(key[1], BATCH):
            rendered |= await self._render(batch)
        if (page := self._current(key)) is None:  # no other watcher made it meanwhile
            page = self._pages[key] = Page(key[1], rendered, form)
        return page

    def _current(self, key: tuple[Form, tuple[str, ...]]) -> Page | None:
        page = self._pages.get(key)
        return page if page is not None and page.is_current() else None


def batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """`items` in groups of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
