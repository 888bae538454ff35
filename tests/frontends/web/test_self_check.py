"""The web front end reads everything it needs when it is imported, and can tell whether it is able to answer."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import trio
from jinja2 import Template

from fingertrio.frontends.web import rendering
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.self_check import check_app
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import USERS, serving

# As after the privileges were dropped: no file of Python, its packages or ours can be opened any more.
PROGRAM = """
import sys

import trio

from fingertrio.config.plugins import find_frontends
from fingertrio.server.preload import preload

find_frontends(["http"])
preload()

from tests.frontends.web.kit import USERS, serving

REQUESTS = {requests!r}


def forbid(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and "python" in arguments[0] + sys.prefix:
        if not arguments[0].startswith(("/proc", "/dev")):
            raise PermissionError(13, "forbidden by the test", arguments[0])


async def main():
    sys.addaudithook(forbid)
    async with serving(USERS) as site:
        await site.door.check()
        for request in REQUESTS:
            answer = await site.ask(request)
            print(answer.split()[1].decode(), request.split()[1].decode())


trio.run(main)
"""


def request(path: str, *, method: str = "GET", body: bytes = b"", kind: str = "text/xml") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def call(encoding: str, kind: str = "text/xml") -> bytes:
    text = f'<?xml version="1.0" encoding="{encoding}"?><methodCall><methodName>getUsers</methodName></methodCall>'
    return request("/RPC2", method="POST", body=text.encode(), kind=kind)


REQUESTS = [
    *map(request, ["/", "/moshez", "/nobody", "/a/b", "/-/style.css", "/-/icon.svg", "/api/watch", "/RPC2"]),
    *map(request, ["/api/users", "/api/users/moshez", "/api/users/nobody", "/api/watch?user=moshez"]),
    request("/", method="POST"),
    request("/", method="BREW"),
    request("/", method="OPTIONS"),
    request("/RPC2", method="POST", kind="multipart/form-data; boundary=x"),
    request("/RPC2", method="POST", kind="application/x-www-form-urlencoded", body=b"x=1"),
    request("/RPC2", method="POST", body=b"junk"),
    call("UTF-8"),
    call("ISO-8859-1"),
    call("UTF-8", kind="text/xml; charset=iso-8859-1"),
]


def test_no_request_needs_a_file_that_was_readable_only_at_the_start():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(requests=REQUESTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == len(REQUESTS)
    assert not [answer for answer in answers if answer.startswith("5") and not answer.startswith("501")]


async def test_a_front_end_that_works_passes_its_check():
    async with serving(USERS) as site:
        await site.door.check()
        assert site.observer.metrics.queries == {}, "a check is no query"
        assert site.log.getvalue() == ""


@pytest.mark.parametrize("template", ["error.html", "user.html", "stream.html", "history.html", "at.html"])
async def test_a_template_that_fails_is_found(template: str, monkeypatch: pytest.MonkeyPatch):
    broken = Template("{{ 1 // 0 }}")
    right = rendering._environment.get_template
    monkeypatch.setattr(
        rendering._environment, "get_template", lambda name, *rest: broken if name == template else right(name, *rest)
    )
    async with serving(USERS) as site:
        with pytest.raises((ZeroDivisionError, ExceptionGroup)):
            await site.door.check()


async def test_an_application_that_answers_with_an_error_is_found():
    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})

    with pytest.raises(RuntimeError, match="500"):
        await check_app(broken)


async def test_the_check_needs_no_backend():
    backend = FakeBackend(USERS)
    backend.failure = OSError("down")
    async with FingerService.open(backend) as service:
        await check_app(create_app(service, Observer()))
        await trio.lowlevel.checkpoint()
    assert not backend.calls
