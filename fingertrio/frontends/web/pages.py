"""The pages, for people: who is here, and how one of them is.

They work in anything that shows HTML, lynx included: no script, no image that matters, and the line breaks of a status
are elements. A user's page lives right below the root, so no other route may look like a user name: what the pages need
themselves lives below `/-/`, since no name starts with `-`, and everything else has a slash inside. Links are relative,
so that the whole thing can be moved below another path by a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.service import FingerService
from fingertrio.service.cache import Rendering
from fingertrio.wire.text import clean, clean_line

_HERE = Path(__file__).parent

_STATIC = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
_STATIC_AGE = "public, max-age=3600"  # an hour of old colours after an upgrade harms nobody

# A detail that is one web address becomes a link. Nothing but http and https: a status is not to run anything.
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"]+\Z")


def href(name: str) -> str:
    """A user name as a relative link. It has neither ":" nor "/", so it cannot be taken for anything but a path."""
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


def pages_blueprint(service: FingerService) -> Blueprint:
    """The routes that answer in HTML, and what the pages are made of."""
    blueprint = Blueprint("pages", __name__)
    static = {name: (_HERE / "static" / name).read_bytes() for name in _STATIC}
    listed = Rendering(_list)

    @blueprint.get("/")
    async def users() -> Response:
        answer = await service.ask_users() if service.can_list else None
        note_outcome(request.scope, "list")
        if answer is None:
            return _page("users.html", names=None, listed="")
        return _page("users.html", names=answer.value, listed=listed.of(answer), stale=_stale(answer.stale_since))

    @blueprint.get("/<user>")
    async def user(user: str) -> Response:
        page = await user_page(service, user)
        if page is None:
            raise NotFound(NO_SUCH_USER)
        return page

    @blueprint.get("/-/<name>")
    async def asset(name: str) -> Response:
        if name not in static:
            raise NotFound
        return Response(static[name], mimetype=_STATIC[name], headers={"Cache-Control": _STATIC_AGE})

    return blueprint


async def user_page(service: FingerService, user: str) -> Response | None:
    """The page of one user; None: there is no such user."""
    answer = await service.ask_user(user)
    if answer.value is None:
        return None
    return _page("user.html", stale=_stale(answer.stale_since), **describe(answer.value))


def describe(info: UserInfo) -> Mapping[str, Any]:
    """What the template of one user shows, clean."""
    return {
        "user": info.user,
        "name": None if info.name is None else clean_line(info.name),
        "lines": _lines(info.status),
        "times": list(_times(info)),
        "details": [(clean_line(label), _lines(text)) for label, text in info.details.items()],
    }


_ITEM = Markup('<li><a href="{}">{}</a></li>')


def _list(names: tuple[str, ...]) -> Markup:
    return Markup("").join(_ITEM.format(href(name), name) for name in names)


def error_page(status: int, title: str, detail: str) -> Response:
    """A page that says what went wrong, in the words of `detail`."""
    return _page("error.html", status, title=title, detail=clean_line(detail), asked=clean_line(request.path))


def _lines(text: str) -> list[str]:
    return clean(text).strip("\n").split("\n")


def _times(info: UserInfo) -> Iterator[tuple[str, str, str]]:
    """What the moment means, and the moment for a machine and for a person."""
    for meaning, moment in (("Since", info.since), ("Until", info.until)):
        if moment is not None:
            yield meaning, *_moment(moment)


def _stale(since: datetime | None) -> tuple[str, str] | None:
    """Since when the page may be out of date."""
    return None if since is None else _moment(since)


def _moment(moment: datetime) -> tuple[str, str]:
    """For a machine and for a person."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def _page(template: str, status: int = 200, *, stale: tuple[str, str] | None = None, **context: object) -> Response:
    root = "../" * (request.path.count("/") - 1)  # from where the asker believes to be
    html = _environment.get_template(template).render(root=root, stale=stale, **context)
    return Response(html, status, mimetype="text/html")
