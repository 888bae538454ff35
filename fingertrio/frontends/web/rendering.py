"""Templates, and what every page has around its content: the site's name, its style sheets, when it was made.

A page has the same bytes for every visitor: nothing in a request but its path, its query and its host decides what a
page shows. Relative times ("3 h ago") count from the start of the present minute, so that a page stays the same for a
minute; without script it says which minute that is.

The templates' source is read at import: afterwards the program may have given up the privileges to read them. Each is
compiled when it is first rendered, so that a start does not wait for it.
"""

from __future__ import annotations

import encodings.unicode_escape  # noqa: F401 -- Jinja2 imports it when it compiles a template
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape
from quart import Response, request
from werkzeug.exceptions import NotFound

from fingertrio.backend import NO_SUCH_USER
from fingertrio.frontends.web import assets, times
from fingertrio.frontends.web.api_page import coded
from fingertrio.frontends.web.assets import Asset
from fingertrio.frontends.web.avatars import hue, initial
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.text import home, href
from fingertrio.wire.text import clean_line

HTML = "text/html; charset=utf-8"

_TEMPLATES = Path(__file__).parent / "templates"


def _make_environment() -> Environment:
    sources = {path.name: path.read_text(encoding="utf-8") for path in _TEMPLATES.glob("*.html")}
    environment = Environment(
        loader=DictLoader(sources),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"home": home, "href": href, "hue": hue, "initial": initial, "coded": coded}
    environment.globals |= {"asset": assets.path_of}
    return environment


_environment = _make_environment()


@lru_cache(maxsize=16)
def _links_of(root: str, style: Asset | None) -> Markup:
    """The style sheets, icons and scripts of a page whose relative address of the site's root is `root`."""
    return escape(_environment.get_template("links.html").make_module({"root": root, "style": style}))


_environment.globals["links_of"] = _links_of


def _now() -> datetime:
    return datetime.now(UTC)


class UnknownUser(NotFound):
    """There is no such user.

    Args:
        name: what was asked for.
        alike: names that the reader may have meant.
    """

    description = NO_SUCH_USER

    def __init__(self, name: str, alike: Sequence[str]) -> None:
        super().__init__()
        self.name_asked = clean_line(name)
        self.alike = alike


class Pages:
    """Renders the pages of one site.

    Args:
        site: returns the site's name, style and address; it can change at a reload.
        clock: the present, in UTC.

    Attributes:
        signs_in: whether users can sign in at `/-/me`; every page then links to it.
        is_live: whether open pages can follow changes.
        has_feed: whether there is a feed of everybody.
    """

    def __init__(self, site: Callable[[], Site] = Site, clock: Callable[[], datetime] = _now) -> None:
        self._site = site
        self._clock = clock
        self.signs_in = False
        self.is_live = False
        self.has_feed = False
        self._refusals_of: Site | None = None
        self._refusals: dict[tuple[int, str, str], bytes] = {}

    @property
    def site(self) -> Site:
        """The site, as configured now."""
        return self._site()

    def minute(self) -> datetime:
        """The start of the present minute: what relative times count from."""
        return self._clock().replace(second=0, microsecond=0)

    def html(
        self, template: str, *, root: str, address: str | None = None, stale: datetime | None = None, **context: Any
    ) -> str:
        """A whole page.

        Args:
            template: the name of a file in templates/, which extends base.html.
            root: the relative address of the site's root from this page: "./", "../".
            address: its own address, relative to the root; None: it has none that one could share.
            stale: since when the page may be out of date, as the source of its data is unavailable.
            context: the template's variables.
        """
        now = self.minute()
        return _environment.get_template(template).render(
            root=root,
            address=address,
            site=self.site,
            signs_in=self.signs_in,
            is_live=self.is_live,
            has_feed=self.has_feed,
            made=times.clock(now),
            stale=None if stale is None else times.exact(stale),
            **context,
        )

    def response(self, template: str, status: int = 200, *, stale: datetime | None = None, **context: Any) -> Response:
        """A whole page as the response to the present request; see `html`."""
        return Response(
            self.html(template, root=root_of(request.path), stale=stale, **context), status, content_type=HTML
        )

    def error(self, status: int, title: str, detail: str, unknown: UnknownUser | None = None) -> Response:
        """A page with an error message; for an unknown user, with links to those whom the reader may have meant."""
        asked = clean_line(request.path) if status == 404 else ""
        alike: Sequence[str] = ()
        if unknown is not None and unknown.name_asked:
            asked, alike, title = "", unknown.alike, f"Nobody here is called {unknown.name_asked}"
        return self.response(
            "error.html", status, code=status, title=title, detail=clean_line(detail), asked=asked, alike=alike
        )

    def refusal(self, status: int, title: str, detail: str, path: str) -> bytes:
        """An error page for clients that ask too often; made once, so it costs less than what they ask for."""
        if self._refusals_of is not self.site:
            self._refusals_of, self._refusals = self.site, {}
        root = root_of(path) if path.count("/") <= 2 else "/"
        key = (status, detail, root)
        if key not in self._refusals:
            html = self.html("error.html", root=root, code=status, title=title, detail=detail, asked="", alike=())
            self._refusals[key] = html.encode()
        return self._refusals[key]


def root_of(path: str) -> str:
    """The relative address of the site's root, from the page at `path` of the site."""
    return "../" * (path.count("/") - 1) or "./"
