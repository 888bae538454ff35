"""The pages of one browser alone: /-/sign-in, /-/sign-out and /-/me, and the headers that keep them so.

They depend on the cookie, so no cache may keep them. No other page looks at a cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from quart import Blueprint, Response

from fingertrio.frontends.web.me import me_blueprint
from fingertrio.frontends.web.me_view import MyPage
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.signing_in import sign_in_blueprint
from fingertrio.frontends.web.visits import Visits
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.presets import Presets

_HEADERS = {
    "Cache-Control": "no-store",
    # Not no-referrer: with it, browsers send "Origin: null" with the forms of these very pages.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",  # for browsers from before frame-ancestors
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def private_blueprints(
    service: FingerService, visits: Visits, pages: Pages, observer: Observer, presets: Callable[[], Presets]
) -> Iterator[Blueprint]:
    """The routes of the private pages."""
    page = MyPage(service, visits, pages, presets)
    for blueprint in (
        sign_in_blueprint(service, visits, pages, observer),
        me_blueprint(service, visits, page, presets),
    ):
        blueprint.after_request(_keep_private)
        yield blueprint


async def _keep_private(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.vary.add("Cookie")
    if response.status_code == 401:  # RFC 9110 section 15.5.2 asks for a challenge; browsers do not show this one
        response.headers["WWW-Authenticate"] = 'Bearer realm="fingertrio"'
    return response
