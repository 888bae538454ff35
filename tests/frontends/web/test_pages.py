"""The pages: what a person, a browser and lynx get to see."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urldefrag, urljoin

import httpx2
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.stream import Stream
from fingertrio.frontends.web.text import href
from fingertrio.names import is_user_name
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend, FakeReader
from tests.frontends.web.kit import USERS, serving
from tests.frontends.web.people import PEOPLE, People
from tests.frontends.web.test_shared import body
from tests.helpers import Ageing

VOID = {"meta", "link", "br", "input"}


class ListingReader(FakeReader):
    """Lists too."""

    async def get_users(self) -> Sequence[str]:
        return list(self.users)


class Page(HTMLParser):
    """A page that was read to its end: every element closed, in order; its texts and links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        assert not [name for name in names if name.startswith("on") or name == "style"]
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag == "script":
            assert re.match(r"(\.\./)*(\./)?-/[a-z]+-[0-9a-f]{8}\.js", dict(attrs)["src"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert self.open[-1:] not in (["script"], ["style"]), "nothing inline"
        self.text += data


@asynccontextmanager
async def client(*infos: UserInfo, lists: bool = True) -> AsyncIterator[Any]:
    backend = (ListingReader if lists else FakeReader)({})
    backend.users = {info.user: info for info in infos}
    observer = Observer()
    async with FingerService.open(backend, observer=observer) as service:
        yield create_app(service, observer).test_client()


async def page(browser: Any, path: str, status: int = 200) -> tuple[str, Page]:
    response = await browser.get(path)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    html = await response.get_data(as_text=True)
    assert html.startswith('<!doctype html>\n<html lang="en">')
    read = Page(html)
    assert read.seen.count("title") == read.seen.count("h1") == read.seen.count("main") == 1
    for link in read.links:
        assert not link.startswith(("/", "//"))
    return html, read


async def test_the_list() -> None:
    async with client(UserInfo("moshez", "Happy and well"), UserInfo("shawn", "y")) as browser:
        html, read = await page(browser, "/")
        assert '<ul><li class="h-entry"><a href="moshez" class="p-author h-card">moshez</a>' in html
        assert '<a href="shawn" class="p-author h-card">shawn</a>' in html
        assert "Happy and well" in read.text


ADA = UserInfo(
    "ada",
    "☕ Coffee, then https://example.net\nand\nmore",
    name="Ada Lovelace",
    since=datetime(2026, 11, 2, 8, 5, 59, tzinfo=UTC),
    until=datetime(2999, 11, 24, tzinfo=UTC),
)


async def test_a_row_of_the_list_tells_who_what_and_when() -> None:
    async with client(ADA) as browser:
        html, read = await page(browser, "/")
        assert '<b class="name">Ada Lovelace</b>' in html
        assert '<span class="emoji">☕</span> Coffee, then <a href="https://example.net"' in html
        assert '<time datetime="2026-11-02T08:05:59Z" title="2 November 2026, 08:05 UTC" class="dt-published">' in html
        assert "until 24 Nov 2999 (24 November 2999, 00:00 UTC)" in read.text
        assert '<span class="more">+2 lines</span>' in html


async def test_the_list_is_searched_and_sorted_on_the_server() -> None:
    backend = FakeBackend({"zoe": "drinks coffee", "ada": "writes", "ken": "COFFEE too"})
    async with serving(backend) as site, httpx2.AsyncClient(base_url=site.url) as browser:

        async def users(path: str) -> list[str]:
            return re.findall(r'<li[^>]*><a href="([^"]*)"', (await browser.get(path)).text)

        assert sorted(await users("/?q=coffee")) == ["ken", "zoe"]
        assert await users("/?by=name") == ["ada", "ken", "zoe"]
        assert await users("/?by=name&q=AD") == ["ada"]
        nothing = (await browser.get("/", params={"q": "<b>&"})).text
        assert "Nobody matches" in nothing
        assert "&lt;b&gt;&amp;" in nothing


@pytest.mark.parametrize("by", ["", "name"])
async def test_every_user_is_on_one_page_and_the_pages_are_small(by: str) -> None:
    """Ten thousand users; the pages are followed by their links, as a reader does."""
    backend = FakeBackend({f"user{number:05}": "Busy with a number of things" for number in range(10_000)})
    async with serving(backend) as site, httpx2.AsyncClient(base_url=site.url) as browser:
        path: str | None = f"/?by={by}" if by else "/"
        seen: list[str] = []
        for _ in range(5):
            assert path is not None
            html = (await browser.get(path)).text
            assert len(html.encode()) < 60_000
            seen += re.findall(r'<li[^>]*><a href="([^"]*)"', html)
            found = re.search(r'rel="next" href="\./([^"]*)"', html)
            path = None if found is None else f"/{unescape(found[1])}"
        assert len(set(seen)) == len(seen) == 5 * 50
        assert 'rel="prev"' in html
        if by:  # the other list may still be being counted
            assert "201 to 250 of 10000" in html


async def test_a_page_of_the_widest_rows_is_small_too() -> None:
    now = datetime.now(UTC)
    infos = [
        UserInfo(f"{'x' * 60}{number:04}", "文" * 400, name="N" * 64, since=now, until=now + timedelta(days=1))
        for number in range(50)
    ]
    async with client(*infos) as browser:
        html, _ = await page(browser, "/")
        assert len(html.encode()) < 120_000


async def test_a_fresh_installation_says_how_to_set_the_first_status() -> None:
    async with serving(MemoryBackend({})) as site, httpx2.AsyncClient(base_url=site.url) as browser:
        html = (await browser.get("/")).text
        commands = [unescape(found) for found in re.findall(r"<code[^>]*>(.*?)</code>", html)]
        assert commands[0] == "fingertrio set Happy and well"
        assert commands[1].startswith('curl -H "Authorization: Bearer $(fingertrio token add $(whoami))" -d')
        assert f" {site.url}/api/users/$(whoami)/status" in commands[1]


@pytest.mark.parametrize("name", ["api", "RPC2", "robots.txt", "favicon.ico"])
async def test_a_reserved_name_is_in_the_list_and_found_as_json(name: str) -> None:
    async with client(UserInfo(name, "Happy and well")) as browser:
        html, _ = await page(browser, "/")
        assert f'<a href="api/users/{name}" class="p-author h-card">{name}</a>' in html
        found = await browser.get(f"/{name}")
        assert b"Happy and well" not in await found.get_data(as_text=False)
        assert (await (await browser.get(f"/api/users/{name}")).get_json())["status"] == "Happy and well"


async def test_every_visitor_gets_the_same_bytes() -> None:
    async with serving(USERS) as site, httpx2.AsyncClient(base_url=site.url) as browser:
        for path in ("/", "/moshez"):
            plain = await browser.get(path)
            other = await browser.get(path, headers={"Cookie": "fingertrio=x", "Accept-Language": "de"})
            assert plain.content == other.content
            assert "Set-Cookie" not in other.headers
            again = await browser.get(path, headers={"If-None-Match": plain.headers["ETag"]})
            assert again.status_code == 304


async def test_a_change_is_on_the_front_page_at_once() -> None:
    """Also where responses are repeated from memory, and once the list is in memory too."""
    backend = FakeBackend(USERS)
    async with serving(backend) as site, httpx2.AsyncClient(base_url=site.url) as browser:
        for number in range(20):
            await browser.get("/")
            await backend.set_user("moshez", f"number {number}")
            assert f'<span class="p-summary">number {number}</span>' in (await browser.get("/")).text
            assert f"<p>number {number}</p>" in (await browser.get("/moshez")).text


async def test_visitors_share_the_bytes_of_the_front_page() -> None:
    observer = Observer()
    async with (
        FingerService.open(FakeBackend(USERS), observer=observer) as service,
        trio.open_nursery() as nursery,
    ):
        stream = Stream(service, observer)
        await nursery.start(stream.run)
        assert await stream._index.wait(5), "the list is in memory"
        clock = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC)
        pages = Pages(clock=lambda: clock)
        app = create_app(service, observer, pages=pages, stream=stream)
        first, second = [await body(app, "/") for _ in range(2)]
        assert first is second
        clock += timedelta(minutes=1)
        assert await body(app, "/") is not first, "how long ago things are has changed"
        nursery.cancel_scope.cancel()


async def test_a_failure_says_what_to_do() -> None:
    backend = FakeBackend(USERS)
    async with FingerService.open(backend) as service:
        backend.failure = OSError("down")
        html, read = await page(create_app(service, Observer()).test_client(), "/moshez", 503)
        assert "Internal error in server" in read.text
        assert "Please try again in a moment." in read.text
        assert '<a class="button primary" href="">Try again</a>' in html


async def test_an_unknown_user_has_neighbours() -> None:
    async with client(UserInfo("moshez", "x"), UserInfo("ada", "y")) as browser:
        html, read = await page(browser, "/mosehz", 404)
        assert "<h1>Nobody here is called mosehz</h1>" in html
        assert '<a href="./moshez">moshez</a>' in html
        assert "ada" not in read.text


async def test_what_may_be_out_of_date_says_since_when() -> None:
    backend = Ageing({"moshez": "x"})
    backend.age = datetime(2026, 1, 1, 12, tzinfo=UTC)
    async with FingerService.open(backend) as service:
        browser = create_app(service, Observer()).test_client()
        for path in ("/", "/moshez"):
            html, read = await page(browser, path)
            assert "As of 1 January 2026, 12:00 UTC: the source of this data is unavailable." in read.text
            assert '<time datetime="2026-01-01T12:00:00Z">' in html


async def test_nobody() -> None:
    async with client() as browser:
        html, read = await page(browser, "/")
        assert "Nobody has said anything yet" in read.text
        assert "<ul>" not in html


async def test_a_backend_without_a_list_says_how_to_find_somebody_all_the_same() -> None:
    async with client(UserInfo("moshez", "x"), lists=False) as browser:
        html, read = await page(browser, "/")
        assert "This server does not list its users" in read.text
        assert "api/users" not in html
        await page(browser, "/moshez")


async def test_a_user() -> None:
    async with client(UserInfo("moshez", "Happy and well")) as browser:
        html, _ = await page(browser, "/moshez")
        assert "<h1>moshez</h1>" in html
        assert "<p>Happy and well</p>" in html
        assert "<title>moshez · fingertrio</title>" in html
        assert "<dl>" not in html


async def test_all_that_is_known_of_a_user() -> None:
    ada = UserInfo(
        "ada",
        "On leave.\r\n\r\n  Plan:\n\x1b[31mnotes\u202e\n",
        name="Ada\nLovelace",
        since=datetime(2026, 11, 2, 8, 5, 59, tzinfo=UTC),
        until=datetime(2999, 11, 24, tzinfo=UTC),
        details={"project": "The Engine", "home": "https://example.net/?a=1&b=2", "pubkey": "ssh-rsa A\nssh-rsa B"},
    )
    async with client(ada) as browser:
        html, read = await page(browser, "/ada")
        assert "<pre>\nOn leave.\n\n  Plan:\nnotes</pre>" in html
        assert "<h1>Ada Lovelace</h1>" in html
        assert '<time datetime="2026-11-02T08:05:59Z" title="2 November 2026, 08:05 UTC" class="dt-published">' in html
        assert '<time datetime="2999-11-24T00:00:00Z" title="24 November 2999, 00:00 UTC">24 Nov 2999</time>' in html
        assert "<dt>Project</dt>" in html
        assert "<summary>ssh-rsa, 2 lines</summary>" in html
        assert "ssh-rsa A<br>ssh-rsa B" in html
        assert "https://example.net/?a=1&b=2" in read.links


HOSTILE = "\"><script>alert(1)</script><a href='javascript:x' onclick=y>{{ 7 * 7 }}&lt;"


async def test_whatever_a_user_says_is_text() -> None:
    info = UserInfo(
        "moshez", HOSTILE, name=HOSTILE, details={HOSTILE: HOSTILE, "home": "javascript:alert(1)", "x": "http://a b"}
    )
    async with client(info) as browser:
        _, read = await page(browser, "/moshez")
        assert read.text.count("{{ 7 * 7 }}&lt;") == 5
        assert not [link for link in read.links if "javascript" in link]
        assert [link for link in read.links if link.startswith("http")] == ["http://a"]


async def test_whatever_was_asked_is_text() -> None:
    async with client() as browser:
        _, read = await page(browser, "/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%1B%0A", 404)
        assert '"><script>alert(1)</script>' in read.text
        assert "\x1b" not in read.text


async def test_an_unknown_user_is_a_404() -> None:
    async with client() as browser:
        html, _ = await page(browser, "/nobody", 404)
        assert "<p>No such user</p>" in html


@pytest.mark.parametrize(
    "name", ["static", "style.css", "ada.atom", "history", "at", "feed.json", "index", "users", "_", "日本", "a+b$c"]
)
async def test_no_route_takes_a_users_name(name: str) -> None:
    async with client(UserInfo(name, "Happy and well")) as browser:
        html, _ = await page(browser, "/")
        assert f'href="{quote(name, safe="")}"' in html
        html, _ = await page(browser, f"/{quote(name)}")
        assert f"<h1>{name}</h1>" in html


@pytest.mark.parametrize("path", ["/", "/moshez", "/nobody", "/a/b/c", "/-/", "/moshez/"])
async def test_the_links_of_every_page_lead_somewhere(path: str) -> None:
    async with client(UserInfo("moshez", "x")) as browser:
        html = await (await browser.get(path)).get_data(as_text=True)
        links = Page(html).links
        assert len(links) >= 3
        for link in links:
            if link.startswith("#"):
                assert f'id="{link[1:]}"' in html
                continue
            response = await browser.get(urldefrag(urljoin(f"http://test{path}", link)).url.removeprefix("http://test"))
            assert response.status_code == 200, link


async def test_what_the_pages_are_made_of() -> None:
    async with client() as browser:
        style = await browser.get("/-/style.css")
        assert style.mimetype == "text/css"
        assert style.headers["Cache-Control"] == "public, max-age=3600"
        assert "url(" not in await style.get_data(as_text=True)
        assert (await browser.get("/-/icon.svg")).mimetype == "image/svg+xml"


@given(st.text(min_size=1, max_size=64).filter(is_user_name))
@settings(deadline=None)
def test_a_link_to_a_user_leads_to_that_user(name: str) -> None:
    url = httpx2.URL(urljoin("http://test/", href(name)))
    assert (url.host, url.path, url.query) == ("test", f"/{name}", b"")


TEXT_BROWSERS = {
    "lynx": ["-dump", "-nolist", "-display_charset=utf-8"],
    "elinks": ["-dump", "-no-references", "-dump-charset", "utf-8", "-no-home"],
}


@pytest.mark.parametrize("program", TEXT_BROWSERS)
async def test_a_browser_for_text_shows_everything(program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} (Debian package {program})")
    backend = People()
    await backend.enter(*PEOPLE)
    async with serving(backend) as site:

        async def read(path: str) -> list[str]:
            command = [program, *TEXT_BROWSERS[program], f"{site.url}{path}"]
            done = await trio.run_process(command, capture_stdout=True, check=False, env={"HOME": str(tmp_path)})
            return [line.strip() for line in done.stdout.decode().splitlines()]

        stream = "\n".join(await read("/"))
        for shown in ("ada", "Ada Lovelace", " min ago", "analytical engine", "雪が降っている", "+18 lines", "until"):
            assert shown in stream
        lines = await read("/ken")
        drawing = lines.index("> ^ <        '-------------------'")
        assert lines[drawing - 1].startswith("( o.o )  ---> |"), "columns are kept"
        assert any("Public key" in line for line in lines)
        assert any("All that was said" in line for line in lines)
        assert any("Release notes" in line for line in await read("/ken/history"))
        assert any("Did you mean" in line for line in await read("/kem"))


async def test_over_http() -> None:
    async with serving(USERS) as site, httpx2.AsyncClient(base_url=site.url) as browser:
        assert '<a href="moshez" class="p-author h-card">moshez</a>' in (await browser.get("/")).text
        assert "<p>Happy and well</p>" in (await browser.get("/moshez")).text
        assert (await browser.get("/nobody")).status_code == 404
    assert site.observer.metrics.queries == {("http", "list"): 1, ("http", "ok"): 1, ("http", "unknown"): 1}
