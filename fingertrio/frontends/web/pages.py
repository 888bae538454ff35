"""The pages, for people: the stream of statuses, and one page for each user.

They work in every HTML browser, lynx included, and without script. A user's page is directly below the root, so what
belongs to the site is below `/-/`, since no name starts with `-`. Few other names are taken at the root (`RESERVED`).
Links are relative, so a proxy can serve the site below another path.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from urllib.parse import urlencode

import trio
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_PLAN, BackendError, UserInfo
from fingertrio.frontends.web import elsewhere
from fingertrio.frontends.web.elsewhere import Places
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.history_pages import said_by
from fingertrio.frontends.web.negotiation import text_response, varying, wants_text
from fingertrio.frontends.web.peers import forwarded_host
from fingertrio.frontends.web.permalinks import permalink
from fingertrio.frontends.web.profile import profile
from fingertrio.frontends.web.rendering import HTML, Pages
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.rows import row
from fingertrio.frontends.web.stream import Stream, StreamPage
from fingertrio.frontends.web.stream_rows import row_of
from fingertrio.frontends.web.text import RESERVED, href
from fingertrio.frontends.web.unknown import unknown_user
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.service.history import HistoryPage
from fingertrio.wire.text import clean

_EARLIER = 3  # statuses before the present one on a user's page


def pages_blueprint(service: FingerService, pages: Pages, stream: Stream) -> Blueprint:
    """The routes of the pages."""
    blueprint = Blueprint("pages", __name__)
    kept = _KeptPage()

    @blueprint.get("/")
    async def everyone() -> Response:
        note_outcome(request.scope, "list")
        if not stream.exists:
            return pages.response("stream.html", page=None, follows=False)
        epoch = service.epoch
        page = await stream.page(
            by="name" if request.args.get("by") == "name" else "recent",
            query=request.args.get("q", ""),
            at=request.args.get("at"),
        )
        if service.hears_changes:
            replay_while(_Unchanged(service, epoch, page), this_minute=True, answers=0)
        now = pages.minute()

        def render() -> bytes:
            return pages.html(
                "stream.html",
                root="./",
                address="",
                stale=page.stale_since,
                page=page,
                rows=[row(status, now) for status in page.rows],
                links=_StreamLinks(page, has_recent=service.can_list_recent),
                follows=pages.is_live and service.can_list,
                has_history=service.history.is_kept,
                first=elsewhere.first_steps(places_of(pages)) if service.can_set else None,
            ).encode()

        is_first = bool(page.rows) and page.previous is None and not page.query and page.by == "recent"
        state = None if page.version is None else (page.version, len(page.rows), page.stale_since, now, pages.site)
        return Response(kept.body(state, render) if is_first and state else render(), content_type=HTML)

    @blueprint.get("/<user>")
    async def user(user: str) -> Response:
        return await _user_page(service, pages, user)

    return blueprint


async def _user_page(service: FingerService, pages: Pages, user: str) -> Response:
    """The page of one user, or the status alone for those who want text."""
    if user in RESERVED:
        raise NotFound
    answer = await service.ask_user(user)
    if answer.value is None:
        raise await unknown_user(service, user)
    if wants_text(request.headers):
        replay_while(answer)
        return text_response(clean(answer.value.status) or NO_PLAN)
    said = await _history(service, answer.value)
    if said is not None or not service.history.is_kept:  # else it could not be read: the next request tries again
        replay_while(answer, *([] if said is None else [said]), this_minute=True)
    places, now = places_of(pages), pages.minute()  # after that: the page must not be of the minute before
    earlier = [] if said is None else list(said_by(said.value.statuses, answer.value, now))
    address = href(answer.value.user)
    page = pages.response(
        "user.html",
        address=address,
        here=f"./{address}",
        stale=answer.stale_since,
        who=profile(answer.value, now),
        earlier=[one for one in earlier if not one.is_present][:_EARLIER],
        elsewhere=elsewhere.reading(places, answer.value.user, watches=pages.is_live),
        permalink=_permalink(service, answer.value),
        has_history=service.history.is_kept,
    )
    return varying(page)


class _KeptPage:
    """The first page of the stream as bytes, which all responses share while nothing on it changes."""

    def __init__(self) -> None:
        self._state: object = None
        self._body = b""

    def body(self, state: object, render: Callable[[], bytes]) -> bytes:
        """The page in this state."""
        if self._state != state:
            self._body = render()
            self._state = state
        return self._body


class _Unchanged:
    """What a page of the stream was made from: it holds until anything changes, or the first status on it ends."""

    def __init__(self, service: FingerService, epoch: int, page: StreamPage) -> None:
        self._service = service
        self._epoch = epoch
        now = datetime.now(UTC)
        ends = [(row.until - now).total_seconds() for row in page.rows if row.until is not None]
        self._end = trio.current_time() + min(ends, default=inf)

    @property
    def expires(self) -> float:
        return self._end if self._service.epoch == self._epoch else -inf


class _StreamLinks:
    """The addresses of other pages of the stream, relative to the root of the site."""

    def __init__(self, page: StreamPage, *, has_recent: bool) -> None:
        self._page = page
        self.orders = [("newest", "recent"), ("by name", "name")] if has_recent else []

    def order(self, by: str) -> str:
        """The first page in another order, of the same search."""
        return self._address(by, None)

    @property
    def previous(self) -> str | None:
        """The page before; None: there is none."""
        return None if self._page.previous is None else self._address(self._page.by, self._page.previous)

    @property
    def next(self) -> str | None:
        """The page behind; None: there is none."""
        return None if self._page.next is None else self._address(self._page.by, self._page.next)

    def _address(self, by: str, at: str | None) -> str:
        wanted = {"by": "name" if by == "name" and self.orders else "", "q": self._page.query, "at": at or ""}
        query = urlencode({key: value for key, value in wanted.items() if value})
        return f"?{query}" if query else ""


async def _history(service: FingerService, info: UserInfo) -> Answer[HistoryPage] | None:
    """The last statuses of a user; None: none are kept, or they cannot be read, which must not cost the page."""
    if not service.history.is_kept:
        return None
    try:
        return await service.history.ask(info.user, _EARLIER + 1)
    except BackendError:  # logged by the service
        return None


def _permalink(service: FingerService, info: UserInfo) -> str:
    """The permanent address of a status, relative to the root of the site; empty: it has none."""
    return "" if info.since is None or not service.history.is_kept else permalink(info.user, info.since)


def places_of(pages: Pages) -> Places:
    """Where this server is, as the sender of this request sees it."""
    return pages.site.places(request.scheme, forwarded_host(request.scope) or request.headers.get("Host", ""))


def check_rendering(pages: Pages) -> None:
    """Render the pages of a made-up user and list. Raises what a request for them would fail with."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    info = UserInfo("check", "one\n  two", name="Name", since=since, until=since, details={"home": "https://a.example"})
    now = pages.minute()
    pages.html(
        "user.html",
        root="./",
        here="./check",
        who=profile(info, now),
        elsewhere=["finger check"],
        permalink="",
        has_history=True,
        earlier=(),
    )
    pages.html("stream.html", root="./", page=None, follows=False)
    page = StreamPage(
        (),
        "recent",
        "",
        finds_names_only=False,
        total=1,
        first=1,
        previous=None,
        next=None,
        stale_since=since,
        version=None,
    )
    links = _StreamLinks(page, has_recent=True)
    pages.html(
        "stream.html",
        root="./",
        page=page,
        rows=[row(row_of(info), now)],
        links=links,
        follows=True,
        has_history=True,
        first=None,
    )
