"""The pages in Chromium: what axe-core finds, what a change does to an open page, and what a keyboard reaches.

One browser and one server for everything, since a start costs more than all of it. Each step is a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import resources

import pytest
import trio
from playwright.sync_api import APIResponse, Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

from fingertrio.frontends.web.permalinks import place
from tests.backends.mirror.test_backend import Line, line
from tests.chromium import launch, need_chromium
from tests.frontends.web.kit import serving
from tests.frontends.web.people import DAY, EPOCH, KEN, PEOPLE, People, Person
from tests.helpers import no_accounts

# It starts a browser. On an idle machine it takes 20 seconds, but the browser needs both of its cores.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}

CROWD = [Person(f"user{number:04}", "Busy", 30 * DAY) for number in range(5000)]
HARD = (
    Person("long", "\n".join(f"line {number} of a plan" for number in range(500)), 11 * DAY),
    Person("x" * 64, "z" * 300, 12 * DAY, "N" * 64),
    Person("zalgo", "Z" + "\u0334\u0321\u0322" * 20 + "algo waits", 13 * DAY, "Z" + "\u0334\u0321" * 20),
)


@dataclass
class Visit:
    """A browser, the site behind a line that can be cut, an empty site, and what went wrong on any page."""

    browser: Browser
    url: str
    backend: People
    relay: Line
    empty: str
    fresh: People
    mistakes: list[str] = field(default_factory=list)

    def set(self, user: str, status: str) -> None:
        trio.from_thread.run(self.backend.set_user, user, status)

    @contextmanager
    def context(self, **options: object) -> Iterator[BrowserContext]:
        with self.browser.new_context(**{"viewport": DESKTOP, **options}) as context:  # type: ignore[arg-type]
            context.set_default_timeout(20_000)
            yield context

    @contextmanager
    def page(self, path: str = "/", *, url: str = "", **options: object) -> Iterator[Page]:
        with self.context(**options) as context:
            page = context.new_page()
            page.on("pageerror", lambda error: self.mistakes.append(f"{path}: {error}"))
            page.on("console", lambda message: self.mistakes.append(message.text) if message.type == "error" else None)
            page.goto((url or self.url) + path)
            yield page


async def test_a_visit() -> None:
    need_chromium()
    backend, fresh = People(), People()
    await backend.enter(*PEOPLE, *HARD, *CROWD)
    async with (
        serving(backend, accounts=no_accounts()) as site,
        line(site.address[1]) as (relay, url),
        serving(fresh, accounts=no_accounts()) as empty,
    ):
        visitor = partial(Visit, url=url, backend=backend, relay=relay, empty=empty.url, fresh=fresh)
        await trio.to_thread.run_sync(visit, visitor)


def visit(make_visit: Callable[[Browser], Visit]) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        visitor = make_visit(browser)
        nothing_is_inaccessible_or_wider_than_the_screen(visitor)
        a_drawing_scrolls_in_its_own_box(visitor)
        times_are_in_the_readers_zone(visitor)
        the_stream_moves(visitor)
        a_row_made_by_the_script_is_that_of_the_server(visitor)
        a_change_leaves_selection_and_place_alone(visitor)
        a_page_fetched_before_a_change_does_not_undo_it(visitor)
        a_lost_connection_is_said_and_caught_up(visitor)
        the_first_status_of_all_appears_by_itself(visitor)
        what_may_be_out_of_date_says_so_while_it_is_open(visitor)
        a_keyboard_reaches_everything(visitor)
        motion_and_paper(visitor)
        without_script_the_page_is_complete(visitor)
        assert visitor.mistakes == []
        browser.close()


def nothing_is_inaccessible_or_wider_than_the_screen(visitor: Visit) -> None:
    said = trio.from_thread.run(visitor.backend.get_history, "ken", 5)
    paths = [
        "/",
        "/-/sign-in",
        "/api/docs",
        "/ken/history",
        f"/ken/at/{place(said[-1].since or EPOCH)}",
        "/?q=user",
        "/?by=name",
        "/?q=nobody+at+all",
        "/ken",
        "/long",
        f"/{'x' * 64}",
        "/zalgo",
        "/salma",
        "/adda",
    ]
    with visitor.page() as page:
        for path in paths:
            response = page.goto(visitor.url + path)
            assert response is not None
            for size in (PHONE, DESKTOP):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            page.evaluate(AXE)
            for scheme, rules in (("light", None), ("dark", ["color-contrast"])):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                options = {} if rules is None else {"runOnly": rules}
                found = page.evaluate("options => axe.run(document, options)", options)
                problems = [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
                assert problems == [], f"{path}, {scheme}"
            page.emulate_media(color_scheme="light")
    visitor.mistakes = [text for text in visitor.mistakes if "404" not in text]  # the last page is not found


def a_drawing_scrolls_in_its_own_box(visitor: Visit) -> None:
    with visitor.page("/ken", viewport=PHONE) as page:
        box = page.locator(".drawn").first
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        pre = box.locator("pre")
        lines = pre.inner_text().split("\n")
        height = pre.evaluate(
            "pre => pre.getBoundingClientRect().height / parseFloat(getComputedStyle(pre).lineHeight)"
        )
        assert abs(height - len(lines)) < 1.1, "it wraps"
        assert "mono" in pre.evaluate("pre => getComputedStyle(pre).fontFamily").lower()
        assert page.locator(".status").inner_text().replace("\n", "") == KEN.replace("\n", ""), "as it was written"
        box.focus()
        page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('.drawn').scrollLeft > 0")


def times_are_in_the_readers_zone(visitor: Visit) -> None:
    with visitor.page("/ada", timezone_id="Asia/Kolkata") as page:
        time = page.locator(".meta time").first
        moment = time.get_attribute("datetime")
        local = page.evaluate("text => new Date(text).toLocaleTimeString('en-GB').slice(0, 5)", moment)
        title = time.get_attribute("title")
        assert title is not None
        assert local in title
        assert "GMT+5:30" in title
        assert re.fullmatch(r"\d+ min ago", time.inner_text())
        assert title in page.locator(".meta .unseen").first.text_content() or ""  # type: ignore[operator]


def live(page: Page) -> None:
    page.locator(".state.live").wait_for()


def users(page: Page) -> Locator:
    return page.locator("main > ul > li > a")


def until(page: Page, condition: str) -> None:
    """Wait for a condition in JavaScript. Playwright's own function for this needs what the CSP forbids."""
    for _ in range(1000):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(condition)


