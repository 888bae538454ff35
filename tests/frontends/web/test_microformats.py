"""What a parser of microformats2 reads in the pages: who it is, what was said, and which other pages are the user's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import mf2py

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.app import create_app
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from tests.frontends.web.people import HOUR, Person
from tests.frontends.web.programs import SITE, everything

_HOME = f"{SITE.url}/ada"
_OWN = "https://social.example/@ada"


@asynccontextmanager
async def parsing() -> AsyncIterator[Any]:
    """What reads a page as a parser on another machine does, and the backend."""
    async with everything() as site:
        client = site.app.test_client()

        async def parse(path: str) -> Any:
            html = await (await client.get(path)).get_data(as_text=True)
            return mf2py.parse(doc=html, url=f"{SITE.url}{path}")

        yield SimpleNamespace(page=parse, backend=site.service._backend)


def _only(items: list[Any], kind: str) -> Any:
    [found] = [item for item in items if item["type"] == [kind]]
    return found["properties"]


async def test_a_users_page_is_one_entry_by_one_person():
    async with parsing() as parse:
        page = await parse.page("/ada")
        assert [item["type"] for item in page["items"]] == [["h-entry"]]
        entry = _only(page["items"], "h-entry")
        assert entry["content"][0]["value"] == "☕ At lunch\nback at two"
        assert entry["url"][0].startswith(f"{_HOME}/at/")
        assert entry["published"][0].endswith("Z")
        author = _only(entry["author"], "h-card")
        assert (author["name"], author["url"], author["uid"]) == (["Ada Lovelace"], [_HOME], [_HOME])
        assert author["nickname"] == ["ada"]


async def test_a_permanent_address_is_the_same_entry():
    async with parsing() as parse:
        address = _only((await parse.page("/ada"))["items"], "h-entry")["url"][0]
        entry = _only((await parse.page(address.removeprefix(str(SITE.url))))["items"], "h-entry")
        assert entry["content"][0]["value"] == "☕ At lunch\nback at two"
        assert _only(entry["author"], "h-card")["url"] == [_HOME]


async def test_a_history_is_a_feed():
    async with parsing() as parse:
        [feed] = (await parse.page("/ada/history"))["items"]
        about = feed["properties"]
        assert (about["name"], about["url"]) == (["Ada Lovelace: history"], [f"{_HOME}/history"])
        assert _only(about["author"], "h-card")["url"] == [_HOME]
        entries = [child["properties"] for child in feed["children"]]
        assert [entry["summary"] for entry in entries] == [["☕ At lunch"], ["Weaving"]]
        assert all(entry["url"][0].startswith(f"{_HOME}/at/") and entry["published"] for entry in entries)


async def test_the_stream_is_a_feed_of_entries_by_their_authors():
    async with parsing() as parse:
        await parse.backend.set_user("robots.txt", "Beep")
        [feed] = (await parse.page("/"))["items"]
        assert (feed["type"], feed["properties"]) == (["h-feed"], {"name": [SITE.title]})
        robot, bob, ada = [child["properties"] for child in feed["children"]]
        assert ada["summary"] == ["☕ At lunch"]
        assert ada["published"][0].endswith("Z")
        assert "name" not in ada  # a note has none
        author = _only(ada["author"], "h-card")
        assert (author["name"], author["url"]) == (["Ada Lovelace"], [_HOME])
        assert _only(bob["author"], "h-card")["name"] == ["bob"]
        # The address of the entry is that of the page which has all of it, and where there is no such page, the user's.
        address = ada["url"][0].removeprefix(str(SITE.url))
        assert (
            _only((await parse.page(address))["items"], "h-entry")["content"][0]["value"] == "☕ At lunch\nback at two"
        )
        assert robot["url"] == _only(robot["author"], "h-card")["url"] == [f"{SITE.url}/api/users/robots.txt"]


async def test_in_the_list_by_name_a_user_without_a_status_is_a_person():
    async with parsing() as parse:
        await parse.backend.set_user("ada", "")
        [feed] = (await parse.page("/?by=name"))["items"]
        assert [child["type"] for child in feed["children"]] == [["h-card"], ["h-entry"]]


async def test_without_a_history_an_entry_has_the_address_of_its_author():
    async with FingerService.open(MemoryBackend({"ada": "Hello"})) as service:
        client = create_app(service, Observer()).test_client()
        html = await (await client.get("/")).get_data(as_text=True)
    [feed] = mf2py.parse(doc=html, url=f"{SITE.url}/")["items"]
    assert feed["children"][0]["properties"]["url"] == [_HOME]


async def test_a_page_of_nobody_is_no_feed():
    async with parsing() as parse:
        assert (await parse.page("/?q=nobody+at+all"))["items"] == []


async def test_a_user_without_a_status_is_a_person_who_says_nothing():
    async with parsing() as parse:
        await parse.backend.set_user("ada", "")
        assert [item["type"] for item in (await parse.page("/ada"))["items"]] == [["h-card"]]


async def test_an_address_that_is_all_of_a_detail_is_the_users_own():
    async with parsing() as parse:
        backend = parse.backend
        await backend.enter(
            Person("ada", f"see https://blog.example/{1}", HOUR, "Ada", details={"mastodon": _OWN, "a": f"or {_OWN}/2"})
        )
        assert (await parse.page("/ada"))["rels"].get("me") == [_OWN]
