"""What browsers and robots ask of a site: style sheets, scripts, icons, robots.txt, and the manifest for a phone."""

from __future__ import annotations

import json

from quart import Blueprint, Response
from werkzeug.exceptions import NotFound

from fingertrio.frontends.web import assets
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.replaying import replay_while
from fingertrio.frontends.web.site import Site
from fingertrio.http.replay import ALWAYS

# What is behind a form, for programs, or the same list in another order is not for an index.
_ROBOTS = "User-agent: *\nDisallow: /-/\nDisallow: /api/\nDisallow: /*?\nAllow: /\n"
_NO_ROBOTS = "# The operator has not set [http] index = true\nUser-agent: *\nDisallow: /\n"

_EMBEDDED = "embed-"  # the script that pages of other sites load


def site_blueprint(pages: Pages) -> Blueprint:
    """The routes of these files."""
    blueprint = Blueprint("site", __name__)

    @blueprint.get("/-/<name>")
    async def asset(name: str) -> Response:
        return _asset(name, pages)

    @blueprint.get("/favicon.ico")
    async def icon() -> Response:
        return _asset("icon.ico", pages)

    @blueprint.get("/robots.txt")
    async def robots() -> Response:
        replay_while(ALWAYS)
        text = _ROBOTS if pages.site.index else _NO_ROBOTS
        return Response(text, content_type="text/plain; charset=utf-8")

    @blueprint.get("/-/manifest.json")
    async def manifest() -> Response:
        replay_while(ALWAYS)
        return Response(_manifest(pages.site), content_type="application/manifest+json")

    return blueprint


def _asset(name: str, pages: Pages) -> Response:
    found = assets.find(name, pages.site.style)
    if found is None:
        raise NotFound
    asset, age = found
    replay_while(ALWAYS)
    headers = {"Cache-Control": age}
    if asset.name.startswith(_EMBEDDED):
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return Response(asset.data, content_type=asset.kind, headers=headers)


def _manifest(site: Site) -> str:
    """Addresses are relative to the manifest's own, `/-/manifest.json`, so that a path before the site is kept."""
    icons = [("icon.svg", "any"), ("icon-192.png", "192x192"), ("icon-512.png", "512x512")]
    document = {
        "name": site.title,
        "short_name": site.title[:24],
        "description": site.description,
        "start_url": "../",
        "scope": "../",
        "display": "minimal-ui",
        "background_color": "#fbfaf7",
        "theme_color": "#fbfaf7",
        "icons": [{"src": assets.path_of(name).removeprefix("-/"), "sizes": sizes} for name, sizes in icons],
    }
    return json.dumps(document, ensure_ascii=False) + "\n"