def the_stream_moves(visitor: Visit) -> None:
    with visitor.page() as page:
        live(page)
        before = page.locator("main > ul > li").count()
        visitor.set("barbara", "🎉 Moved to the top: https://example.net/a_(b).")
        expect(users(page).first).to_have_text("barbara")
        assert page.locator("main > ul > li").count() == before
        row = page.locator("main > ul > li").first
        assert row.locator("time").first.inner_text() == "just now"
        assert row.locator("p a").get_attribute("href") == "https://example.net/a_(b)"
        visitor.set("newcomer", "Hello")
        expect(users(page).first).to_have_text("newcomer")
        trio.from_thread.run(visitor.backend.clear_user, "newcomer")
        expect(users(page).first).to_have_text("barbara")
        page.locator("main > ul > li > p").nth(1).click()
        page.wait_for_url(re.compile("/[a-z]+$"))
    with visitor.page("/?by=name") as page:
        live(page)
        visitor.set("ada", "Changed where she is")
        expect(page.locator("main > ul > li", has_text="Changed where she is")).to_have_count(1)
        assert users(page).first.inner_text() == "ada"


# A row without what depends on the present time, and with its link as the server writes it.
PRINT = """
    (row) => {
        const copy = row.cloneNode(true);
        copy.classList.remove("fresh");
        if (!copy.className) copy.removeAttribute("class");
        for (const time of copy.querySelectorAll("time")) {
            for (const name of ["title", "datetime"]) time.removeAttribute(name);
        }
        for (const part of copy.querySelectorAll("time, .unseen")) part.textContent = "";
        copy.firstElementChild.setAttribute("href", copy.firstElementChild.href);
        return copy.outerHTML;
    }
"""


def a_row_made_by_the_script_is_that_of_the_server(visitor: Visit) -> None:
    statuses = ["☕ Tea & <b>cake</b>\n\nmore\nlines", "é" * 400, "見てhttps://a.example/x。", "🇩🇪", "plain"]
    for status in statuses:
        with visitor.page() as page:
            live(page)
            visitor.set("ken", status)
            expect(users(page).first).to_have_text("ken")
            expect(page.locator("main > ul > li.fresh").first).to_be_attached()
            by_script = page.locator("main > ul > li").first.evaluate(PRINT)
            page.reload()
            assert page.locator("main > ul > li").first.evaluate(PRINT) == by_script
    visitor.set("ken", KEN)


SELECT = "node => getSelection().selectAllChildren(node)"


def a_change_leaves_selection_and_place_alone(visitor: Visit) -> None:
    with visitor.page("/ken", viewport={"width": 800, "height": 400}) as page:
        live(page)
        detail = page.locator("dd").first
        detail.evaluate(SELECT)
        heading = page.locator("#elsewhere")
        heading.scroll_into_view_if_needed()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        top = heading.bounding_box()
        visitor.set("ken", "Short now")
        expect(page.locator(".status")).to_have_text("Short now")
        assert page.evaluate("getSelection().toString()") == detail.inner_text()
        after = heading.bounding_box()
        assert top is not None
        assert after is not None
        room = page.evaluate("document.body.scrollHeight - innerHeight")
        assert abs(after["y"] - top["y"]) < 2 or page.evaluate("scrollY") in {0, room}, "as far as the page can scroll"
        page.locator(".status p").evaluate(SELECT)
        visitor.set("ken", "Waits for the reader")
        visitor.set("ada", "Time passes")
        page.wait_for_timeout(300)  # nothing is to be seen: it has arrived, and waits
        assert page.evaluate("getSelection().toString()") == "Short now"
        page.evaluate("getSelection().removeAllRanges()")
        expect(page.locator(".status")).to_have_text("Waits for the reader")
    visitor.set("ken", KEN)


