"""The backend: ldap3 in threads, told to Trio honestly.

A query that is cancelled returns at once, but its thread goes on until the directory answers or `timeout` has passed,
and keeps its place among the `connections` until then. A change is not left behind like that: once its request has
begun, the caller waits for the outcome: `timeout`, or longer if it has to connect anew. Otherwise a change that no task
waits for any more could take effect after a later one.

Nothing is cached, and no changes are emitted: the service keeps answers for its `cache_ttl`. It connects at the first
query, so that the program starts while the directory is away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar, TypeVarTuple

import trio

from fingertrio.backend import NO_SUCH_USER, BackendError, UserInfo
from fingertrio.names import is_user_name
from fingertrio_ldap.connection import read_password
from fingertrio_ldap.directory import Directory
from fingertrio_ldap.entries import (
    Entry,
    as_answer,
    attributes,
    list_filter,
    login_names,
    new_entry,
    status_values,
    user_filter,
)
from fingertrio_ldap.errors import DirectoryError, ExistingEntryError, MissingEntryError, UnfitError
from fingertrio_ldap.options import LDAPOptions
from fingertrio_ldap.pool import Pool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class LDAPBackend:
    """Answers from the directory, and lists its users; created by `open_ldap`."""

    def __init__(self, options: LDAPOptions, directory: Directory) -> None:
        self._options = options
        self._directory = directory
        self._limiter = trio.CapacityLimiter(options.connections)
        self._attributes = attributes(options)

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`. The cause of a BackendError names the server and the problem; clients do not see it."""
        entry = await self._find(user)
        return None if entry is None else as_answer(self._options, user, entry)

    async def get_users(self) -> Sequence[str]:
        """See `ListsUsers`; by name."""
        entries = await self._ask(self._directory.search_all, list_filter(self._options), [self._options.login])
        return sorted({name for entry in entries for name in login_names(self._options, entry)})

    async def _find(self, user: str) -> Entry | None:
        if not is_user_name(user):
            return None
        candidates = await self._ask(self._directory.search, user_filter(self._options, user), self._attributes)
        entries = [entry for entry in candidates if user in login_names(self._options, entry)]
        if len(entries) > 1:
            names = " and ".join(entry.dn for entry in entries)
            raise BackendError from DirectoryError(f"{user} is the login name of {names}")
        return entries[0] if entries else None

    async def _ask(self, request: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """What a request that changes nothing returns. Raises BackendError."""
        try:
            with trio.fail_after(self._options.timeout):
                return await trio.to_thread.run_sync(request, *arguments, limiter=self._limiter, abandon_on_cancel=True)
        except trio.TooSlowError:
            late = f"{', '.join(self._options.servers)}: no answer within {self._options.timeout:g} seconds"
            raise BackendError from DirectoryError(late)
        except DirectoryError as error:
            raise BackendError from error


class WritableLDAPBackend(LDAPBackend):
    """With `write = true`: sets and clears statuses."""

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """See `SetsStatus`. A user without an entry gets one if `create` says how."""
        if until is not None:
            raise BackendError("The directory keeps no end of a status: set it without one.")
        info = await self._set(user, status)
        if info is not None:
            return info
        if self._options.create is None:
            raise BackendError(NO_SUCH_USER)
        dn, values = new_entry(self._options.create, user)
        try:
            await self._change(self._directory.add, dn, values | status_values(self._options, status, _now()))
        except ExistingEntryError:
            pass  # made by another server a moment ago
        else:
            # The directory has the entry, and may have added to it.
            if (made := await self.get_user(user)) is not None:
                return made
        if (info := await self._set(user, status)) is None:
            raise BackendError from DirectoryError(f"{dn} was made, but the filter does not find {user}")
        return info

    async def clear_user(self, user: str) -> UserInfo | None:
        """See `ClearsStatus`."""
        return await self._set(user, "")

    async def _set(self, user: str, status: str) -> UserInfo | None:
        """The answer from now on; None: there is no entry."""
        entry = await self._find(user)
        if entry is None:
            return None
        now = _now()
        try:
            await self._change(self._directory.replace, entry.dn, status_values(self._options, status, now))
        except MissingEntryError:
            return None
        info = as_answer(self._options, user, entry)
        return replace(info, status=status, since=None if self._options.since is None else now)

    async def _change(self, request: Callable[[*Ts], None], *arguments: *Ts) -> None:
        """Make a change, and wait for its outcome also if cancelled. Raises BackendError, or what callers expect."""
        try:
            await trio.to_thread.run_sync(request, *arguments, limiter=self._limiter)
        except (MissingEntryError, ExistingEntryError):
            raise
        except UnfitError as error:
            raise BackendError("The directory does not accept this status.") from error
        except DirectoryError as error:
            raise BackendError from error


def _now() -> datetime:
    """As precise as the directory keeps it."""
    return datetime.now(UTC).replace(microsecond=0)


@asynccontextmanager
async def open_ldap(options: LDAPOptions) -> AsyncIterator[LDAPBackend]:
    """A backend over an LDAP directory. It connects at the first query.

    Raises:
        OSError: `ca_file` or `password_file` cannot be read.
        ValueError: `password_file` is empty, or `ca_file` has no certificate.
    """
    try:
        if options.bind_dn is not None:
            await trio.to_thread.run_sync(read_password, options)
        pool = await trio.to_thread.run_sync(Pool, options)
    except DirectoryError as error:
        raise ValueError(str(error)) from error
    try:
        yield (WritableLDAPBackend if options.write else LDAPBackend)(options, Directory(options, pool))
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(pool.close)
