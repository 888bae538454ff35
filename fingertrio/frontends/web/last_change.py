"""Taking back the last change of a status: what was there before travels with the page that reports the change.

Nothing is kept on the server, so any server can take it back, also after a restart. The text is sealed for one session
and for some seconds. It has a fingerprint of the status that the change made: if the present one has another, somebody
changed it meanwhile, and nothing is taken back.

A status with an end (`until`) stands before a lasting one, which holds again afterwards. A change without an end
replaces both, so both are set again; otherwise what was taken back would return when the one with the end is over.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fingertrio.accounts.writer import Writer
from fingertrio.backend import BackendError, UserInfo
from fingertrio.frontends.web.visits import Visit
from fingertrio.service import FingerService
from fingertrio.wire.times import from_microseconds, to_microseconds

# The script offers it for 10 s. Without script, one has to find the button.
UNDO_LENGTH = timedelta(seconds=20)

_DEPTH = 50  # earlier statuses that are searched for the lasting one


@dataclass(frozen=True, slots=True)
class LastChange:
    """One change that was made.

    Attributes:
        kind: "set", "cleared", "undone", "described".
        user: whose status.
        before: the status before, empty if there was none; None: the change cannot be taken back.
        until: when that would have ended.
        beneath: the lasting status that would have held again then; empty: none, or not known.
        lasts: the change was without an end, so it replaced what was beneath, too.
        after: the fingerprint of the status that the change made.
    """

    kind: str
    user: str
    before: str | None = None
    until: datetime | None = None
    beneath: str = ""
    lasts: bool = False
    after: str = ""

    def seal(self, visit: Visit) -> str:
        """This change as text for the browser of `visit`."""
        until = None if self.until is None else to_microseconds(self.until)
        value = [self.kind, self.user, self.before, until, self.beneath, self.lasts, self.after]
        return visit.seals.seal(f"change.{visit.word}", value, UNDO_LENGTH)


def open_change(visit: Visit, sealed: str) -> LastChange | None:
    """The change that `seal` made for the same session; None: there is none, or it is too old."""
    match visit.seals.open(f"change.{visit.word}", sealed):
        case [str(kind), str(user), (str() | None) as before, until, str(beneath), bool(lasts), str(after)]:
            end = from_microseconds(until) if isinstance(until, int) else None
            return LastChange(kind, user, before, end, beneath, lasts, after)
    return None


async def beneath(service: FingerService, before: UserInfo | None) -> str:
    """The lasting status that holds again when `before` ends, as far as the backend keeps history; empty: none."""
    if before is None or before.until is None or not service.history.is_kept:
        return ""
    with suppress(BackendError):
        page = (await service.history.ask(before.user, _DEPTH)).value
        return next((info.status for info in page.statuses if info.until is None), "")
    return ""


def change_of(service: FingerService, kind: str, before: UserInfo | None, lasting: str, info: UserInfo) -> LastChange:
    """A change that was made, with what it takes to take it back.

    Args:
        service: knows what the backend can do.
        kind: see `LastChange`.
        before: the user before.
        lasting: what was beneath that.
        info: the user now.
    """
    status, until = ("", None) if before is None else (before.status, before.until)
    needs_clearing = not status or (until is not None and not lasting)
    known = None if needs_clearing and not service.can_clear else status
    return LastChange(kind, info.user, known, until, lasting, info.until is None, fingerprint(info))


async def take_back(service: FingerService, change: LastChange, writer: Writer) -> None:
    """Set what was there before `change`.

    Raises:
        ValueError: the backend had a status that cannot be set.
        NotAllowedError, BackendError: as `FingerService.set_user`.
    """
    has_ended = change.until is not None and change.until <= datetime.now(UTC)
    if change.until is None or has_ended or change.lasts:
        lasting = change.before if change.until is None else change.beneath
        if lasting:
            await service.set_user(change.user, lasting, writer=writer)
        else:
            await service.clear_user(change.user, writer=writer)
    if change.until is not None and not has_ended and change.before:
        await service.set_user(change.user, change.before, writer=writer, until=change.until)


def fingerprint(info: UserInfo | None) -> str:
    """A word that differs from one status to the next."""
    if info is None:
        return ""
    times = [None if time is None else to_microseconds(time) for time in (info.since, info.until)]
    return hashlib.sha256(json.dumps([info.status, *times]).encode()).hexdigest()[:16]