def a_page_fetched_before_a_change_does_not_undo_it(visitor: Visit) -> None:
    with visitor.context() as context:
        page, held = context.new_page(), list[tuple[Route, APIResponse]]()

        def hold(route: Route) -> None:
            """An open page fetches itself once the feed begins."""
            if route.request.resource_type == "fetch":
                held.append((route, route.fetch()))
            else:
                route.continue_()

        page.route(f"{visitor.url}/", hold)
        page.goto(f"{visitor.url}/")
        while not held:
            page.wait_for_timeout(20)
        visitor.set("moshez", "Said while the page was on its way")
        expect(users(page).first).to_have_text("moshez")
        route, response = held.pop()
        route.fulfill(response=response)
        page.wait_for_timeout(300)  # nothing is to be seen: it has arrived
        expect(users(page).first).to_have_text("moshez")
        expect(page.locator("main > ul > li").first).to_contain_text("Said while the page was on its way")


HURRY = "const wait = setTimeout; setTimeout = (action, ms) => wait(action, ms / 20);"


def a_lost_connection_is_said_and_caught_up(visitor: Visit) -> None:
    with visitor.context() as context:
        page = context.new_page()
        page.add_init_script(HURRY)
        page.goto(visitor.url)
        live(page)
        visitor.relay.up = False
        trio.from_thread.run(visitor.relay.cut)
        page.get_by_text("Connection lost. Trying again …").wait_for()
        visitor.set("grace", "Said while nobody heard")
        visitor.relay.up = True
        live(page)
        expect(page.locator("main > ul > li", has_text="Said while nobody heard")).to_have_count(1)
        expect(users(page).first).to_have_text("grace")


def the_first_status_of_all_appears_by_itself(visitor: Visit) -> None:
    with visitor.page("/", url=visitor.empty, permissions=["clipboard-read", "clipboard-write"]) as page:
        live(page)
        page.get_by_role("button", name="Copy fingertrio set").click()
        page.get_by_text("Copied").wait_for()
        assert "fingertrio set" in page.evaluate("navigator.clipboard.readText()")
        trio.from_thread.run(visitor.fresh.set_user, "ada", "Hello")
        expect(users(page)).to_have_text(["ada"])


def what_may_be_out_of_date_says_so_while_it_is_open(visitor: Visit) -> None:
    with visitor.page("/ada") as page:
        live(page)
        visitor.backend.age = datetime(2026, 11, 29, 12, tzinfo=UTC)
        page.get_by_text("the source of this data is unavailable").wait_for()
        visitor.backend.age = None
        page.get_by_text("the source of this data is unavailable").wait_for(state="detached")


def a_keyboard_reaches_everything(visitor: Visit) -> None:
    with visitor.page() as page:
        press = page.keyboard.press
        press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
        for _ in range(3):  # the name of the site, Set your status, the search
            press("Tab")
        assert page.evaluate("document.activeElement.id") == "q"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.type("yuki")
        press("Enter")
        page.get_by_text("One match for").wait_for()
        page.locator("main > ul > li > a").first.focus()
        press("Tab")
        press("Shift+Tab")
        assert page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle") == "solid"
        press("Enter")
        page.get_by_role("heading", name="山田 雪").wait_for()
        page.go_back()
        page.get_by_text("One match for").wait_for()
        assert page.locator("#q").input_value() == "yuki"
        live(page)
        page.go_back()
        page.evaluate("scrollTo(0, 600)")
        page.locator("main > ul > li > a").nth(9).press("Enter")
        page.locator("article").wait_for()
        page.go_back()
        until(page, "scrollY === 600")


def motion_and_paper(visitor: Visit) -> None:
    with visitor.page(reduced_motion="reduce") as page:
        live(page)
        visitor.set("moshez", "Still")
        fresh = page.locator("li.fresh", has_text="Still")
        fresh.wait_for()
        assert fresh.evaluate("row => getComputedStyle(row).animationName") == "none"
        page.emulate_media(media="print", color_scheme="dark")
        assert not page.locator(".tools").is_visible()
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator("main > ul > li").first.evaluate("row => getComputedStyle(row).color") == "rgb(0, 0, 0)"


def without_script_the_page_is_complete(visitor: Visit) -> None:
    with visitor.page(java_script_enabled=False) as page:
        assert re.fullmatch(r"as of \d\d:\d\d UTC", page.locator("#state").inner_text())
        page.locator("#q").fill("yuki")
        page.keyboard.press("Enter")
        page.get_by_text("One match for").wait_for()
        page.get_by_text("Show everyone").click()
        page.get_by_text("older →").click()
        page.get_by_text("51 to 100 of").wait_for()
