"""What Redis holds for a user, and the answer made from it. Pure: no Redis, and the time is an argument.

Times are microseconds since 1970, like Redis's own clock. A status is stored as one string, the same in the user's hash
and in the history: `SINCE UNTIL TEXT`, with `-` as UNTIL if the status has no end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fingertrio.backend import UserInfo
from fingertrio.wire.status import STATUS_LIMIT
from fingertrio.wire.times import from_microseconds

# Bytes of a full name and details together, and of everything stored for one user: the two statuses beside these.
PROFILE_LIMIT = 2 * STATUS_LIMIT
RECORD_LIMIT = 2 * STATUS_LIMIT + 100 + PROFILE_LIMIT

_DETAILS_LIMIT = 256  # details of one user: each takes some 150 bytes of memory, however short it is

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})

# Microseconds since 1970: 16 digits reach the year 2286, which every time zone can show.
_TIME = re.compile(rb"[0-9]{1,16}")


class StoredDataError(Exception):
    """Redis holds data under our keys that fingertrio cannot have written; the message says where."""


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """One status. `until` None: it has no end, or, in a history, it has not ended yet."""

    since: int
    until: int | None
    text: str

    @classmethod
    def read(cls, stored: bytes) -> StoredStatus:
        """Raises StoredDataError if fingertrio cannot have written this."""
        try:
            since, until, text = stored.split(b" ", 2)
            return cls(read_time(since), None if until == b"-" else read_time(until), text.decode())
        except ValueError as error:
            raise StoredDataError(f"not a status: {stored[:100]!r}") from error

    def info(self, user: str, name: str | None = None, details: Mapping[str, str] = _NO_DETAILS) -> UserInfo:
        """As the backend contract wants it."""
        until = None if self.until is None else from_microseconds(self.until)
        return UserInfo(user, self.text, name, from_microseconds(self.since), until, details)


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Everything stored for one user, except the history. It stays valid as time passes."""

    user: str
    lasting: StoredStatus | None
    passing: StoredStatus | None
    name: str | None
    details: Mapping[str, str]

    @classmethod
    def read(cls, user: str, values: Sequence[bytes | None]) -> UserRecord:
        """From the fields of the user's hash. Raises StoredDataError if fingertrio cannot have written them."""
        lasting, passing, name, details = values
        return cls(
            user,
            None if lasting is None else StoredStatus.read(lasting),
            None if passing is None else StoredStatus.read(passing),
            read_name(name),
            read_details(details),
        )

    @property
    def latest(self) -> int:
        """The latest `since` in the record: any status set before that is included or was replaced."""
        return max((status.since for status in (self.lasting, self.passing) if status is not None), default=0)

    def status(self, now: int) -> StoredStatus | None:
        """The status that holds at `now`: the temporary one until its end, otherwise the lasting one."""
        if self.passing is not None and self.passing.until is not None and self.passing.until > now:
            return self.passing
        return self.lasting

    def info(self, now: int) -> UserInfo | None:
        """The answer at `now`, from the status that holds; None: there is none."""
        status = self.status(now)
        return None if status is None else status.info(self.user, self.name, self.details)


@dataclass(frozen=True, slots=True)
class Roster:
    """The users with a status: those with a lasting one, and those with a temporary one and its `until`."""

    lasting: Sequence[str]
    passing: Sequence[tuple[str, float]]

    def names(self, now: int) -> list[str]:
        """All users that have a status at `now`, sorted by name."""
        return sorted({*self.lasting, *(user for user, until in self.passing if until > now)})


def read_time(stored: bytes) -> int:
    """Microseconds since 1970. Raises ValueError for what no script has written."""
    if not _TIME.fullmatch(stored):
        raise ValueError(f"not a time: {stored[:100]!r}")
    return int(stored)


def read_name(stored: bytes | None) -> str | None:
    """A full name; bytes that are not UTF-8 are replaced."""
    return None if stored is None else stored.decode("utf-8", "replace")


def write_details(details: Mapping[str, str]) -> bytes:
    """A JSON object, in display order."""
    return json.dumps(dict(details), ensure_ascii=False).encode()


def read_details(stored: bytes | None) -> Mapping[str, str]:
    """Details as `write_details` writes them. Raises StoredDataError for anything else."""
    if stored is None:
        return _NO_DETAILS
    try:
        details = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise StoredDataError(f"details that are not JSON: {stored[:100]!r}") from error
    if not isinstance(details, dict) or not all(isinstance(value, str) for value in details.values()):
        raise StoredDataError(f"details that are not an object of strings: {stored[:100]!r}")
    if len(details) > _DETAILS_LIMIT:
        raise StoredDataError(f"{len(details)} details, more than {_DETAILS_LIMIT}")
    try:
        "".join([*details, *details.values()]).encode()
    except UnicodeEncodeError as error:
        raise StoredDataError("details with lone surrogates") from error
    return MappingProxyType(details)
