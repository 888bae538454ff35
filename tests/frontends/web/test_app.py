"""What all routes have in common: headers, failures, limits."""

from __future__ import annotations

import gzip
import io
import json
import xmlrpc.client
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import Backend, BackendError
from fingertrio.frontends.web.app import create_app
from fingertrio.net.limits import RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import serving
from tests.helpers import ANYONE

USERS = {"moshez": "Happy and well", "shawn": "Doing the laundry"}


@asynccontextmanager
async def application(backend: Backend | Mapping[str, str] = USERS) -> AsyncIterator[Any]:
    log = io.StringIO()
    observer = Observer(log, human=False)
    opened = FakeBackend(backend) if isinstance(backend, Mapping) else backend
    async with FingerService.open(opened, observer=observer) as service:
        app = create_app(service, observer)
        yield SimpleNamespace(app=app, client=app.test_client(), backend=opened, service=service, log=log)


EVERYWHERE = ["/", "/moshez", "/nobody", "/a/b", "/-/style.css", "/api/users", "/api/users/nobody", "/api/x", "/RPC2"]


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_every_response_keeps_the_browser_from_doing_more_than_show_it(path: str) -> None:
    async with application() as site:
        headers = (await site.client.get(path)).headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
            "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"]
        assert "Set-Cookie" not in headers


@pytest.mark.parametrize("path", ["/", "/moshez", "/api/users", "/api/users/moshez", "/-/style.css"])
async def test_what_has_not_changed_is_not_sent_again(path: str) -> None:
    async with application() as site:
        first = await site.client.get(path)
        again = await site.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304
        assert await again.get_data() == b""
        if path != "/-/style.css":
            await site.service.set_user("moshez", "In the garden", writer=ANYONE)
            await site.service.set_user("zoe", "new", writer=ANYONE)
            changed = await site.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
            assert changed.status_code == 200


@pytest.mark.parametrize("path", ["/", "/moshez", "/nobody", "/api/users/moshez", "/-/style.css"])
async def test_head_is_get_without_the_body(path: str) -> None:
    async with application() as site:
        get, head = await site.client.get(path), await site.client.head(path)
        assert head.status_code == get.status_code
        assert head.headers == get.headers


@pytest.mark.parametrize(
    ("path", "type_"), [("/moshez", "text/html"), ("/api/users/moshez", "application/problem+json")]
)
async def test_a_backend_that_fails_is_a_503_with_its_public_message(path: str, type_: str) -> None:
    async with application() as site:
        site.backend.failure = BackendError("The library burned down")
        response = await site.client.get(path)
        assert response.status_code == 503
        assert response.mimetype == type_
        assert response.headers["Retry-After"] == "5"
        assert "The library burned down" in await response.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/moshez", "/api/users/moshez"])
async def test_a_backend_that_crashes_tells_nothing_of_why(path: str) -> None:
    async with application() as site:
        site.backend.failure = OSError("secret")
        response = await site.client.get(path)
        assert response.status_code == 503
        text = await response.get_data(as_text=True)
        assert "Internal error in server" in text
        assert "secret" not in text


@pytest.mark.parametrize("path", ["/bug", "/api/bug/group"])
async def test_a_bug_is_a_500_that_tells_nothing_and_an_error_in_the_log(path: str) -> None:
    async with application() as site:

        @site.app.get("/bug")
        async def bug() -> None:
            raise LookupError("secret")

        @site.app.get("/api/bug/group")
        async def group() -> None:
            raise ExceptionGroup("several", [LookupError("secret"), ValueError("other")])

        response = await site.client.get(path)
        assert response.status_code == 500
        text = await response.get_data(as_text=True)
        assert "Internal error in server" in text
        assert "secret" not in text
        line = json.loads(site.log.getvalue())
        assert (line["event"], line["level"]) == ("http_handler_failed", "error")
        assert "secret" in line["exception"]


async def test_a_handler_that_takes_too_long_is_stopped(autojump_clock: MockClock) -> None:
    async with application() as site:

        @site.app.get("/api/slow")
        async def slow() -> None:
            await trio.sleep_forever()

        response = await site.client.get("/api/slow")
        assert response.status_code == 503
        assert trio.current_time() == pytest.approx(30)
        assert (await response.get_json(force=True))["detail"].startswith("The request took too long")


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
PATHS = ["/", "/moshez", "/nobody", "/-/style.css", "/api/users", "/api/users/moshez", "/api/watch", "/RPC2"]


