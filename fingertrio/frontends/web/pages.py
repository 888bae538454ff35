"""The pages, for people: the stream of statuses, and one page for each user.

They work in every HTML browser, lynx included, and without script. A user's page is directly below the root, so what
belongs to the site is below `/-/`, since no name starts with `-`. Few other names are taken at the root (`RESERVED`).
Links are relative, so a proxy can serve the site below another path.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf

from markupsafe import Markup
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_SUCH_USER, UserInfo
from fingertrio.frontends.web import elsewhere
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.frontends.web.profile import profile
from fingertrio.frontends.web.rendering import HTML, Pages
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.shared import SharedBody
from fingertrio.frontends.web.similar import similar
from fingertrio.frontends.web.text import href
from fingertrio.names import canonical_name, is_user_name
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer

# Login names whose page would be at an address that the site or a protocol needs. Every other front end knows them.
RESERVED = frozenset({"api", "RPC2", "robots.txt", "favicon.ico"})


class UnknownUser(NotFound):
    """There is no such user.

    Args:
        alike: names that the reader may have meant.
    """

    description = NO_SUCH_USER

    def __init__(self, alike: tuple[str, ...]) -> None:
        super().__init__()
        self.alike = alike


def pages_blueprint(service: FingerService, pages: Pages) -> Blueprint:
    """The routes of the pages."""
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
        replay_while(answer, this_minute=True)
        return listed.response(answer, HTML)

    @blueprint.get("/<user>")
    async def user(user: str) -> Response:
        if user in RESERVED:
            raise NotFound
        answer = await service.ask_user(user)
        if answer.value is None:
            raise _unknown(service, user)
        replay_while(answer, this_minute=True)
        places = pages.site.places(request.scheme, request.host)
        return pages.response(
            "user.html",
            stale=answer.stale_since,
            who=profile(answer.value, pages.minute()),
            elsewhere=elsewhere.reading(places, answer.value.user, watches=pages.is_live),
            permalink="",
        )

    return blueprint


def _unknown(service: FingerService, user: str) -> UnknownUser:
    """The error for a name that no user has; similar names are those of the list that is in memory."""
    user = canonical_name(user)
    listed = service.peek_users() if is_user_name(user) else None
    return UnknownUser(() if listed is None else tuple(similar(user, listed.value)))


_ITEM = Markup('<li><a href="{}">{}</a></li>')


def _users_page(pages: Pages, answer: Answer[tuple[str, ...]]) -> bytes:
    items = Markup("").join(_ITEM.format(href(name), name) for name in answer.value)
    return pages.html("users.html", root="./", stale=answer.stale_since, names=answer.value, listed=items).encode()


def check_rendering(pages: Pages) -> None:
    """Render the pages of a made-up user and list. Raises what a request for them would fail with."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    info = UserInfo("check", "one\n  two", name="Name", since=since, until=since, details={"home": "https://a.example"})
    who = profile(info, pages.minute())
    pages.html("user.html", root="./", who=who, elsewhere=["finger check"], permalink="")
    _users_page(pages, Answer(("check",), inf, since))
