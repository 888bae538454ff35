"""Statuses that are set and cleared: who may, what is accepted, and the audit line of each.

Every front end goes through here, so all of them have the same rules: the writer may set this user, the name and the
status are valid, and each write leaves one line in the log with who wrote, through which front end and by which proof.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from fingertrio.accounts.writer import Writer
from fingertrio.backend import Backend, BackendError, ClearsStatus, SetsStatus, UserInfo
from fingertrio.names import check_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service.calls import BackendCalls
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
        self._setter = backend if isinstance(backend, SetsStatus) else None
        self._clearer = backend if isinstance(backend, ClearsStatus) else None
        self._calls = calls
        self._observer = observer
        self._changed = changed
        self._spell = spell
        self.default_length: timedelta | None = None
        self.shows_status = False

    @property
    def can_set(self) -> bool:
        """Whether `set_user` can succeed at all."""
        return self._setter is not None

    @property
    def can_clear(self) -> bool:
        """Whether `clear_user` can succeed at all."""
        return self._clearer is not None

    async def set_user(self, user: str, status: str, *, writer: Writer, until: datetime | None) -> UserInfo:
        """See `FingerService.set_user`."""
        user = check_user_name(user)
        writer.check(user)
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
        match info:
            case str():
                raise ValueError(f"this user is spelled {info}; names that differ by case alone are one user")
        self._audit("set", user, writer, status, until)
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
            self._audit("cleared", user, writer, "", None)
        return info

    def _audit(self, event: str, user: str, writer: Writer, status: str, until: datetime | None) -> None:
        fields: dict[str, object] = {"user": user, "by": writer.user, "door": writer.door, "proof": writer.proof}
        if event == "set":
            fields |= {"bytes": len(status.encode()), "until": until and in_utc(until).isoformat()}
            if self.shows_status:
                fields["status"] = status
        self._observer.info(event, **fields)
