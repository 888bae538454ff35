"""What a user said before: `/U/history`, and `/U/at/20261129T120000.123456Z`, the permanent address of one status.

The time in a permanent address is when the status was set, to the microsecond, since no two of a user's statuses were
set at the same time. Both pages exist only where the backend keeps the history, and for users who are shown now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import UserInfo
from fingertrio.frontends.web import times
from fingertrio.frontends.web.permalinks import permalink, place, read_place
from fingertrio.frontends.web.profile import profile
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.rows import Row, row
from fingertrio.frontends.web.stream_rows import row_of
from fingertrio.frontends.web.text import RESERVED, href
from fingertrio.frontends.web.unknown import unknown_user
from fingertrio.frontends.web.year import year_of
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.service.history import HISTORY_LIMIT, HistoryPage

_PAGE = 50  # statuses
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Said:
    """One status in a history.

    Attributes:
        address: its permanent address, relative to the root of the site.
        row: what it said and when.
        is_present: whether it holds now.
        is_cleared: whether it says that there was none.
        ended: when it ended by itself, before the next one; None: it did not.
    """

    address: str
    row: Row
    is_present: bool
    is_cleared: bool
    ended: times.Shown | None


def history_blueprint(service: FingerService, pages: Pages) -> Blueprint:
    """The routes of the histories."""
    blueprint = Blueprint("history", __name__)

    async def ask(user: str) -> tuple[UserInfo, Answer[UserInfo | None]]:
        """The user, who must be there now, and the answer that says so."""
        if user in RESERVED or not service.history.is_kept:
            raise NotFound
        answer = await service.ask_user(user)
        if answer.value is None:
            raise await unknown_user(service, user)
        return answer.value, answer

    @blueprint.get("/<user>/history")
    async def history(user: str) -> Response:
        present, known = await ask(user)
        before = read_place(request.args.get("before", ""))
        answer = await service.history.ask(present.user, _PAGE if before else HISTORY_LIMIT, before)
        replay_while(known, answer, this_minute=True)
        return _history_page(pages, present, answer, is_first=before is None)

    @blueprint.get("/<user>/at/<moment>")
    async def at(user: str, moment: str) -> Response:
        present, known = await ask(user)
        when = read_place(moment)
        if when is None:
            raise NotFound
        answer = await service.history.ask(present.user, 1, when + _MICROSECOND)
        found = next((status for status in answer.value.statuses if status.since == when), None)
        if found is None:
            raise NotFound
        replay_while(known, answer, this_minute=True)
        now = pages.minute()
        return pages.response(
            "at.html",
            address=f"{href(present.user)}/at/{place(when)}",
            stale=answer.stale_since,
            who=profile(present, now),
            then=profile(found, now),
            is_present=found.since == present.since,
            has_ended=found.until is not None and found.until <= now,
        )

    return blueprint


def _history_page(pages: Pages, present: UserInfo, answer: Answer[HistoryPage], *, is_first: bool) -> Response:
    now, found = pages.minute(), answer.value.statuses
    older = found[_PAGE - 1].since if len(found) > _PAGE else answer.value.next
    return pages.response(
        "history.html",
        address=f"{href(present.user)}/history",
        stale=answer.stale_since,
        who=profile(present, now),
        year=_year(answer.value, now) if is_first else None,
        said=list(said_by(found[:_PAGE], present, now)),
        is_first=is_first,
        next=None if older is None else place(older),
    )


def _year(page: HistoryPage, now: datetime) -> Markup:
    moments = [status.since for status in page.statuses if status.since is not None and status.status]
    return year_of(moments, now.date(), is_all=page.next is None or (now - page.next).days > HISTORY_LIMIT)


def said_by(statuses: Sequence[UserInfo], present: UserInfo, now: datetime) -> Iterator[Said]:
    """The lines for statuses of a user, the newest first.

    Args:
        statuses: as the history has them.
        present: the user now.
        now: what relative times count from.
    """
    newer: datetime | None = None
    for status in statuses:
        is_present = status.since == present.since
        # One that was replaced has ended too; only a status that ended by itself says so.
        has_ended = status.until is not None and not is_present and status.until < (newer or now)
        yield Said(
            address=permalink(present.user, status.since),
            row=row(row_of(status), now),
            is_present=is_present,
            is_cleared=not status.status,
            ended=_end(status, now) if has_ended else None,
        )
        newer = status.since


def _end(status: UserInfo, now: datetime) -> times.Shown | None:
    """When a status ended: the time of day, if that was on its own day."""
    if status.until is None or status.since is None:
        return None
    same_day = status.until.astimezone(UTC).date() == status.since.astimezone(UTC).date()
    return times.clock(status.until) if same_day else times.until(status.until, now)


def check_rendering(pages: Pages) -> None:
    """Render the pages of a made-up history. Raises what a request for them would fail with."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    info = UserInfo("check", "one", since=since, until=since)
    now = pages.minute()
    who = profile(info, now)
    pages.html(
        "history.html",
        root="../",
        who=who,
        year=year_of([since], since.date()),
        said=list(said_by([info], info, now)),
        is_first=True,
        next="x",
    )
    pages.html("at.html", root="../../", who=who, then=who, is_present=True, has_ended=False)
