"""Statuses in pages, for programs: the newest of everybody, and the earlier ones of one user.

    GET /api/statuses?limit=50&before=...            {"statuses": [USER, ...], "next": ..., "stale_since": ...}
    GET /api/users/moshez/history?limit=50&before=...
                            {"user": ..., "statuses": [{"status": ..., ...}, ...], "next": ..., "stale_since": ...}

`next` is `before` of the next page; null: there are no more. Of everybody it is opaque, of one user a time.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime

import trio
from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound

from fingertrio.backend import NO_SUCH_USER, Recency, UserInfo
from fingertrio.frontends.web.api import NO_LIST, json_response
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.sorted_names import SortedNames, name_of, sortable
from fingertrio.frontends.web.stream_rows import place_text, read_place
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.service.history import HistoryPage
from fingertrio.service.recent import RECENT_LIMIT, RecentPage
from fingertrio.wire.live import timestamp
from fingertrio.wire.times import in_utc
from fingertrio.wire.user_json import user_json

PAGE = 50  # statuses, unless the client asks for another number

# Members of a user's object that belong to one status.
_OF_A_STATUS = frozenset({"status", "emoji", "line", "since", "until"})

_NO_HISTORY = "This server keeps no earlier statuses"


def listings_blueprint(service: FingerService) -> Blueprint:
    """The routes of the pages."""
    blueprint = Blueprint("listings", __name__, url_prefix="/api")
    names = SortedNames()

    @blueprint.get("/statuses")
    async def statuses() -> Response:
        limit, before = _limit(), _place()
        note_outcome(request.scope, "list")
        if service.can_list_recent:
            answer = await service.ask_recent(limit, before)
            replay_while(answer)
        elif service.can_list:
            answer = await _by_name(service, names, limit, before)
        else:
            raise NotFound(NO_LIST)
        following = None if answer.value.next is None else place_text(answer.value.next)
        return json_response(
            {
                "statuses": [user_json(info) for info in answer.value.statuses],
                "next": following,
                "stale_since": timestamp(answer.stale_since),
            }
        )

    @blueprint.get("/users/<user>/history")
    async def history(user: str) -> Response:
        limit, before = _limit(), _time()
        if not service.history.is_kept:
            raise NotFound(_NO_HISTORY)
        known = await service.ask_user(user)
        if known.value is None:
            raise NotFound(NO_SUCH_USER)
        answer = await service.history.ask(known.value.user, limit, before)
        note_outcome(request.scope, "list")
        replay_while(known, answer)
        return json_response(_history(known.value.user, answer))

    return blueprint


def _history(user: str, answer: Answer[HistoryPage]) -> dict[str, object]:
    return {
        "user": user,
        "statuses": [
            {key: value for key, value in user_json(info).items() if key in _OF_A_STATUS}
            for info in answer.value.statuses
        ],
        "next": timestamp(answer.value.next),
        "stale_since": timestamp(answer.stale_since),
    }


async def _by_name(
    service: FingerService, names: SortedNames, limit: int, before: Recency | None
) -> Answer[RecentPage]:
    """The same from a backend that lists names only: by name, empty statuses included."""
    listed = await service.ask_users()
    entries = await names.of(listed.value)
    start = 0 if before is None else bisect_right(entries, sortable(before.user))
    users = [name_of(entry) for entry in entries[start : start + limit]]
    found: dict[str, UserInfo] = {}

    async def ask(user: str) -> None:
        answer = await service.ask_user(user)
        if answer.value is not None:
            found[user] = answer.value

    async with trio.open_nursery() as nursery:
        for user in users:
            nursery.start_soon(ask, user)
    following = Recency(None, users[-1]) if start + limit < len(entries) else None
    page = RecentPage(tuple(found[user] for user in users if user in found), following)
    return Answer(page, listed.expires, listed.stale_since)


def _limit() -> int:
    text = request.args.get("limit", str(PAGE))
    digits = text.lstrip("0") if text.isascii() and text.isdecimal() else ""
    number = int(digits[:9] or 0)  # enough of them to tell that it is larger
    if number < 1:
        raise BadRequest(f"limit must be a number from 1 to {RECENT_LIMIT}")
    return min(number, RECENT_LIMIT)


def _place() -> Recency | None:
    text = request.args.get("before", "")
    try:
        return read_place(text) if text else None
    except ValueError as error:
        raise BadRequest(f"before is {error}") from None


def _time() -> datetime | None:
    text = request.args.get("before", "")
    try:
        # A plus sign that was not encoded arrives as a space.
        return in_utc(datetime.fromisoformat(text.replace(" ", "+"))) if text else None
    except ValueError:
        raise BadRequest("before is not a time such as 2026-12-24T18:00:00Z; use `next` of the page before") from None
