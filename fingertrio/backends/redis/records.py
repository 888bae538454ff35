"""What Redis holds of a user, and what is answered from it. Pure: no Redis, no clock but the one that is handed in.

Times are microseconds since 1970, as Redis's own clock has them. A status is stored as one string, the same in the
user's hash and in the history: `SINCE UNTIL TEXT`, with `-` for `until` where it lasts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fingertrio.backend import BackendError, UserInfo
from fingertrio.wire.times import from_microseconds

_NOTHING: Mapping[str, str] = MappingProxyType({})

FIELDS = (b"lasting", b"passing", b"name", b"details")  # of a user's hash, as `Record.read` takes them


@dataclass(frozen=True, slots=True)
class Said:
    """One status; `until` None: it lasts, or, where a history tells of it, has not ended."""

    since: int
    until: int | None
    text: str

    @classmethod
    def read(cls, stored: bytes) -> Said:
        """Raises BackendError for what no fingertrio has written."""
        try:
            since, until, text = stored.split(b" ", 2)
            return cls(int(since), None if until == b"-" else int(until), text.decode())
        except ValueError as error:
            raise BackendError from error

    def info(self, user: str, name: str | None = None, details: Mapping[str, str] = _NOTHING) -> UserInfo:
        """As the contract has it."""
        until = None if self.until is None else from_microseconds(self.until)
        return UserInfo(user, self.text, name, from_microseconds(self.since), until, details)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that is stored of one user but the history. It stays right while the clock goes on."""

    user: str
    lasting: Said | None
    passing: Said | None
    name: str | None
    details: Mapping[str, str]

    @classmethod
    def read(cls, user: str, values: Sequence[bytes | None]) -> Record:
        """From the values of FIELDS. Raises BackendError for what no fingertrio has written."""
        lasting, passing, name, details = values
        return cls(
            user,
            None if lasting is None else Said.read(lasting),
            None if passing is None else Said.read(passing),
            None if name is None else name.decode("utf-8", "replace"),
            _NOTHING if details is None else _read_details(details),
        )

    @property
    def latest(self) -> int:
        """When the latest of what is stored was set; what was set before that is in it, or was replaced."""
        return max((said.since for said in (self.lasting, self.passing) if said is not None), default=0)

    def info(self, now: int) -> UserInfo | None:
        """What is answered at `now`: what passes while it holds, then what lasts, or nobody."""
        said = self.lasting
        if self.passing is not None and self.passing.until is not None and self.passing.until > now:
            said = self.passing
        return None if said is None else said.info(self.user, self.name, self.details)


@dataclass(frozen=True, slots=True)
class Roster:
    """Who has a status: those with one that lasts, and those with one that passes, with its `until`."""

    lasting: Sequence[str]
    passing: Sequence[tuple[str, float]]

    def names(self, now: int) -> list[str]:
        """Everybody who has a status at `now`, in the order of their names."""
        return sorted({*self.lasting, *(user for user, until in self.passing if until > now)})


def write_details(details: Mapping[str, str]) -> bytes:
    """A JSON object, in the order in which it is shown."""
    return json.dumps(dict(details), ensure_ascii=False).encode()


def _read_details(stored: bytes) -> Mapping[str, str]:
    try:
        details = json.loads(stored)
    except ValueError as error:
        raise BackendError from error
    if not isinstance(details, dict) or not all(isinstance(value, str) for value in details.values()):
        raise BackendError from ValueError(f"details of a user are no object of text by text: {stored[:100]!r}")
    return MappingProxyType(details)
