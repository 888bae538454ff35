"""Statuses and details that are set and cleared: who may, what is accepted, and the audit line of each.

Every front end goes through here, so all of them have the same rules: the writer may set this user, the name and the
status are valid, and each write leaves one line in the log with who wrote, through which front end and by which proof.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from fingertrio.accounts.writer import Writer
from fingertrio.backend import Backend, BackendError, ClearsStatus, SetsDetails, SetsStatus, UserInfo
from fingertrio.names import check_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service.calls import BackendCalls
from fingertrio.wire.details import check_details
from fingertrio.wire.presets import Presets, expand, preset_name
from fingertrio.wire.status import check_status
from fingertrio.wire.times import in_utc


class Writes:
    """The write side of the service.

    Args:
        backend: takes the statuses, if it can.
        calls: bounds and reports each call.
        observer: gets the audit lines.
        changed: called after each attempt, successful or not, with the user's name.
        spell: returns the name of an existing user that differs by case alone; None: there is none.

    Attributes:
        presets: statuses with a name.
        default_length: how long a status holds that is set without an end; None: until the next one.
        shows_status: whether the audit line has the status itself.
    """

    def __init__(
        self,
        backend: Backend,
        calls: BackendCalls,
        observer: Observer,
        changed: Callable[[str], None],
        spell: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._backend = backend
        self._setter = backend if isinstance(backend, SetsStatus) else None
        self._clearer = backend if isinstance(backend, ClearsStatus) else None
        self._describer = backend if isinstance(backend, SetsDetails) else None
        self._calls = calls
        self._observer = observer
        self._changed = changed
        self._spell = spell
        self.default_length: timedelta | None = None
        self.presets: Presets = {}
        self.shows_status = False

    @property
    def can_set(self) -> bool:
        """Whether `set_user` can succeed at all."""
        return self._setter is not None

    @property
    def can_clear(self) -> bool:
        """Whether `clear_user` can succeed at all."""
        return self._clearer is not None

    @property
    def can_set_details(self) -> bool:
        """Whether `set_details` can succeed at all."""
        return self._describer is not None

    async def set_user(self, user: str, status: str, *, writer: Writer, until: datetime | None) -> UserInfo:
        """Set a status; every front end shows it when this returns.

        Args:
            user: whose status.
            status: as a client sent it: the name of a preset (`wire.presets`), or a text (`wire.status.check_status`).
            writer: on whose behalf.
            until: when it ends by itself, aware; None: `ServicePolicy.default_length` from now, if there is one.

        Raises:
            NotAllowedError: the writer may not set this user's status.
            ValueError: the name or the status is not valid; the reason is fit for the client.
            BackendError: nothing was set.
        """
        user = check_user_name(user)
        writer.check(user)
        if (name := preset_name(status)) is not None:
            status, end = expand(name, self.presets, datetime.now(UTC))
            until = until or end
        status = check_status(status)
        if until is not None:
            in_utc(until)
        elif self.default_length is not None:
            until = datetime.now(UTC) + self.default_length
        if (setter := self._setter) is None:
            raise BackendError("Statuses cannot be set here")

        async def call() -> UserInfo | str:
            return await self._spell(user) or await setter.set_user(user, status, until=until)

        try:
            info = await self._calls.make("set_user", call)
        finally:  # also after a failure: a call that timed out may have been carried out
            self._changed(user)
        if isinstance(info, str):
            raise _misspelled(info)
        fields: dict[str, object] = {"bytes": len(status.encode()), "until": until and in_utc(until).isoformat()}
        if self.shows_status:
            fields["status"] = status
        self._audit("set", user, writer, **fields)
        return info

    async def clear_user(self, user: str, *, writer: Writer) -> UserInfo | None:
        """See `FingerService.clear_user`."""
        user = check_user_name(user)
        writer.check(user)
        if (clearer := self._clearer) is None:
            raise BackendError("Statuses cannot be cleared here")
        try:
            info = await self._calls.make("clear_user", lambda: clearer.clear_user(user))
        finally:  # as above
            self._changed(user)
        if info is not None:
            self._audit("cleared", user, writer)
        return info

    async def set_details(
        self, user: str, name: str | None, details: Mapping[str, str], *, writer: Writer
    ) -> UserInfo | None:
        """Replace the full name and all details; None: the user has no status yet, which will show them.

        Empty details are removed: `{**info.details, "project": ""}` changes one and keeps the others, also those that
        an import has brought and that could not be set here.

        Raises:
            NotAllowedError, BackendError: as `set_user`.
            wire.details.DetailsError: a ValueError that names each field which is not valid.
        """
        user = check_user_name(user)
        writer.check(user)
        if (describer := self._describer) is None:
            raise BackendError("Names and details cannot be set here")
        present = await self._calls.make("get_user", lambda: self._backend.get_user(user))
        checked_name, checked = check_details(name, details, kept={} if present is None else present.details)

        async def call() -> UserInfo | str | None:
            return await self._spell(user) or await describer.set_details(user, checked_name, checked)

        try:
            info = await self._calls.make("set_details", call)
        finally:  # as above
            self._changed(user)
        if isinstance(info, str):
            raise _misspelled(info)
        self._audit("described", user, writer, details=", ".join(checked))
        return info

    def _audit(self, event: str, user: str, writer: Writer, **fields: object) -> None:
        self._observer.audit(event, user=user, by=writer.user, door=writer.door, proof=writer.proof, **fields)


def _misspelled(name: str) -> ValueError:
    return ValueError(f"this user is spelled {name}; names that differ by case alone are one user")
