"""The contract between fingertrio and whatever knows people's statuses.

Standard library only: a backend written against this file depends on nothing else of ours. A backend is any object with
`get_user`; each further thing it can do is a capability, a protocol of its own, asked for once when the program starts.
Nothing here knows the network, and a backend never learns which door a question came through.

A backend is *opened* by an async context manager function that takes one argument, its options: a dataclass or a
pydantic model, found by the argument's annotation and checked before it is called. Connections, files and tasks belong
to that context and end with it. The function is published in the entry-point group `fingertrio.backends`.
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

# Bytes of UTF-8. A status is a few words or a plan file; a longer text is a file that belongs elsewhere.
STATUS_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What is known of one user at one moment. `UserInfo("moshez", "Happy and well")` is enough.

    Attributes:
        user: the login name, as `fingertrio.names.is_user_name` accepts it.
        status: text, lines separated by LF, without a trailing one. It is shown as it is, after filtering.
        name: the full name, which RFC 1288 section 2.5 wants in every full answer.
        since: when this status was set; aware (with a time zone).
        until: when it stops to hold; aware. `get_user` never answers with a status whose `until` has passed.
        details: what /W adds, in the order in which it is shown: "project", "pubkey", "pronouns", "timezone", links.
    """

    user: str
    status: str
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody's answer may differ from now on. `user` None: anybody's may, and the list of users too."""

    user: str | None


class BackendError(Exception):
    """A failure with two faces: what a stranger may read, and the private cause, chained with `raise ... from`.

    Every other exception that escapes a backend is logged with its traceback and answered as INTERNAL_ERROR.
    """

    def __init__(self, public_message: str = INTERNAL_ERROR) -> None:
        super().__init__(public_message)
        self.public_message = public_message


@runtime_checkable
class Backend(Protocol):
    """The one thing every backend can do."""

    async def get_user(self, user: str) -> UserInfo | None:
        """What is known of `user`; None: there is no such user. Raises BackendError where that cannot be told."""
        ...


@runtime_checkable
class ListsUsers(Protocol):
    """Knows who there is."""

    async def get_users(self) -> Sequence[str]:
        """Every login name, each once, in the order in which people should read them."""
        ...


@runtime_checkable
class SetsStatus(Protocol):
    """Takes new statuses."""

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Store `status` and return what `get_user` answers from now on. When this returns, it is stored.

        `user` has passed `names.check_user_name`; it need not exist yet. Cancelled or failed, the old status or the
        new one is there, whole; a remote backend cannot promise which.
        """
        ...


@runtime_checkable
class EmitsChanges(Protocol):
    """Tells when an answer changes, so that answers may be kept for as long as nothing is heard."""

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change after the context was entered, ours and other people's; for one reader.

        The feed may end or raise when its source breaks: whoever reads it forgets what it kept and enters again.
        """
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """Remembers what was said before."""

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """At most `limit` statuses of `user`, newest first, the present one included, set before `before`."""
        ...


@runtime_checkable
class TellsStaleness(Protocol):
    """Goes on answering from what it knew last while its source is away, and does not hide it."""

    def stale_since(self) -> datetime | None:
        """Since when answers may be out of date, because what they come from is away; None: they are true. Aware.

        It is looked at with every call and about once a second, so it has to be at hand.
        """
        ...
