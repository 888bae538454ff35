"""Badges and the script for other sites."""

from __future__ import annotations

import colorsys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect, sync_playwright

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web import assets
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.avatars import HUES, hue
from fingertrio.frontends.web.badges import colour, draw, width_of
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeReader
from fingertrio.wire.text import clean_line
from tests.chromium import launch, need_chromium
from tests.frontends.web.kit import serving
from tests.wire.valid import check_shield

SVG = "{http://www.w3.org/2000/svg}"


@asynccontextmanager
async def client(*infos: UserInfo) -> AsyncIterator[Any]:
    backend = FakeReader({})
    backend.users = {info.user: info for info in infos}
    async with FingerService.open(backend, observer=Observer()) as service:
        yield create_app(service, Observer()).test_client()


def texts(svg: str) -> list[str | None]:
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


async def test_a_badge_has_the_name_and_the_first_line() -> None:
    async with client(UserInfo("ada", "\u2615 coffee & <b>cake</b>\nthen work")) as web:
        response = await web.get("/ada/badge.svg")
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "image/svg+xml; charset=utf-8"
        svg = await response.get_data(as_text=True)
        assert texts(svg) == ["ada", "\u2615 coffee & <b>cake</b>"]
        assert ET.fromstring(svg).attrib["aria-label"] == "ada: \u2615 coffee & <b>cake</b>"


async def test_any_page_may_show_it_and_nothing_in_it_is_active() -> None:
    async with client(UserInfo("ada", "coffee")) as web:
        response = await web.get("/ada/badge.svg")
        assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"
        assert response.headers["Cache-Control"] == "public, max-age=120"
        again = await web.get("/ada/badge.svg", headers={"If-None-Match": response.headers["ETag"]})
        assert again.status_code == 304


async def test_an_unknown_user_has_a_picture_that_says_so() -> None:
    async with client() as web:
        response = await web.get("/nobody/badge.svg")
        assert response.status_code == 404
        assert texts(await response.get_data(as_text=True)) == ["nobody", "no such user"]
        document = await (await web.get("/nobody/badge.json")).get_json()
        assert (document["isError"], document["message"]) == (True, "no such user")


async def test_shields_gets_its_schema() -> None:
    async with client(UserInfo("ada", "coffee")) as web:
        response = await web.get("/ada/badge.json")
        assert await response.get_json() == {
            "schemaVersion": 1,
            "label": "ada",
            "message": "coffee",
            "color": colour(hue("ada")),
            "isError": False,
            "cacheSeconds": 120,
        }
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        for user in ("ada", "nobody"):
            check_shield(await (await web.get(f"/{user}/badge.json")).get_data())
    async with client(UserInfo("ada", "")) as web:
        check_shield(await (await web.get("/ada/badge.json")).get_data())


@pytest.mark.parametrize(("status", "shown"), [("", "No Plan."), ("a" * 60, "a" * 60), ("a" * 61, "a" * 59 + "…")])
async def test_a_long_status_is_cut_and_an_empty_one_is_no_plan(status: str, shown: str) -> None:
    async with client(UserInfo("ada", status)) as web:
        assert texts(await (await web.get("/ada/badge.svg")).get_data(as_text=True))[1] == shown


@given(st.text(max_size=40), st.text(max_size=80))
def test_whatever_the_text_it_is_well_formed_and_shows_it(label: str, text: str):
    label, text = clean_line(label), clean_line(text)
    svg = draw(label, text, 0)
    assert [each or "" for each in texts(svg)] == [label, text]
    assert int(ET.fromstring(svg).attrib["width"]) >= width_of(text)


@pytest.mark.parametrize("number", range(HUES))
def test_white_text_is_readable_on_each_colour(number: int):
    angle, saturation, lightness = colour(number)[4:-1].split(",")
    rgb = colorsys.hls_to_rgb(int(angle) / 360, int(lightness[:-1]) / 100, int(saturation[:-1]) / 100)
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_the_script_for_other_sites_is_small_and_sets_text_alone():
    found = assets.find("embed.js")
    assert found is not None
    script = found[0].data.decode()
    assert len(script) < 1500
    assert "innerHTML" not in script
    assert "textContent" in script


PAGE = """<!doctype html><title>Elsewhere</title>
<p>Ada: <span data-fingertrio="ada">not known</span></p>
<p>Bob: <span data-fingertrio="bob">not known</span></p>
<script src="{site}/-/embed.js"></script>"""


@pytest.mark.slow
async def test_the_script_fills_and_follows_in_a_page_of_another_site() -> None:
    need_chromium()
    backend = MemoryBackend({"ada": "\n<b>coffee</b>\nthen work"})
    async with serving(backend) as site:

        def set_elsewhere() -> None:
            trio.from_thread.run(backend.set_user, "ada", "In the garden")

        await trio.to_thread.run_sync(visit_another_site, site.url, set_elsewhere)


def visit_another_site(site: str, set_elsewhere: Callable[[], None]) -> None:
    with sync_playwright() as playwright:
        # The page has no server of its own, so Chromium takes it for one of the internet, which may not reach loopback.
        browser = launch(playwright, "--disable-features=LocalNetworkAccessChecks")
        page = browser.new_page()
        elsewhere = site.replace("127.0.0.1", "localhost") + "/elsewhere.html"  # another host is another origin
        page.route(elsewhere, lambda route: route.fulfill(body=PAGE.format(site=site), content_type="text/html"))
        page.goto(elsewhere)
        ada, bob = page.locator("[data-fingertrio=ada]"), page.locator("[data-fingertrio=bob]")
        expect(ada).to_have_text("<b>coffee</b>")
        expect(bob).to_have_text("not known")
        set_elsewhere()
        expect(ada).to_have_text("In the garden")
        browser.close()
