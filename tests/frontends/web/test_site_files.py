"""What browsers and robots ask of a site, and how pages present themselves elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any
from urllib.parse import urljoin

import pytest

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.assets import find, make_asset, path_of
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.site import Site
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeReader


@asynccontextmanager
async def browsing(**options: Any) -> AsyncIterator[Any]:
    backend = FakeReader({})
    backend.users = {"ada": UserInfo("ada", 'Weaving "<b>"\nand more', name="Ada & Co")}
    site = Site(**options)
    async with FingerService.open(backend) as service:
        yield create_app(service, Observer(), pages=Pages(lambda: site)).test_client()


async def get(browser: Any, path: str) -> str:
    response = await browser.get(path)
    assert response.status_code == 200, path
    return str(await response.get_data(as_text=True))


def meta(html: str) -> dict[str, str]:
    return {
        name: unescape(value)
        for name, value in re.findall(r'<meta (?:name|property)="([^"]*)" content="([^"]*)">', html)
    }


async def test_robots_stay_out_unless_the_operator_lets_them_in() -> None:
    async with browsing() as browser:
        assert "\nDisallow: /\n" in await get(browser, "/robots.txt")
        assert meta(await get(browser, "/ada"))["robots"] == "noindex"
    async with browsing(index=True) as browser:
        robots = await get(browser, "/robots.txt")
        assert "Disallow: /\n" not in robots
        assert "Disallow: /-/\n" in robots
        assert "robots" not in meta(await get(browser, "/ada"))


async def test_a_preview_elsewhere_has_a_title_and_what_was_said() -> None:
    async with browsing(title="tilde.example", url="https://tilde.example/~finger") as browser:
        html = await get(browser, "/ada")
        shown = meta(html)
        assert shown["og:title"] == "Ada & Co · tilde.example"
        assert shown["og:description"] == shown["description"] == 'Weaving "<b>"'
        assert shown["og:site_name"] == "tilde.example"
        assert shown["og:url"] == "https://tilde.example/~finger/ada"
        assert '<link rel="canonical" href="https://tilde.example/~finger/ada">' in html
        assert shown["og:image"].startswith("https://tilde.example/~finger/-/icon-512-")


async def test_without_a_public_address_no_page_claims_one() -> None:
    async with browsing() as browser:
        html = await get(browser, "/ada")
        assert "og:url" not in html
        assert "canonical" not in html
        assert "og:title" in html


async def test_a_phone_can_pin_it() -> None:
    async with browsing(title="tilde.example") as browser:
        response = await browser.get("/-/manifest.json")
        assert response.headers["Content-Type"] == "application/manifest+json"
        manifest = json.loads(await response.get_data(as_text=True))
        assert manifest["name"] == "tilde.example"
        assert urljoin("http://test/-/manifest.json", manifest["start_url"]) == "http://test/"
        for icon in manifest["icons"]:
            found = await browser.get(urljoin("/-/manifest.json", icon["src"]))
            assert found.status_code == 200
            assert found.mimetype in {"image/svg+xml", "image/png"}


async def test_an_icon_for_browsers_that_ask_for_the_old_name() -> None:
    async with browsing() as browser:
        response = await browser.get("/favicon.ico")
        assert (response.status_code, response.mimetype) == (200, "image/x-icon")
        assert (await response.get_data(as_text=False)).startswith(b"\0\0\1\0")


async def test_the_operators_style_sheet_comes_last() -> None:
    style = make_asset("site.css", b"body { color: red }")
    async with browsing(style=style) as browser:
        html = await get(browser, "/ada")
        sheets = re.findall(r'<link rel="stylesheet" href="\./([^"]*)">', html)
        assert sheets == [path_of("style.css"), f"-/{style.name}"]
        response = await browser.get(f"/-/{style.name}")
        assert await response.get_data(as_text=False) == style.data
        assert "immutable" in response.headers["Cache-Control"]


@pytest.mark.parametrize("name", ["style.css", "page.js", "live.js", "stream.js", "profile.js", "icon-192.png"])
def test_an_address_with_the_hash_is_kept_for_a_year_and_others_for_an_hour(name: str) -> None:
    hashed = path_of(name).removeprefix("-/")
    present, plain, old = find(hashed), find(name), find(re.sub("-[0-9a-f]{8}", "-00000000", hashed))
    assert present is not None
    assert present[1] == "public, max-age=31536000, immutable"
    assert plain == old == (present[0], "public, max-age=3600")


@pytest.mark.parametrize("name", ["", "nothing.css", "style", "../app.py", "style-1234.css", "site.css"])
def test_what_is_no_asset_is_not_found(name: str) -> None:
    assert find(name) is None


async def test_the_foot_of_every_page_links_to_the_documentation_if_there_is_one() -> None:
    link = '<a href="https://docs.example.org/f?a&amp;b">Documentation</a>'
    pages = ("/", "/ada", "/api/docs")
    async with browsing(docs_url="https://docs.example.org/f?a&b") as browser:
        for page in pages:
            assert link in (await get(browser, page)).partition("<footer>")[2], page
        missing = await browser.get("/nobody", headers={"Accept": "text/html"})
        assert link in await missing.get_data(as_text=True)
    async with browsing() as browser:
        for page in pages:
            assert "Documentation" not in (await get(browser, page)).partition("<footer>")[2], page
