"""The statuses that a mirror holds, and the memory that they take. Synchronous; knows neither the feed nor trio."""

from __future__ import annotations

from collections.abc import Mapping
from sys import getsizeof

from fingertrio.backend import UserInfo
from fingertrio.clients.live import LiveError
from fingertrio.names import is_user_name
from fingertrio.wire.by_time import ByTime

# Bytes for the entry of one user in a dictionary: 32, and as much again for the room that a growing one keeps free.
_ENTRY = 64

# Bytes for the place of one user in the order by time: another entry, a tuple, a number, and a pointer. A new copy gets
# its order when the previous one is released, so the places of users that did not change count once.
_PLACE = 64 + 56 + 32 + 8

# CPython allocates in multiples of 16 bytes.
_ALIGNMENT = 16


class TooLargeError(LiveError):
    """The origin's statuses do not fit into the configured memory."""


class StatusCopy:
    """The status of every user, in the origin's order. None: the origin could not read that user.

    Args:
        limit: bytes that this copy and `previous` may take together.
        previous: the copy in force while this one is filled from a snapshot. Objects equal in both are shared.

    Attributes:
        size: bytes that this copy takes.
        order: the users with a status, by its time; once the copy is complete.
    """

    def __init__(self, limit: int, previous: StatusCopy | None = None) -> None:
        self.users: dict[str, UserInfo | None] = {}
        self._limit = limit
        self._previous = previous
        self.order: ByTime | None = None
        self.size = 0
        self._shared = 0  # bytes of `size` that `previous` takes as well

    def put(self, user: str, info: UserInfo | None) -> None:
        """Set the status of `user`.

        Raises:
            LiveError: the name is invalid.
            TooLargeError: it does not fit. The copy is unchanged.
        """
        if not is_user_name(user):
            raise LiveError(f"the origin sent an invalid user name: {user!r}")
        if self._previous is not None and (known := self._previous.users.get(user)) == info:
            info = known
        old_size, old_shared = self._sizes(user, self.users[user]) if user in self.users else (0, 0)
        size, shared = self._sizes(user, info)
        self._check(self.size + size - old_size, self._shared + shared - old_shared)
        self.size += size - old_size
        self._shared += shared - old_shared
        self.users[user] = info
        if self.order is not None:
            if info is not None and info.status:
                self.order.put(user, info.since)
            else:
                self.order.discard(user)

    def remove(self, user: str) -> None:
        """Remove `user`, if present."""
        if user in self.users:
            size, shared = self._sizes(user, self.users.pop(user))
            self.size -= size
            self._shared -= shared
            if self.order is not None:
                self.order.discard(user)

    def complete(self) -> None:
        """The snapshot is complete: `previous` is no longer in force, and is released."""
        self.order = ByTime((user, info.since) for user, info in self.users.items() if info is not None and info.status)
        self._previous = None
        self._shared = 0

    def _sizes(self, user: str, info: UserInfo | None) -> tuple[int, int]:
        """The bytes that a user takes, and how many of them are shared with `previous`."""
        held = _PLACE + size_of(info)
        shared = info is not None and self._previous is not None and self._previous.users.get(user) is info
        return _ENTRY + held, held if shared else 0

    def _check(self, size: int, shared: int) -> None:
        if self._previous is None:
            if size > self._limit:
                raise TooLargeError(f"the origin's statuses need more than `memory`, which is {self._limit} bytes")
        elif size - shared + self._previous.size > self._limit:
            raise TooLargeError(
                "the present copy and what differs in the origin's new snapshot need more than `memory` together, "
                f"which is {self._limit} bytes"
            )


def size_of(info: UserInfo | None) -> int:
    """Bytes of memory that `info` takes, including all that it refers to.

    Text takes one to four bytes a character, by the widest character in it, and every string and dictionary has a
    fixed part of its own, so a few bytes of JSON can take a hundred in memory.
    """
    if info is None:
        return 0
    parts: list[object] = [info.user, info.status]
    parts += [part for part in (info.name, info.since, info.until) if part is not None]
    return _aligned(info) + sum(map(_aligned, parts)) + _size_of_details(info.details)


def _size_of_details(details: Mapping[str, str]) -> int:
    """A mapping proxy over a dictionary; `dict(details)` is as large as the original."""
    strings = sum(_aligned(key) + _aligned(value) for key, value in details.items())
    return strings + _aligned(details) + _aligned(dict(details))


def _aligned(part: object) -> int:
    if isinstance(part, str) and len(part) <= 1 and part <= "\xff":
        return 0  # CPython has one object for each of these
    return -(-getsizeof(part) // _ALIGNMENT) * _ALIGNMENT
