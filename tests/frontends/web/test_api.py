"""The JSON interface: its shape is a promise to programs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx2
import pytest

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.app import create_app
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend, FakeReader
from tests.frontends.web.kit import serving
from tests.helpers import Ageing

ADA = UserInfo(
    "ada",
    "On leave.\r\n\r\n\x1b[31mPlan\u202e:\n  é 日本\n",
    name="Ada\nLovelace",
    since=datetime(2026, 11, 22, 18, 30, tzinfo=timezone(timedelta(hours=2))),
    until=datetime(2999, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC),
    details={"project": "The\x07 Engine", "pronouns": "she/her"},
)


class ListingReader(FakeReader):
    """Lists too."""

    async def get_users(self) -> Sequence[str]:
        return list(self.users)


@asynccontextmanager
async def client(*infos: UserInfo, lists: bool = True) -> AsyncIterator[Any]:
    backend = (ListingReader if lists else FakeReader)({})
    backend.users = {info.user: info for info in infos}
    observer = Observer()
    async with FingerService.open(backend, observer=observer) as service:
        yield create_app(service, observer).test_client()


async def test_a_user_with_everything() -> None:
    async with client(ADA) as api:
        response = await api.get("/api/users/ada")
        assert response.headers["Content-Type"] == "application/json"
        assert await response.get_json() == {
            "user": "ada",
            "status": "On leave.\n\nPlan:\n  é 日本\n",
            "emoji": None,
            "line": "On leave.",
            "name": "Ada Lovelace",
            "since": "2026-11-22T16:30:00Z",
            "until": "2999-01-01T00:00:00.250000Z",
            "details": {"project": "The Engine", "pronouns": "she/her"},
            "stale_since": None,
        }
        assert "é 日本" in (await response.get_data(as_text=False)).decode()


async def test_a_user_with_nothing_else_has_the_same_members() -> None:
    async with client(UserInfo("moshez", "Happy and well")) as api:
        assert await (await api.get("/api/users/moshez")).get_json() == {
            "user": "moshez",
            "status": "Happy and well",
            "emoji": None,
            "line": "Happy and well",
            "name": None,
            "since": None,
            "until": None,
            "details": {},
            "stale_since": None,
        }


async def test_the_list_says_where_each_user_is() -> None:
    async with client(UserInfo("moshez", "x"), UserInfo("a+b$c", "y"), UserInfo("日本", "z")) as api:
        listed = await (await api.get("/api/users")).get_json()
        assert listed == {
            "users": [
                {"user": "moshez", "url": "/api/users/moshez"},
                {"user": "a+b$c", "url": "/api/users/a%2Bb%24c"},
                {"user": "日本", "url": "/api/users/%E6%97%A5%E6%9C%AC"},
            ],
            "stale_since": None,
        }
        for entry in listed["users"]:
            assert (await (await api.get(entry["url"])).get_json())["user"] == entry["user"]


async def test_nobody_is_an_empty_list() -> None:
    async with client() as api:
        assert await (await api.get("/api/users")).get_json() == {"users": [], "stale_since": None}


async def test_what_may_be_out_of_date_says_since_when() -> None:
    backend = Ageing({"moshez": "x"})
    backend.age = datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    async with FingerService.open(backend) as service:
        api = create_app(service, Observer()).test_client()
        for path in ("/api/users", "/api/users/moshez"):
            assert (await (await api.get(path)).get_json())["stale_since"] == "2026-01-01T12:00:00Z"


async def test_no_list_is_a_problem_of_the_asker() -> None:
    async with client(ADA, lists=False) as api:
        response = await api.get("/api/users")
        assert response.status_code == 404
        assert (await response.get_json(force=True))["detail"] == "This server does not list its users"


@pytest.mark.parametrize("name", ["nobody", "-l", "%7Cid", "a b", "x" * 200, "%00", "%FF", "..", "a%0d%0ab"])
async def test_an_unknown_user_is_a_problem_document(name: str) -> None:
    async with client(ADA) as api:
        response = await api.get(f"/api/users/{name}")
        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = await response.get_json(force=True)
        assert problem.pop("instance").startswith("/api/users/")
        assert problem == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "No such user"}


async def test_the_instance_of_a_problem_is_a_uri_reference() -> None:
    async with client() as api:
        problem = await (await api.get("/api/users/a%20%E6%97%A5%22")).get_json(force=True)
        assert problem["instance"] == "/api/users/a%20%E6%97%A5%22"


@pytest.mark.parametrize("path", ["/api/users", "/api/users/ada", "/api/users/nobody", "/api/x/y"])
async def test_other_sites_may_ask(path: str) -> None:
    async with client(ADA) as api:
        assert (await api.get(path)).headers["Access-Control-Allow-Origin"] == "*"


async def test_other_sites_may_not_read_the_pages() -> None:
    async with client(ADA) as api:
        assert "Access-Control-Allow-Origin" not in (await api.get("/ada")).headers


async def test_nothing_is_set_here() -> None:
    backend = FakeBackend({"moshez": "Happy and well"})
    observer = Observer()
    async with FingerService.open(backend, observer=observer) as service:
        api = create_app(service, observer).test_client()
        for method in ("post", "put", "patch", "delete"):
            for path in ("/api/users", "/api/users/moshez"):
                assert (await getattr(api, method)(path, data=b"x")).status_code == 405
    assert not backend.calls


async def test_over_http() -> None:
    async with serving({"moshez": "Häppy"}) as site, httpx2.AsyncClient(base_url=site.url) as browser:
        response = await browser.get("/api/users/moshez")
        assert response.json()["status"] == "Häppy"
        missing = await browser.get("/api/users/nobody")
        assert missing.status_code == 404
        assert json.loads(missing.content)["status"] == 404
    assert site.observer.metrics.queries == {("http", "ok"): 1, ("http", "unknown"): 1}
