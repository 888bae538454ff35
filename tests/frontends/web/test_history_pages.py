"""What a user said before: the list, its pages, and the permanent address of each status."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.permalinks import place, read_place
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.people import HOUR, People, Person

ADA = Person(
    "ada", "Weaving <b>", HOUR, "Ada Lovelace", None, {}, [(30, "One\ntwo", 0), (3, "Lunch", 1), (2, "Two", 0)]
)


@asynccontextmanager
async def site(*people: Person) -> AsyncIterator[tuple[Any, People]]:
    backend = People()
    await backend.enter(*people)
    async with FingerService.open(backend) as service:
        yield create_app(service, Observer()).test_client(), backend


async def get(browser: Any, path: str, status: int = 200) -> str:
    response = await browser.get(path)
    assert response.status_code == status
    return str(await response.get_data(as_text=True))


def lines(html: str) -> list[str]:
    found = re.findall(r'<li[^>]*><a href="[^"]*at/[^"]*"[^>]*>.*?<p[^>]*>(.*?)</p></li>', html, re.DOTALL)
    return [unescape(re.sub(r"<[^>]*>|\([^)]*\)", "", line)) for line in found]


async def test_the_newest_comes_first_with_what_ended_by_itself() -> None:
    async with site(ADA) as (browser, _):
        html = await get(browser, "/ada/history")
        shown = lines(html)
        assert [line.split()[0] for line in shown] == ["Weaving", "Two", "Lunch", "One"]
        assert shown[0] == "Weaving <b> now"
        assert re.fullmatch(r"Lunch ended \d\d:\d\d UTC ?|Lunch ended \d+ \w+ ?", shown[2])
        assert shown[3] == "One +1 line"
        assert "4 statuses on 4 days" in html
        assert '<h1><a href="../ada">Ada Lovelace</a></h1>' in html


async def test_a_status_keeps_its_address() -> None:
    async with site(ADA) as (browser, backend):
        html = await get(browser, "/ada/history")
        [*_, old] = re.findall(r'<li[^>]*><a href="\.\./(ada/at/[^"]*)"[^>]*>', html)
        await backend.set_user("ada", "Something new")
        page = await get(browser, f"/{old}")
        assert "<p>One<br>two</p>" in page
        assert "What holds now for Ada Lovelace" in page
        assert 'id="year"' not in page


@pytest.mark.parametrize("moment", ["99991231T235959.999999Z", "00010101T000000Z"])
async def test_the_ends_of_the_calendar_are_not_the_time_of_a_status(moment: str) -> None:
    async with site(ADA) as (browser, _):
        await get(browser, f"/ada/at/{moment}", 404)
        await get(browser, f"/ada/history?before={moment}")
        await get(browser, f"/ada/feed.json?before={moment}", 400)


async def test_the_page_of_a_user_tells_the_last_statuses_and_where_all_are() -> None:
    async with site(ADA) as (browser, _):
        html = await get(browser, "/ada")
        assert [line.split()[0] for line in lines(html)] == ["Two", "Lunch", "One"]
        assert 'href="./ada/history"' in html
        [permalink] = re.findall(r'<a href="\./([^"]*)" class="u-url">permalink</a>', html)
        assert "Weaving &lt;b&gt;" in await get(browser, f"/{permalink}")


async def test_every_status_is_on_one_page() -> None:
    many = Person("ken", "now", HOUR, None, None, {}, [(500 - number, f"status {number}", 0) for number in range(480)])
    async with site(many) as (browser, _):
        path, seen = "/ken/history", list[str]()
        while path:
            html = await get(browser, path)
            seen += lines(html)
            older = re.search(r'rel="next" href="\.\./([^"]*)"', html)
            path = f"/{older[1]}" if older else ""
        assert len(seen) == len(set(seen)) == 481
        assert "What was said before" in html
        assert len(html) < 60_000


@pytest.mark.parametrize(
    "path",
    [
        "/nobody/history",
        "/api/history",
        "/nobody/at/20260101T000000.000000Z",
        "/ada/at/20260101T000000.000000Z",
        "/ada/at/20269999T000000.000000Z",
        "/ada/at/now",
        "/ada/at/",
        "/ada/history/",
    ],
)
async def test_what_was_never_said_is_not_found(path: str) -> None:
    async with site(ADA) as (browser, _):
        await get(browser, path, 404)


async def test_a_cursor_that_is_no_time_is_the_first_page() -> None:
    async with site(ADA) as (browser, _):
        assert lines(await get(browser, "/ada/history?before=%3Cscript%3E")) == lines(
            await get(browser, "/ada/history")
        )


async def test_without_a_history_there_are_no_such_pages() -> None:
    async with FingerService.open(FakeBackend({"ada": "Weaving"})) as service:
        browser = create_app(service, Observer()).test_client()
        assert "history" not in await get(browser, "/ada")
        await get(browser, "/ada/history", 404)


@pytest.mark.parametrize(
    "moment", [datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC), datetime.now(UTC)]
)
def test_an_address_has_the_whole_time(moment: datetime) -> None:
    assert read_place(place(moment)) == moment
    assert place(moment + timedelta(microseconds=1)) != place(moment)


def test_how_a_time_looks_in_an_address() -> None:
    assert place(datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)) == "20261129T120000.123456Z"
    assert read_place("20261129T120000Z") == datetime(2026, 11, 29, 12, tzinfo=UTC)
