"""What Redis holds for a user, and the answer made from it. Pure: no Redis, and the time is an argument.

Times are microseconds since 1970, like Redis's own clock. A status is stored as one string, the same in the user's hash
and in the history: `SINCE UNTIL TEXT`, with `-` as UNTIL if the status has no end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fingertrio.backend import BackendError, UserInfo
from fingertrio.wire.times import from_microseconds

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})

FIELDS = (b"lasting", b"passing", b"name", b"details")  # of a user's hash, in the order that `UserRecord.read` expects


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """One status. `until` None: it has no end, or, in a history, it has not ended yet."""

    since: int
    until: int | None
    text: str

    @classmethod
    def read(cls, stored: bytes) -> StoredStatus:
        """Raises BackendError if fingertrio cannot have written this."""
        try:
            since, until, text = stored.split(b" ", 2)
            return cls(int(since), None if until == b"-" else int(until), text.decode())
        except ValueError as error:
            raise BackendError from error

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
        """From the values of FIELDS. Raises BackendError if fingertrio cannot have written them."""
        lasting, passing, name, details = values
        return cls(
            user,
            None if lasting is None else StoredStatus.read(lasting),
            None if passing is None else StoredStatus.read(passing),
            None if name is None else name.decode("utf-8", "replace"),
            _NO_DETAILS if details is None else _read_details(details),
        )

    @property
    def latest(self) -> int:
        """The latest `since` in the record: any status set before that is included or was replaced."""
        return max((status.since for status in (self.lasting, self.passing) if status is not None), default=0)

    def info(self, now: int) -> UserInfo | None:
        """The answer at `now`: the temporary status until its end, otherwise the lasting one, otherwise None."""
        status = self.lasting
        if self.passing is not None and self.passing.until is not None and self.passing.until > now:
            status = self.passing
        return None if status is None else status.info(self.user, self.name, self.details)


@dataclass(frozen=True, slots=True)
class Roster:
    """The users with a status: those with a lasting one, and those with a temporary one and its `until`."""

    lasting: Sequence[str]
    passing: Sequence[tuple[str, float]]

    def names(self, now: int) -> list[str]:
        """All users that have a status at `now`, sorted by name."""
        return sorted({*self.lasting, *(user for user, until in self.passing if until > now)})


def write_details(details: Mapping[str, str]) -> bytes:
    """A JSON object, in display order."""
    return json.dumps(dict(details), ensure_ascii=False).encode()


def _read_details(stored: bytes) -> Mapping[str, str]:
    try:
        details = json.loads(stored)
    except ValueError as error:
        raise BackendError from error
    if not isinstance(details, dict) or not all(isinstance(value, str) for value in details.values()):
        raise BackendError from ValueError(f"a user's details are not a JSON object of strings: {stored[:100]!r}")
    return MappingProxyType(details)
