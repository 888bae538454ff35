"""Feeds over HTTP: what is in them, stable ids, pages, and answers that need no body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import feedparser
import pytest
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import NO_PLAN, Recency, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web import feeds
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.feeds import Changes
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.site import Site
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeReader
from tests.wire.valid import check_atom, check_json_feed

BASE = "https://finger.example.org"
NOON = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)


class Historian(FakeReader):
    """Lists by time, and keeps a history."""

    def __init__(self, said: Mapping[str, Sequence[UserInfo]]) -> None:
        super().__init__({})
        self.said = said
        self.users = {user: statuses[0] for user, statuses in said.items()}

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        found = [info for info in self.said.get(user, ()) if before is None or (info.since or NOON) < before]
        return found[:limit]

    async def get_recent(self, limit: int, before: Recency | None) -> Sequence[UserInfo]:
        found = [info for info in self.users.values() if info.status]
        found.sort(key=lambda info: (-(info.since or NOON).timestamp(), info.user))
        if before is not None and before.since is not None:
            found = [i for i in found if ((i.since or NOON), before.user) < (before.since, i.user)]
        return found[:limit]


def said(user: str, *texts: str, name: str | None = None) -> list[UserInfo]:
    return [UserInfo(user, text, name, NOON - timedelta(hours=n)) for n, text in enumerate(texts)]


@asynccontextmanager
async def client(backend: Any, *, url: str | None = BASE) -> AsyncIterator[Any]:
    pages = Pages(lambda: Site(title="The House", url=url))
    async with FingerService.open(backend, observer=Observer()) as service:
        app = create_app(service, Observer(), pages=pages)
        yield app.test_client()


async def test_a_users_feed_is_the_history_with_permanent_ids() -> None:
    async with client(
        Historian({"ada": said("ada", "coffee", "", "tea\nand cake", NO_PLAN, name="Ada Lovelace")})
    ) as web:
        response = await web.get("/ada/feed.atom")
        assert response.headers["Content-Type"] == "application/atom+xml"
        found = feedparser.parse(await response.get_data())
        assert found.feed.title == "Ada Lovelace · The House"
        assert [entry.id for entry in found.entries] == [
            f"{BASE}/ada/at/20261129T120000.123456Z",
            f"{BASE}/ada/at/20261129T100000.123456Z",  # the one between was taken back; and NO_PLAN says nothing
        ]
        document = await (await web.get("/ada/feed.json")).get_json(force=True)
        assert [item["content_text"] for item in document["items"]] == ["coffee", "tea\nand cake"]
        twtxt = await (await web.get("/ada/twtxt.txt")).get_data(as_text=True)
        assert twtxt.splitlines()[-1] == "2026-11-29T12:00:00.123456Z\tcoffee"


async def test_everybodys_feed_is_the_newest_statuses_each_with_its_author() -> None:
    async with client(Historian({"ada": said("ada", "coffee"), "bob": said("bob", "")})) as web:
        document = await (await web.get("/-/feed.json")).get_json(force=True)
        assert document["title"] == "The House"
        assert [(item["content_text"], item["authors"][0]["url"]) for item in document["items"]] == [
            ("coffee", f"{BASE}/ada")
        ]


@pytest.mark.parametrize("user", ["ada", "bob", "-"])
async def test_what_is_sent_is_valid(user: str) -> None:
    backend = Historian({"ada": said("ada", "☕ <coffee>", "", "tea\nand & cake", name="Ada"), "bob": said("bob", "")})
    async with client(backend) as web:
        check_atom(await (await web.get(f"/{user}/feed.atom")).get_data())
        check_json_feed(await (await web.get(f"/{user}/feed.json")).get_data())


@pytest.mark.parametrize("path", ["/ada/feed.json", "/-/feed.json"])
async def test_every_entry_is_on_exactly_one_page(path: str) -> None:
    texts = [f"status {number}" for number in range(45)]
    backend = Historian({"ada": said("ada", *texts)})
    if path.startswith("/-/"):
        backend = Historian({f"user{n:02}": said(f"user{n:02}", text) for n, text in enumerate(texts)})
    async with client(backend) as web:
        found: list[str] = []
        where: str | None = path
        while where is not None:
            document = json.loads(await (await web.get(where)).get_data())
            found += [item["content_text"] for item in document["items"]]
            where = document.get("next_url", "").removeprefix(BASE) or None
        assert found == texts


@pytest.mark.parametrize("path", ["/ada/feed.atom?before=x", "/-/feed.json?before=x"])
async def test_a_place_that_is_none_is_refused(path: str) -> None:
    async with client(Historian({"ada": said("ada", "coffee")})) as web:
        assert (await web.get(path)).status_code == 400


async def test_a_hidden_user_has_no_feed() -> None:
    async with client(Historian({"ada": said("ada", "coffee")})) as web:
        for path in ("/bob/feed.atom", "/bob/feed.json", "/bob/twtxt.txt"):
            assert (await web.get(path)).status_code == 404


async def test_without_a_history_the_present_status_is_the_feed() -> None:
    reader = FakeReader({})
    reader.users = {"ada": UserInfo("ada", "coffee", since=NOON), "bob": UserInfo("bob", "no time")}
    async with client(reader) as web:
        assert len((await (await web.get("/ada/feed.json")).get_json(force=True))["items"]) == 1
        assert (await (await web.get("/bob/feed.json")).get_json(force=True))["items"] == []
        assert (await web.get("/-/feed.atom")).status_code == 404


async def test_without_a_configured_address_it_is_that_of_the_request() -> None:
    async with client(Historian({"ada": said("ada", "coffee")}), url=None) as web:
        document = await (await web.get("/ada/feed.json", headers={"Host": "here.example"})).get_json(force=True)
        assert document["feed_url"] == "http://here.example/ada/feed.json"


@pytest.mark.parametrize("path", ["/ada/feed.atom", "/-/feed.json", "/ada/twtxt.txt"])
async def test_an_unchanged_feed_is_not_sent_again(path: str) -> None:
    async with client(Historian({"ada": said("ada", "coffee")})) as web:
        first = await web.get(path)
        assert first.headers["Cache-Control"] == "public, max-age=300"
        assert first.headers["Access-Control-Allow-Origin"] == "*"
        for headers in (
            {"If-None-Match": first.headers["ETag"]},
            {"If-Modified-Since": first.headers["Last-Modified"]},
        ):
            assert (await web.get(path, headers=headers)).status_code == 304


def test_last_modified_changes_whenever_the_feed_does():
    now = NOON
    changes = Changes(lambda: now)
    first = changes.last("a", b"1")
    assert first == NOON.replace(microsecond=0)
    now += timedelta(hours=1)
    assert changes.last("a", b"1") == first
    second = changes.last("a", b"2")
    assert second == now.replace(microsecond=0)
    assert changes.last("a", b"3") is None  # in the same second: no date can tell the two apart
    now += timedelta(seconds=1)
    assert changes.last("a", b"3") == now.replace(microsecond=0)


async def test_a_feed_that_changes_twice_in_a_second_has_no_date_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date that stays the same would hide the second change from readers that ask by date, as libcurl does."""
    monkeypatch.setattr(feeds, "datetime", SimpleNamespace(now=lambda _zone: NOON))
    backend = MemoryBackend({})
    async with client(backend) as web:
        await backend.set_user("ada", "coffee")
        date = (await web.get("/ada/feed.atom")).headers["Last-Modified"]
        await backend.set_user("ada", "tea")
        await wait_all_tasks_blocked()
        changed = await web.get("/ada/feed.atom", headers={"If-Modified-Since": date})
        assert changed.status_code == 200
        assert b"tea" in await changed.get_data()
        assert "Last-Modified" not in changed.headers


def test_what_is_remembered_of_a_feed_does_not_depend_on_the_length_of_its_address():
    changes = Changes(lambda: NOON)
    for number in range(3):
        assert changes.last(f"{number}{'x' * 10_000}", b"") is not None
    assert all(len(feed) == 32 for feed in changes._seen)


async def test_pages_name_their_feeds() -> None:
    backend = Historian({"ada": said("ada", "coffee")})
    async with client(backend) as web:
        permalink = f"/ada/at/{NOON:%Y%m%dT%H%M%S.%fZ}"
        for path, root in (("/", "./-/"), ("/ada", "./ada/"), ("/ada/history", "../ada/"), (permalink, "../../ada/")):
            html = await (await web.get(path)).get_data(as_text=True)
            for kind, ending in (("application/atom+xml", "atom"), ("application/feed+json", "json")):
                assert f'<link rel="alternate" type="{kind}"' in html
                assert f'href="{root}feed.{ending}"' in html