@pytest.mark.parametrize("path", PATHS)
async def test_allow_is_true_at_every_path(path: str) -> None:
    """The methods that Allow names are those, and only those, that are not answered by 405."""
    async with serving() as site, httpx2.AsyncClient(base_url=site.url) as client:
        responses = {method: await client.request(method, path) for method in METHODS}
        allowed = {method for method, response in responses.items() if response.status_code != 405}
        for method, response in responses.items():
            if method not in allowed or method == "OPTIONS":
                assert {found.strip() for found in response.headers["Allow"].split(",")} == allowed, method


@pytest.mark.parametrize("path", ["/", "/moshez", "/a/b", "/api/users", "/api/x/y", "/RPC2"])
@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "get", "M-SEARCH"])
async def test_an_unknown_method_is_not_implemented_anywhere(path: str, method: str) -> None:
    request = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"  # httpx would write GET for get
    async with serving() as site:
        answer = (await site.ask(request.encode())).decode().lower()
        assert answer.startswith("http/1.1 501 ")
        assert "\nallow:" not in answer
        assert ("application/problem+json" in answer) == path.startswith("/api/")


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "nonsense"])
@pytest.mark.parametrize("path", ["/RPC2", "/api/users/moshez"])
async def test_a_compressed_body_is_refused_with_what_is_accepted(path: str, coding: str) -> None:
    call = xmlrpc.client.dumps(("moshez",), "getUser").encode()
    headers = {"Content-Type": "text/xml", "Content-Encoding": coding}
    async with serving() as site, httpx2.AsyncClient(base_url=site.url) as client:
        response = await client.post(path, content=gzip.compress(call), headers=headers)
        assert response.status_code == 415
        assert response.headers["Accept-Encoding"] == "identity"
        assert "Content-Encoding" in response.text
        plain = await client.post("/RPC2", content=call, headers=headers | {"Content-Encoding": "identity"})
        assert "Happy and well" in plain.text


@pytest.mark.parametrize("end", ["a%20b%22%3C", "%E6%97%A5", "%00", "%25", "a?b"])
async def test_the_instance_of_every_problem_is_a_uri_reference(end: str) -> None:
    path = f"/api/users/{end}"
    async with serving(rate=RateLimiter(rate=0.001, burst=3)) as site:
        async with httpx2.AsyncClient(base_url=site.url) as client:
            for method, status in (("GET", 404), ("POST", 405), ("BREW", 501), ("GET", 429)):
                response = await client.request(method, path)
                assert response.status_code == status
                assert response.json()["instance"] == path.partition("?")[0]


async def test_a_body_past_the_limit_is_refused() -> None:
    async with application() as site:
        response = await site.client.post("/RPC2", data=b"x" * 300_000, headers={"Content-Type": "text/xml"})
        assert response.status_code == 413


async def test_paths_that_nobody_has_are_404_in_the_form_of_their_neighbours() -> None:
    async with application() as site:
        for path, mimetype in (
            ("/a/b", "text/html"),
            ("/moshez/", "text/html"),
            ("/-/../app.py", "text/html"),
            ("/-/nothing", "text/html"),
            ("/api/", "application/problem+json"),
            ("/api/x/y", "application/problem+json"),
        ):
            response = await site.client.get(path)
            assert response.status_code == 404, path
            assert response.mimetype == mimetype
            assert "This page does not exist" in await response.get_data(as_text=True)


async def test_options_says_what_there_is() -> None:
    async with application() as site:
        response = await site.client.options("/moshez")
        assert response.status_code == 200
        assert "GET" in response.headers["Allow"]


async def test_xml_rpc_is_there() -> None:
    async with application() as site:
        call = xmlrpc.client.dumps(("moshez",), "getUser")
        response = await site.client.post("/RPC2", data=call.encode(), headers={"Content-Type": "text/xml"})
        assert b"Happy and well" in await response.get_data(as_text=False)
