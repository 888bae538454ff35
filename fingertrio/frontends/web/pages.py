"""The pages, for people: the list of users, and one page for each user.

They work in every HTML browser, lynx included: no script, no essential image, and a line break in a status is an
element. A user's page is directly below the root, so no other route may match a user name: style sheet and icon are
below `/-/`, since no name starts with `-`, and every other route contains a second slash. Links are relative, so a
proxy can serve the site below another path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_PLAN, NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.shared import SharedBody
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.wire.text import clean, clean_line

_HERE = Path(__file__).parent
_HTML = "text/html; charset=utf-8"

# Style sheet, icon and templates are read here, at import: afterwards the program may have given up the privileges to
# read them, and a page that fails once would fail for good.
_TYPES = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
_STATIC = {name: (_HERE / "static" / name).read_bytes() for name in _TYPES}
_STATIC_AGE = "public, max-age=3600"  # after an upgrade, an old style sheet for an hour is harmless

# A detail that is a single URL becomes a link. Only http and https: other schemes can run code.
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"]+\Z")


def href(name: str) -> str:
    """A user name as a relative link. Without ":" and "/" it is always a path segment, never a scheme or a host."""
    return quote(name, safe="")


def _is_link(text: str) -> bool:
    return _WEB_ADDRESS.match(text) is not None


_environment = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_environment.filters["href"] = href
_environment.tests["link"] = _is_link
_TEMPLATES = {name: _environment.get_template(name) for name in _environment.list_templates()}


def pages_blueprint(service: FingerService) -> Blueprint:
    """The routes of the pages, their style sheet and icon."""
    blueprint = Blueprint("pages", __name__)
    listed = SharedBody(_users_page)

    @blueprint.get("/")
    async def users() -> Response:
        answer = await service.ask_users() if service.can_list else None
        note_outcome(request.scope, "list")
        if answer is None:
            return _page("users.html", names=None, listed="")
        return listed.response(answer, _HTML)

    @blueprint.get("/<user>")
    async def user(user: str) -> Response:
        page = await user_page(service, user)
        if page is None:
            raise NotFound(NO_SUCH_USER)
        return page

    @blueprint.get("/-/<name>")
    async def asset(name: str) -> Response:
        if name not in _STATIC:
            raise NotFound
        return Response(_STATIC[name], mimetype=_TYPES[name], headers={"Cache-Control": _STATIC_AGE})

    return blueprint


async def user_page(service: FingerService, user: str) -> Response | None:
    """The page of one user; None if there is no such user."""
    answer = await service.ask_user(user)
    if answer.value is None:
        return None
    return _page("user.html", stale=_stale(answer.stale_since), **user_context(answer.value))


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


def _users_page(answer: Answer[tuple[str, ...]]) -> bytes:
    items = Markup("").join(_ITEM.format(href(name), name) for name in answer.value)
    stale = _stale(answer.stale_since)
    return _render("users.html", root="", names=answer.value, listed=items, stale=stale).encode()


def error_page(status: int, title: str, detail: str) -> Response:
    """A page with an error message."""
    return _page("error.html", status, title=title, detail=clean_line(detail), asked=clean_line(request.path))


def _lines(text: str) -> list[str]:
    return clean(text).strip("\n").split("\n")


def _times(info: UserInfo) -> Iterator[tuple[str, str, str]]:
    """Label, machine-readable time and readable time."""
    for label, time in (("Since", info.since), ("Until", info.until)):
        if time is not None:
            yield label, *_time_texts(time)


def _stale(since: datetime | None) -> tuple[str, str] | None:
    """Since when the page may be out of date."""
    return None if since is None else _time_texts(since)


def _time_texts(time: datetime) -> tuple[str, str]:
    """A time in machine-readable and in readable form."""
    utc = time.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def _page(template: str, status: int = 200, *, stale: tuple[str, str] | None = None, **context: object) -> Response:
    root = "../" * (request.path.count("/") - 1)  # relative to the path that the browser shows
    return Response(_render(template, root=root, stale=stale, **context), status, content_type=_HTML)


def _render(template: str, **context: object) -> str:
    return _TEMPLATES[template].render(**context)


def check_rendering() -> None:
    """Render the pages of a made-up user and list. Raises what a request for them would fail with."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    info = UserInfo("check", "one\ntwo", name="Name", since=since, until=since, details={"home": "https://example.net"})
    _render("user.html", root="", stale=None, **user_context(info))
    _users_page(Answer(("check",), inf, since))
