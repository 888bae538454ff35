"""Statuses in pages, for programs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import typing as quart_typing

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.app import create_app
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend, FakeReader
from tests.frontends.web.kit import serving

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Names(FakeReader):
    async def get_users(self) -> Sequence[str]:
        return list(self.users)


class Historian(MemoryBackend):
    """Remembers what it is told to."""

    past: Sequence[UserInfo] = ()

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return [
            info for info in self.past if info.user == user and (before is None or (info.since and info.since < before))
        ][:limit]


@asynccontextmanager
async def client(backend: Any) -> AsyncIterator[quart_typing.TestClientProtocol]:
    async with FingerService.open(backend) as service:
        yield create_app(service, Observer()).test_client()


async def get(api: quart_typing.TestClientProtocol, path: str) -> Any:
    response = await api.get(path)
    assert response.status_code == 200, await response.get_data(as_text=True)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    return await response.get_json()


async def test_the_newest_come_first_each_as_by_itself():
    backend = MemoryBackend({"ada": "Weaving", "bob": "Out"})
    await backend.set_user("bob", "\u2615 at lunch\nback at two")
    async with client(backend) as api:
        document = await get(api, "/api/statuses")
        assert [found["user"] for found in document["statuses"]] == ["bob", "ada"]
        bob = await get(api, "/api/users/bob")
        assert document == {"statuses": [{**bob}, document["statuses"][1]], "next": None, "stale_since": None} | {
            "statuses": [{key: value for key, value in bob.items() if key != "stale_since"}, document["statuses"][1]]
        }
        assert (bob["emoji"], bob["line"]) == ("\u2615", "at lunch")


async def test_pages_follow_each_other_and_survive_changes():
    backend = MemoryBackend({f"u{number}": "x" for number in range(7)})
    await backend.set_user("zo\u00eb", "x")
    async with client(backend) as api:
        found, path = [], "/api/statuses?limit=3"
        while True:
            document = await get(api, path)
            found += [status["user"] for status in document["statuses"]]
            if document["next"] is None:
                break
            await backend.set_user(found[-1], "moved to the front")
            path = f"/api/statuses?limit=3&before={document['next']}"
        assert found == ["zo\u00eb", *(f"u{number}" for number in range(7))]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=0000000000000",
        "limit=x",
        "limit=",
        "limit=%D9%A3",
        "before=x",
        "before=12",
        "before=9.",
    ],
)
async def test_what_cannot_be_a_page_is_refused_with_the_reason(query: str):
    async with client(MemoryBackend({"ada": "x"})) as api:
        response = await api.get(f"/api/statuses?{query}")
        assert response.status_code == 400
        assert query.partition("=")[0] in (await response.get_json())["detail"]


async def test_a_large_limit_is_the_largest():
    async with client(MemoryBackend({f"u{number}": "x" for number in range(150)})) as api:
        for limit in ("1000", "9" * 5000, "00000000000200"):
            assert len((await get(api, f"/api/statuses?limit={limit}"))["statuses"]) == 100


async def test_other_backends_list_by_name():
    async with client(Names({"Zed": "z", "ada": "a", "bob": ""})) as api:
        document = await get(api, "/api/statuses?limit=2")
        assert [status["user"] for status in document["statuses"]] == ["ada", "bob"]
        document = await get(api, f"/api/statuses?limit=2&before={document['next']}")
        assert ([status["user"] for status in document["statuses"]], document["next"]) == (["Zed"], None)


async def test_without_a_list_there_is_none():
    async with client(FakeReader({"ada": "a"})) as api:
        response = await api.get("/api/statuses")
        assert response.status_code == 404


async def test_a_page_is_made_once_until_something_changes():
    backend = FakeBackend({"ada": "x"})
    async with serving(backend) as site:
        for _ in range(3):
            assert b'"line": "x"' in await site.get("/api/statuses")
        assert backend.calls["get_recent"] == 1
        await backend.set_user("ada", "y")
        assert b'"line": "y"' in await site.get("/api/statuses")


async def test_the_history_of_one_user():
    backend = Historian({"ada": "x"})
    info = await backend.set_user("ada", "\u2615 now")
    assert info.since is not None
    times = [info.since - timedelta(days=number) for number in range(5)]
    backend.past = [
        replace(info, since=when, until=None if when == info.since else when + timedelta(1)) for when in times
    ]
    async with client(backend) as api:
        document = await get(api, "/api/users/ada/history?limit=3")
        assert document["user"] == "ada"
        assert document["stale_since"] is None
        assert list(document["statuses"][0]) == ["status", "emoji", "line", "since", "until"]
        assert (document["statuses"][0]["emoji"], document["statuses"][0]["until"]) == ("\u2615", None)
        assert document["next"] == document["statuses"][2]["since"]
        document = await get(api, f"/api/users/ada/history?limit=3&before={document['next']}")
        assert (len(document["statuses"]), document["next"]) == (2, None)
        # A plus sign in a query is a space.
        before = times[3].astimezone().isoformat().replace("-00:00", "+00:00")
        assert len((await get(api, f"/api/users/ada/history?before={before}"))["statuses"]) == 1


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/api/users/nobody/history", 404, "No such user"),
        ("/api/users/ada/history?before=yesterday", 400, "before is not a time"),
        ("/api/users/ada/history?before=2026-03-01T12:00:00", 400, "before is not a time"),
        ("/api/users/ada/history?limit=0", 400, "limit"),
    ],
)
async def test_what_has_no_history(path: str, status: int, reason: str):
    async with client(Historian({"ada": "x"})) as api:
        response = await api.get(path)
        assert response.status_code == status
        assert reason in (await response.get_json())["detail"]


async def test_a_user_whose_status_has_ended_has_no_history_either():
    """Nothing shows more of a user than the user's page does."""
    backend = Historian({})
    backend.past = [UserInfo("ada", "x", since=MOMENT)]
    async with client(backend) as api:
        assert (await api.get("/api/users/ada/history")).status_code == 404


async def test_where_no_history_is_kept_that_is_said():
    async with client(MemoryBackend({"ada": "x"})) as api:
        response = await api.get("/api/users/ada/history")
        assert response.status_code == 404
        assert "keeps no earlier statuses" in (await response.get_json())["detail"]
