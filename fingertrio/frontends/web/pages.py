"""The pages, for people: the list of users, and one page for each user.

They work in every HTML browser, lynx included: no script, no essential image, and a line break in a status is an
element. A user's page is directly below the root, so no other route may match a user name: style sheet and icon are
below `/-/`, since no name starts with `-`, and every other route contains a second slash. Links are relative, so a
proxy can serve the site below another path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from typing import Any

from markupsafe import Markup
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_PLAN, NO_SUCH_USER, UserInfo
from fingertrio.frontends.web import assets, times
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.rendering import HTML, Pages
from fingertrio.frontends.web.shared import SharedBody
from fingertrio.frontends.web.text import href
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.wire.text import clean, clean_line


def pages_blueprint(service: FingerService, pages: Pages) -> Blueprint:
    """The routes of the pages, their style sheet and icon."""
    blueprint = Blueprint("pages", __name__)

    def render_list(answer: Answer[tuple[str, ...]]) -> bytes:
        return _users_page(pages, answer)

    listed = SharedBody(render_list)

    @blueprint.get("/")
    async def users() -> Response:
        answer = await service.ask_users() if service.can_list else None
        note_outcome(request.scope, "list")
        if answer is None:
            return pages.response("users.html", names=None, listed="")
        return listed.response(answer, HTML)

    @blueprint.get("/<user>")
    async def user(user: str) -> Response:
        page = await user_page(service, pages, user)
        if page is None:
            raise NotFound(NO_SUCH_USER)
        return page

    @blueprint.get("/-/<name>")
    async def asset(name: str) -> Response:
        found = assets.find(name, pages.site.style)
        if found is None:
            raise NotFound
        asset, age = found
        return Response(asset.data, content_type=asset.kind, headers={"Cache-Control": age})

    return blueprint


async def user_page(service: FingerService, pages: Pages, user: str) -> Response | None:
    """The page of one user; None if there is no such user."""
    answer = await service.ask_user(user)
    if answer.value is None:
        return None
    return pages.response("user.html", stale=answer.stale_since, **user_context(answer.value))


def user_context(info: UserInfo) -> Mapping[str, Any]:
    """The template variables for one user, as clean text."""
    return {
        "user": info.user,
        "name": None if info.name is None else clean_line(info.name),
        "lines": _lines(info.status or NO_PLAN),
        "times": list(_times(info)),
        "details": [(clean_line(label), _lines(text)) for label, text in info.details.items()],
    }


_ITEM = Markup('<li><a href="{}">{}</a></li>')


def _users_page(pages: Pages, answer: Answer[tuple[str, ...]]) -> bytes:
    items = Markup("").join(_ITEM.format(href(name), name) for name in answer.value)
    return pages.html("users.html", root="./", stale=answer.stale_since, names=answer.value, listed=items).encode()


def _lines(text: str) -> list[str]:
    return clean(text).strip("\n").split("\n")


def _times(info: UserInfo) -> Iterator[tuple[str, times.Shown]]:
    """Label and time."""
    for label, time in (("Since", info.since), ("Until", info.until)):
        if time is not None:
            yield label, times.exact(time)


def check_rendering(pages: Pages) -> None:
    """Render the pages of a made-up user and list. Raises what a request for them would fail with."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    info = UserInfo("check", "one\ntwo", name="Name", since=since, until=since, details={"home": "https://example.net"})
    pages.html("user.html", root="./", **user_context(info))
    _users_page(pages, Answer(("check",), inf, since))
