"""Until when an answer holds, and since when it may be out of date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from math import inf
from typing import TypeVar

import trio

from fingertrio.backend import UserInfo
from fingertrio.service.cache import Answer
from fingertrio.service.following import Following
from fingertrio.service.staleness import Staleness
from fingertrio.wire.times import in_utc

T = TypeVar("T")


class Validity:
    """Marks answers.

    Args:
        following: of the backend's changes; None: it emits none.
        staleness: of the backend.

    Attributes:
        ttl: seconds that an answer holds while changes are not heard.
    """

    def __init__(self, following: Following | None, staleness: Staleness, ttl: float) -> None:
        self._following = following
        self._staleness = staleness
        self.ttl = ttl

    def mark(self, value: T, infos: Iterable[UserInfo] = ()) -> Answer[T]:
        """The backend's answer `value`, which contains `infos`, with its expiry and its staleness.

        Raises:
            TypeError, ValueError: `infos` break the contract of backends; the call has failed.
        """
        is_live = self._following is not None and self._following.is_live
        expires = inf if is_live else trio.current_time() + self.ttl
        for info in infos:
            if not isinstance(info, UserInfo):
                raise TypeError(f"the backend returned {type(info).__name__} instead of UserInfo")
            if info.since is not None:
                in_utc(info.since)  # no front end could show it
            if info.until is not None:
                remaining = (in_utc(info.until) - datetime.now(UTC)).total_seconds()
                expires = min(expires, trio.current_time() + remaining)
        return Answer(value, expires, self._staleness.look())
