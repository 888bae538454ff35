"""Text for those who ask for it, pages for everybody else."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.negotiation import wants_text
from tests.frontends.web.test_pages import client

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("agent", "accept", "text"),
    [
        ("curl/8.5.0", "*/*", True),
        ("curl/8.5.0", None, True),
        ("curl/8.5.0", "text/html", False),
        ("curl/8.5.0", "application/json", False),
        ("curl/8.5.0", "application/xml;q=0.9, */*;q=0", False),
        (FIREFOX, BROWSER, False),
        ("Mastodon/4.4 (http.rb)", "*/*", False),
        ("Mastodon/4.4 (http.rb)", None, False),
        ("Feedly", "*/*", False),
        ("notcurl/1", "*/*", False),
        ("anything", "text/plain", True),
        ("anything", "TEXT/Plain, */*;q=0.1", True),
        ("anything", "text/plain;q=0.5, text/html", False),
        ("anything", "text/html;q=0.5, text/plain;q=0.9", True),
        ("anything", "text/plain;q=0", False),
        ("anything", "text/*", False),
        ("anything", ";;;", False),
    ],
)
def test_text_is_for_those_who_ask_for_it(agent: str, accept: str | None, text: bool):
    fields = {"User-Agent": agent} | ({} if accept is None else {"Accept": accept})
    assert wants_text(Headers(fields)) is text


async def test_curl_prints_the_status() -> None:
    async with client(UserInfo("ada", "coffee\n\n  \x1b[31mthen\tcake\n"), UserInfo("bob", "")) as web:
        for user, expected in (("ada", "coffee\n\n  then\tcake\n"), ("bob", "No Plan.\n")):
            response = await web.get(f"/{user}", headers={"User-Agent": "curl/8.5.0", "Accept": "*/*"})
            assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert await response.get_data(as_text=True) == expected
        unknown = await web.get("/nobody", headers={"User-Agent": "curl/8.5.0"})
        assert (unknown.status_code, await unknown.get_data(as_text=True)) == (404, "No such user\n")


async def test_both_say_on_what_they_depend() -> None:
    async with client(UserInfo("ada", "coffee")) as web:
        etags = set()
        for agent in (FIREFOX, "curl/8.5.0"):
            for path in ("/ada", "/nobody"):
                response = await web.get(path, headers={"User-Agent": agent})
                assert set(response.headers["Vary"].split(", ")) == {"Accept", "User-Agent"}
                etags.add(response.headers.get("ETag"))
        assert len(etags) == 3  # one for each form, none for errors
