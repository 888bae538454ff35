"""Taking back the last change of a status: what was there before travels with the page that reports the change.

Nothing is kept on the server, so any server can take it back, also after a restart. The text is sealed for one session
and for some seconds. It has a fingerprint of the status that the change made: if the present one has another, somebody
changed it meanwhile, and nothing is taken back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.visits import Visit
from fingertrio.wire.times import from_microseconds, to_microseconds

# The script offers it for 10 s. Without script, one has to find the button.
UNDO_LENGTH = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class LastChange:
    """One change that was made.

    Attributes:
        kind: "set", "cleared", "undone", "described".
        user: whose status.
        before: the status before, empty if there was none; None: the change cannot be taken back.
        until: when that would have ended.
        after: the fingerprint of the status that the change made.
    """

    kind: str
    user: str
    before: str | None = None
    until: datetime | None = None
    after: str = ""

    def seal(self, visit: Visit) -> str:
        """This change as text for the browser of `visit`."""
        until = None if self.until is None else to_microseconds(self.until)
        value = [self.kind, self.user, self.before, until, self.after]
        return visit.seals.seal(f"change.{visit.word}", value, UNDO_LENGTH)


def open_change(visit: Visit, sealed: str) -> LastChange | None:
    """The change that `seal` made for the same session; None: there is none, or it is too old."""
    match visit.seals.open(f"change.{visit.word}", sealed):
        case [str(kind), str(user), (str() | None) as before, (int() | None) as until, str(after)]:
            return LastChange(kind, user, before, None if until is None else from_microseconds(until), after)
    return None


def fingerprint(info: UserInfo | None) -> str:
    """A word that differs from one status to the next."""
    if info is None:
        return ""
    times = [None if time is None else to_microseconds(time) for time in (info.since, info.until)]
    return hashlib.sha256(json.dumps([info.status, *times]).encode()).hexdigest()[:16]
