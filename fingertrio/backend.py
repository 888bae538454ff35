"""The contract between fingertrio and its backends, the sources of statuses.

Standard library only: a backend written against this file needs no other module of fingertrio. A backend is any object
with `get_user`. Everything else that it can do is a capability, a protocol of its own, which the program checks once at
the start. Nothing here knows the network, and a backend never learns through which door a query came.

A backend is *opened* by an async context manager function that takes one argument, its options: a dataclass or a
pydantic model, named by the argument's annotation and validated before the call. Connections, files and tasks belong to
that context and end with it. The function is published in the entry-point group `fingertrio.backends`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, runtime_checkable

INTERNAL_ERROR = "Internal error in server"
NO_SUCH_USER = "No such user"
NO_PLAN = "No Plan."  # what people read for an empty status, as finger has shown since 4.2BSD


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A user's status and details at one moment. `UserInfo("moshez", "Happy and well")` is complete.

    Attributes:
        user: the login name, as `fingertrio.names.is_user_name` accepts it.
        status: text, lines separated by LF, without a trailing LF. It is shown unchanged, apart from filtering.
        name: the full name. RFC 1288 section 2.5 requires it in every full answer.
        since: when this status was set; aware (with a time zone).
        until: when it expires; aware. `get_user` never returns a status whose `until` has passed.
        details: what /W adds, in display order: "project", "pubkey", "pronouns", "timezone", links.
    """

    user: str
    status: str
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Recency:
    """The place of a status among the recent ones: the newest first, equal times by name, those without a time last.

    The order is total, since a user has one status at a time. So a place is an exact cursor, also where many statuses
    have the same time, and also when the status itself has gone.

    Attributes:
        since: that of the status; aware.
        user: the login name; names compare by code point.
    """

    since: datetime | None
    user: str

    @classmethod
    def of(cls, info: UserInfo) -> Recency:
        """The place of this status."""
        return cls(info.since, info.user)

    def __lt__(self, other: Recency) -> bool:
        """Whether this place comes before `other`, nearer to the start."""
        if self.since == other.since:
            return self.user < other.user
        return self.since is not None and (other.since is None or self.since > other.since)


@dataclass(frozen=True, slots=True)
class Change:
    """The answer for `user` may differ from now on. None: every answer may, and the list of users too."""

    user: str | None


class BackendError(Exception):
    """A failure with a message that any client may read, and a private cause, chained with `raise ... from`.

    Every other exception that escapes a backend is logged with its traceback and answered as INTERNAL_ERROR.
    """

    def __init__(self, public_message: str = INTERNAL_ERROR) -> None:
        super().__init__(public_message)
        self.public_message = public_message


@runtime_checkable
class Backend(Protocol):
    """What every backend can do."""

    async def get_user(self, user: str) -> UserInfo | None:
        """The user's status and details; None: no such user. Raises BackendError if the backend cannot know."""
        ...


@runtime_checkable
class AnswersAtOnce(Protocol):
    """Has its answers in memory, so that a query needs no task."""

    def get_user_now(self, user: str) -> UserInfo | None:
        """What `get_user` returns, without waiting for anything: no input or output, some microseconds.

        Never older than a change that was emitted, or a status that this backend has stored, before the call. Raises
        LookupError if it would have to wait, or cannot know: the caller then awaits `get_user`.
        """
        ...


@runtime_checkable
class ListsUsers(Protocol):
    """Lists its users."""

    async def get_users(self) -> Sequence[str]:
        """Every login name, each once, in display order."""
        ...


@runtime_checkable
class SetsStatus(Protocol):
    """Stores new statuses."""

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Store `status` and return what `get_user` returns from now on. The status is stored before this returns.

        `user` has passed `names.check_user_name`; it need not exist yet. After a cancellation or a failure, either the
        old or the new status is stored, complete; a remote backend cannot promise which.
        """
        ...


@runtime_checkable
class ClearsStatus(Protocol):
    """Can take a status back without removing the user."""

    async def clear_user(self, user: str) -> UserInfo | None:
        """Replace the status of `user` by an empty one and return what `get_user` answers from now on.

        That is a `UserInfo` with `status == ""`, the same name and details, and, where the backend keeps it, the time
        of clearing as `since`. None: there is no such user, and nothing changed. When this returns, it is stored.
        """
        ...


@runtime_checkable
class SetsDetails(Protocol):
    """Stores full names and details."""

    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        """Replace the full name and all details of `user`, and return what `get_user` returns from now on.

        Statuses and their times do not change, and set_user and clear_user do not change name and details. `user` need
        not exist yet: without a status, the result is None, and name and details are shown with the first status. The
        arguments have passed `fingertrio.wire.details`. When this returns, they are stored; after a cancellation or a
        failure, either all of the old or all of the new ones.
        """
        ...


@runtime_checkable
class ListsRecent(Protocol):
    """Lists statuses by their time."""

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """The first `limit` statuses that hold now, in the order of `Recency`, each as `get_user` returns it.

        With `before`, those that come after that place: the place of the last status of one page gives the next page.
        Fewer than `limit` means that there are no more. Left out are users without a status, whether it was cleared,
        has ended or was never set. After the end of a status with `until`, the user stands where the earlier status
        belongs that holds again. This must not take longer the more users there are.
        """
        ...


@runtime_checkable
class EmitsChanges(Protocol):
    """Reports changes, so that the service may cache an answer until it changes."""

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change after the context was entered, from any source; for one reader.

        A backend that hides users reports one change when it begins to hide a user and one when it ends, and none
        between them: a change says that there is such a user.

        The feed may end or raise when its source fails. Its reader then empties its cache and enters a new one.
        """
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """Keeps earlier statuses."""

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """At most `limit` statuses of `user` set before `before`, newest first, the current one included."""
        ...


@runtime_checkable
class KeepsTokens(Protocol):
    """Shares one small document, the tokens of `fingertrio.accounts`, among all servers that use the same store."""

    async def read_tokens(self) -> bytes | None:
        """The document; None: there is none yet. Raises BackendError if it cannot be read."""
        ...

    async def replace_tokens(self, document: bytes, old: bytes | None) -> bool:
        """Put `document` in the place of `old`; False: it is no longer `old`, and nothing changed.

        When this returns True, it is stored. Raises BackendError if it may not have been.
        """
        ...


@runtime_checkable
class TellsStaleness(Protocol):
    """Continues to answer from its last known state while its source is unavailable, and reports this."""

    def stale_since(self) -> datetime | None:
        """The time (aware) since which answers may be out of date, as their source is unavailable; None: up to date.

        Called with every query and about once a second, so it must be fast.
        """
        ...
