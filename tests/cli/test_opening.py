"""`fingertrio serve --open`: when a browser is started, with what, and what is said otherwise."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fingertrio.cli import opening
from fingertrio.cli.opening import advice, front_page, obstacle, open_front_page
from fingertrio.observe.observer import Observer
from fingertrio.testing.process import COMMAND
from fingertrio.testing.program import running

PAGE = "http://127.0.0.1:8000/"
SSH = {"SSH_CONNECTION": "192.0.2.9 5022 192.0.2.1 22", "USER": "ada"}


@pytest.mark.parametrize(
    ("addresses", "public", "page"),
    [
        (["http://127.0.0.1:8000"], None, PAGE),
        (["unix:/run/x", "http://0.0.0.0:8000"], "https://finger.example.org", PAGE),
        (["http://[::]:80"], None, "http://[::1]:80/"),
        (["https://127.0.0.1:443"], "https://finger.example.org", "https://finger.example.org/"),
        (["unix:/run/x"], "https://finger.example.org", None),
    ],
)
def test_the_page_is_on_this_machine_unless_a_certificate_names_another(
    addresses: Sequence[str], public: str | None, page: str | None
):
    assert front_page({"finger": ["127.0.0.1:79"], "http": addresses}, public) == page


@pytest.mark.parametrize(
    ("uid", "environ", "reason"),
    [
        (0, {"DISPLAY": ":0", "BROWSER": "x"}, "no browser is started as root"),
        (1000, {}, "there is no display"),
        (1000, {"DISPLAY": ":0"}, None),
        (1000, {"WAYLAND_DISPLAY": "wayland-0"}, None),
        (1000, {"DISPLAY": "localhost:10", **SSH}, "over ssh, the browser is on your machine"),
        (1000, {"BROWSER": "/vscode/helper", **SSH}, None),
    ],
)
def test_a_browser_is_started_where_a_person_sees_it_and_never_as_root(
    uid: int, environ: Mapping[str, str], reason: str | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert obstacle(environ) == reason


@pytest.mark.parametrize(
    ("page", "environ", "text"),
    [
        (PAGE, {}, f"open {PAGE}"),
        (PAGE, SSH, "run ssh -N -L 8000:127.0.0.1:8000 ada@192.0.2.1 on your machine and open http://localhost:8000/"),
        (
            "http://[::1]:80/",
            SSH,
            "run ssh -N -L '8080:[::1]:80' ada@192.0.2.1 on your machine and open http://localhost",
        ),
        ("https://finger.example.org/", SSH, "open https://finger.example.org/"),
    ],
)
def test_over_ssh_the_tunnel_is_said(page: str, environ: Mapping[str, str], text: str):
    assert advice(page, environ).startswith(text)


def opened(reason: str | None, addresses: Sequence[str], *, human: bool = False) -> str:
    stream = io.StringIO()
    observer = Observer(stream, human=human)
    thread = open_front_page(observer, {"http": addresses}, None, reason)
    if thread is not None:
        thread.join()
    return stream.getvalue()


def test_what_is_said_is_a_line_for_people_or_an_event(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert opened("there is no display", ["http://127.0.0.1:8000"], human=True) == (
        f"Front page: there is no display; open {PAGE}\n\n"
    )
    event = json.loads(opened("there is no display", ["http://127.0.0.1:8000"]))
    assert (event["event"], event["reason"], event["next"]) == ("front_page", "there is no display", f"open {PAGE}")
    assert "there is none; add [http] with a TCP address" in opened(None, [], human=True)


def test_the_browser_gets_the_address_and_none_of_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nenv > {tmp_path}/environ\nprintf "%s" "$1" > {tmp_path}/page\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    monkeypatch.setenv("FINGERTRIO_BACKEND__URL", "redis://:geheim@127.0.0.1")
    assert opened(None, ["http://127.0.0.1:8000"]) == ""
    assert (tmp_path / "page").read_text() == PAGE
    assert "geheim" not in (tmp_path / "environ").read_text()
    monkeypatch.setattr(opening, "_OPEN", "raise SystemExit(1)")  # webbrowser would try every other browser
    assert "no browser could be started" in opened(None, ["http://127.0.0.1:8000"])


def test_the_program_says_where_its_page_is_when_it_is_ready():
    """As root; for another user, without a display."""
    listen = {f"FINGERTRIO_{door}__LISTEN": "127.0.0.1:0" for door in ("FINGER", "SETTER", "HTTP")}
    environ = {
        **listen,
        "FINGERTRIO_BACKEND__USE": "memory",
        "BROWSER": "",
        "SSH_CONNECTION": "",
        "DISPLAY": "",
        "WAYLAND_DISPLAY": "",
    }
    with running(None, command=[*COMMAND, "serve", "--open"], environ=environ) as program:
        event = program.wait_for("front_page")
        assert event["next"] == f"open {program.addresses['http']}/"
