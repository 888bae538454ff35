"""One entry of a change stream, as it is read from Redis. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fingertrio.backends.redis.records import read_time

_NO_CHANGE = b"0-0"  # precedes every entry

_NAME_LIMIT = 256  # bytes: a user name has at most 64 characters


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a shard's changes: how many changes precede it, and the id of the last entry read."""

    number: int = 0
    id: bytes = _NO_CHANGE

    def precedes(self, identifier: bytes) -> bool:
        """Whether an entry comes after this position. Ids are two numbers: `MILLISECONDS-SEQUENCE`."""
        return _order(self.id) < _order(identifier)


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One change.

    Attributes:
        id: of the entry.
        number: of the change in its shard; the first is 1.
        user: whose status or profile has changed.
        listed: whether the list of users may differ.
        since: that of the new status; None: the change was something else.
        ahead: seconds from the change to the end of the new status; None: it has no end.
    """

    id: bytes
    number: int
    user: str
    listed: bool
    since: int | None
    ahead: float | None


@dataclass(frozen=True, slots=True)
class JunkEntry:
    """An entry of the stream `key` that no script of ours has written."""

    id: bytes
    key: str


def read_change(key: bytes, identifier: bytes, fields: Mapping[bytes, bytes]) -> StoredChange | JunkEntry:
    """An entry of the change stream `key`."""
    try:
        number, user, listed, since, ends = (fields[name] for name in (b"n", b"u", b"l", b"s", b"t"))
        began, _ = _order(identifier)  # milliseconds, on the same clock as `ends`
        change = StoredChange(
            identifier,
            read_time(number),
            user.decode(),
            listed == b"1",
            None if since == b"-" else read_time(since),
            None if ends == b"-" else max(read_time(ends) / 1e6 - began / 1e3, 0.0),
        )
    except (KeyError, ValueError):
        return JunkEntry(identifier, key.decode())
    return change if len(user) <= _NAME_LIMIT else JunkEntry(identifier, key.decode())


def _order(identifier: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = identifier.partition(b"-")
    return int(milliseconds), int(sequence or 0)
