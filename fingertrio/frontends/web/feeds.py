"""Feeds: of one user what the history has, of everybody the newest statuses.

    GET /ada/feed.atom  /ada/feed.json  /ada/twtxt.txt
    GET /-/feed.atom    /-/feed.json

An entry's id is the permanent address of the status, below `[http] url`; without it, below the address of the request,
so the operator of a public site sets it. Statuses without a time cannot be in a feed.

Readers poll. A feed may be kept for five minutes; then 304 is the answer until it changes, by ETag or by Last-Modified.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal, TypeVar

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound

from fingertrio.backend import NO_PLAN, NO_SUCH_USER, UserInfo
from fingertrio.frontends.web import assets
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.pages import places_of
from fingertrio.frontends.web.permalinks import permalink, place, read_place
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.stream_rows import place_text
from fingertrio.frontends.web.stream_rows import read_place as read_recency
from fingertrio.frontends.web.text import href
from fingertrio.service import FingerService
from fingertrio.wire.feeds import ATOM, JSON, Author, Entry, Feed, dump_atom, dump_json_feed, dump_twtxt
from fingertrio.wire.text import clean, clean_line

T = TypeVar("T")
Format = Literal["atom", "json"]

_ENTRIES = 20
_TWTXT_ENTRIES = 100
_AGE = "public, max-age=300"

# Feeds whose last change is remembered, some 200 bytes each. One that was forgotten seems to have changed when read.
_REMEMBERED = 2000

_NO_ADDRESS = "A feed needs the address of this site: the operator sets [http] url, or the request names a host"
_NO_LIST = "This server cannot list statuses by their time"

_TYPES: dict[Format, str] = {"atom": ATOM, "json": JSON}


def feeds_blueprint(service: FingerService, pages: Pages) -> Blueprint:
    """The routes of the feeds; the pages then link to them."""
    pages.has_feed = service.can_list_recent
    return _Feeds(service, pages).blueprint()


class _Feeds:
    def __init__(self, service: FingerService, pages: Pages) -> None:
        self._service = service
        self._pages = pages
        self._changes = Changes(lambda: datetime.now(UTC))

    def blueprint(self) -> Blueprint:
        blueprint = Blueprint("feeds", __name__)
        formats: tuple[Format, ...] = ("atom", "json")
        for kind in formats:
            blueprint.add_url_rule(f"/<user>/feed.{kind}", f"user_{kind}", self._of_user(kind))
            blueprint.add_url_rule(f"/-/feed.{kind}", f"site_{kind}", self._of_all(kind))
        blueprint.add_url_rule("/<user>/twtxt.txt", "twtxt", self._twtxt)
        return blueprint

    def _of_user(self, kind: Format) -> Callable[..., Awaitable[Response]]:
        async def feed(user: str) -> Response:
            base, info, entries, following = await self._said(user, _ENTRIES)
            note_outcome(request.scope, "list")
            author = _author(info, base)
            home = f"{base}/{href(info.user)}"
            found = Feed(
                title=f"{author.name} · {self._pages.site.title}",
                home=home,
                url=f"{home}/feed.{kind}",
                icon=f"{base}/{assets.path_of('icon-192.png')}",
                entries=entries,
                next=None if following is None else f"{home}/feed.{kind}?before={place(following)}",
                author=author,
            )
            return self._response(found, kind)

        return feed

    def _of_all(self, kind: Format) -> Callable[..., Awaitable[Response]]:
        async def feed() -> Response:
            if not self._service.can_list_recent:
                raise NotFound(_NO_LIST)
            base = self._base()
            note_outcome(request.scope, "list")
            answer = await self._service.ask_recent(_ENTRIES, _before(read_recency))
            replay_while(answer)
            following = answer.value.next
            url = f"{base}/-/feed.{kind}"
            found = Feed(
                title=self._pages.site.title,
                home=f"{base}/",
                url=url,
                icon=f"{base}/{assets.path_of('icon-192.png')}",
                entries=list(_entries(answer.value.statuses, base)),
                next=None if following is None else f"{url}?before={place_text(following)}",
            )
            return self._response(found, kind)

        return feed

    async def _twtxt(self, user: str) -> Response:
        base, info, entries, _ = await self._said(user, _TWTXT_ENTRIES)
        note_outcome(request.scope, "list")
        url = f"{base}/{href(info.user)}/twtxt.txt"
        return self._dated(url, dump_twtxt(info.user, url, entries), "text/plain; charset=utf-8")

    async def _said(self, user: str, limit: int) -> tuple[str, UserInfo, list[Entry], datetime | None]:
        """The site's address, the user, what the user said, and before when there is more."""
        base, service = self._base(), self._service
        known = await service.ask_user(user)
        info = known.value
        if info is None:
            raise NotFound(NO_SUCH_USER)
        if not service.history.is_kept:
            replay_while(known)
            return base, info, list(_entries([info], base)), None
        answer = await service.history.ask(info.user, limit, _before(read_place))
        replay_while(known, answer)
        said = [UserInfo(info.user, status.status, info.name, status.since) for status in answer.value.statuses]
        return base, info, list(_entries(said, base)), answer.value.next

    def _base(self) -> str:
        base = places_of(self._pages).base
        if not base:
            raise NotFound(_NO_ADDRESS)
        return base

    def _response(self, feed: Feed, kind: Format) -> Response:
        body = dump_atom(feed) if kind == "atom" else dump_json_feed(feed)
        return self._dated(f"{feed.url}?{request.query_string.decode('latin-1')}", body, _TYPES[kind])

    def _dated(self, url: str, body: bytes, content_type: str) -> Response:
        response = Response(body, content_type=content_type)
        response.headers["Cache-Control"] = _AGE
        changed = self._changes.last(url, body)
        if changed is not None:  # werkzeug takes None for the present
            response.last_modified = changed
        return response


def _before(read: Callable[[str], T | None]) -> T | None:
    """The place in the parameter `before`; None: it is not there, or empty."""
    text = request.args.get("before")
    if not text:
        return None
    try:
        place = read(text)
    except ValueError:
        place = None
    if place is None:
        raise BadRequest("before is not a place in this feed; use the address of its next page")
    return place


def _entries(statuses: Iterable[UserInfo], base: str) -> Iterator[Entry]:
    for info in statuses:
        text = clean(info.status).strip("\n")
        if info.since is not None and text.strip() not in {"", NO_PLAN}:
            yield Entry(f"{base}/{permalink(info.user, info.since)}", text, info.since, _author(info, base))


def _author(info: UserInfo, base: str) -> Author:
    return Author(clean_line(info.name or "") or info.user, f"{base}/{href(info.user)}")


class Changes:
    """When each feed changed last, to the second, as far as this process has seen it.

    Not the time of the newest entry: taking a status back changes the feed and leaves an older entry at the top.

    Args:
        clock: the present.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, tuple[bytes, datetime]] = OrderedDict()

    def last(self, url: str, body: bytes) -> datetime | None:
        """When the feed at `url` changed to `body`; None: in the second of another change, which a date cannot tell."""
        digest = hashlib.sha256(body).digest()
        feed = hashlib.sha256(url.encode()).digest()  # clients can make up hosts and queries of 16 kB
        now = self._clock().replace(microsecond=0)
        before = self._seen.get(feed)
        if before is not None and before[0] == digest:
            self._seen.move_to_end(feed)
            return before[1]
        if before is not None and before[1] >= now:
            return None
        self._seen[feed] = (digest, now)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return now
