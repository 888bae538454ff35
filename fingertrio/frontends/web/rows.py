"""One line for each user in a list, as the pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from fingertrio.frontends.web import times
from fingertrio.frontends.web.permalinks import permalink
from fingertrio.frontends.web.stream_rows import StreamRow
from fingertrio.frontends.web.text import RESERVED, home, linked


@dataclass(frozen=True, slots=True)
class Row:
    """One user.

    Attributes:
        user: the login name.
        name: the full name; None: unknown.
        emoji: the one that the status starts with; None: it starts with text.
        line: the rest of its first line, perhaps cut, with links.
        more: how many lines follow.
        since, until: of the status.
        permalink: the permanent address of the status, relative to the root of the site; it exists only if the
            backend keeps the history.
    """

    user: str
    name: str | None
    emoji: str | None
    line: Markup
    more: int
    since: times.Shown | None
    until: times.Shown | None
    permalink: str

    @property
    def says(self) -> bool:
        """Whether there is a status."""
        return bool(self.emoji or self.line)


def row(status: StreamRow, now: datetime) -> Row:
    """The line for a status; `now` is what relative times count from."""
    return Row(
        user=status.user,
        name=status.name,
        emoji=status.emoji,
        line=linked(f"{status.line.rstrip()}…" if status.is_cut else status.line),
        more=status.more,
        since=None if status.since is None else times.ago(status.since, now),
        until=None if status.until is None else times.until(status.until, now),
        permalink=home(status.user) if status.user in RESERVED else permalink(status.user, status.since),
    )
