"""The newest statuses of several layers as one list: of each user, the answer of the first layer that knows the user.

A page is merged from pages of the layers. A user on the page of one layer may be known to a layer above it, which
answers instead, and which need not list its users. So every layer above is asked for every candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Protocol

import trio

from fingertrio.backend import ListsRecent, ListsUsers, Recency, UserInfo
from fingertrio.backends.layers.open_layer import OpenLayer, SkippedError


class Whole(Protocol):
    """What is needed of a layered backend."""

    layers: Sequence[OpenLayer]

    async def find(self, user: str) -> tuple[UserInfo, OpenLayer] | None: ...
    def mark_incomplete(self, user: str | None) -> None: ...


def can_list_recent(layers: Sequence[object]) -> bool:
    """Whether every layer that lists its users lists them by the time of their statuses, and there is one."""
    listers = [layer for layer in layers if isinstance(layer, ListsUsers | ListsRecent)]
    return bool(listers) and all(isinstance(layer, ListsRecent) for layer in listers)


class LayeredRecent(ListsRecent):
    """The capability ListsRecent of `whole`."""

    def __init__(self, whole: Whole) -> None:
        self._whole = whole

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """The newest statuses of the layers that list them; those of a layer that is skipped are missing."""
        merge = _Merge(self._whole.layers, limit, before)
        through = any(layer.falls_through for layer in self._whole.layers)
        infos: list[UserInfo] = []
        while len(infos) < limit:
            candidates = await merge.next(limit - len(infos))
            kept: list[UserInfo] = []
            async with trio.open_nursery() as nursery:
                for info, above in candidates:
                    if through:
                        nursery.start_soon(self._find, info, self._whole.layers[len(above)], kept)
                        continue
                    try:
                        is_known = any(layer.ask_now(info.user) is not None for layer in above)
                    except LookupError:
                        nursery.start_soon(self._check, info, above, kept)
                    else:
                        kept += [] if is_known else [info]
            infos += sorted(kept, key=Recency.of)
            if not candidates:
                break
        if merge.skipped:
            self._whole.mark_incomplete(None)
        return infos

    async def _find(self, info: UserInfo, layer: OpenLayer, kept: list[UserInfo]) -> None:
        """Keep a candidate, completed by the other layers, if the status that is shown comes from `layer`."""
        found = await self._whole.find(info.user)
        if found is not None and found[1] is layer:
            kept.append(found[0])

    async def _check(self, info: UserInfo, above: Sequence[OpenLayer], kept: list[UserInfo]) -> None:
        """Keep a candidate whom no layer above knows."""
        for layer in above:
            try:
                if await layer.ask(layer.backend.get_user, info.user) is not None:
                    return
            except SkippedError:
                self._whole.mark_incomplete(None)
        kept.append(info)


class _Merge:
    """The statuses of all layers in one order, read page by page.

    Attributes:
        skipped: whether a layer was skipped.
    """

    def __init__(self, layers: Sequence[OpenLayer], limit: int, before: Recency | None) -> None:
        self._layers = layers
        self._limit = limit
        self._before = before
        self._waiting: list[tuple[Recency, int, UserInfo]] = []  # a heap; the layer by its number
        self._left: dict[int, int] = {}  # statuses in the heap, of layers that may have more
        self._begun = False
        self.skipped = False

    async def next(self, count: int) -> list[tuple[UserInfo, Sequence[OpenLayer]]]:
        """The next `count` statuses, each with the layers above its own; fewer: there are no more."""
        if not self._begun:
            self._begun = True
            for number in range(len(self._layers)):
                await self._read(number, self._before)
        found: list[tuple[UserInfo, Sequence[OpenLayer]]] = []
        while self._waiting and len(found) < count:
            place, number, info = heappop(self._waiting)
            found.append((info, self._layers[:number]))
            if number in self._left:
                self._left[number] -= 1
                if not self._left[number]:
                    await self._read(number, place)
        return found

    async def _read(self, number: int, before: Recency | None) -> None:
        """The next page of a layer."""
        layer = self._layers[number]
        self._left.pop(number, None)
        if not isinstance(lister := layer.backend, ListsRecent):
            return
        try:
            page = await layer.ask(lister.get_recent, self._limit, before)
        except SkippedError:
            self.skipped = True
            return
        for info in page:
            heappush(self._waiting, (Recency.of(info), number, info))
        if len(page) >= self._limit:
            self._left[number] = len(page)
