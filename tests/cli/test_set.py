"""`set`, `token`, `login`, `logout`, `whoami` with the real program, as its users type them."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fingertrio.cli import api
from fingertrio.testing.process import COMMAND, environment, run
from fingertrio.testing.program import Program, running

ME = pwd.getpwuid(os.geteuid()).pw_name
LISTEN = ["127.0.0.1:0"]


@dataclass
class Place:
    """A server, and the environment of a user of the same machine."""

    program: Program
    directory: Path
    environ: Mapping[str, str]

    def run(self, *arguments: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, environ={**self.environ, **environ}, text=text)

    def done(self, *arguments: str, text: str = "", **environ: str) -> str:
        ended = self.run(*arguments, text=text, **environ)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def failed(self, status: int, *arguments: str, **environ: str) -> str:
        ended = self.run(*arguments, **environ)
        assert (ended.returncode, ended.stdout) == (status, ""), ended
        assert "Traceback" not in ended.stderr
        return ended.stderr

    @property
    def url(self) -> str:
        return self.program.addresses["http"]

    def shown(self, user: str = ME) -> Mapping[str, Any]:
        """What every reader sees of a user."""
        found: Mapping[str, Any] = api.request("GET", self.url, f"/api/users/{user}")
        return found


Start = Callable[..., Place]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server; one at a time."""
    stack = []

    def go(**sections: Any) -> Place:
        environ = environment() | {
            "XDG_RUNTIME_DIR": str(tmp_path / "run"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "TZ": "UTC",
        }
        environ |= sections.pop("environ", {})
        config = {
            "backend": {"use": "sqlite", "path": str(tmp_path / "data" / "x.db")},
            "setter": {"listen": LISTEN},
            "http": {"listen": LISTEN},
            **sections,
        }
        context = running({name: table for name, table in config.items() if table is not None}, environ=environ)
        program = context.__enter__()
        stack.append(context)
        commands = {name: value for name, value in environ.items() if not name.startswith("FINGERTRIO_")}
        return Place(program, tmp_path, commands)

    yield go
    for context in stack:
        context.__exit__(None, None, None)


def test_words_are_a_status_and_the_server_of_this_machine_is_found(start: Start):
    place = start()
    assert place.done("set", "gone", "fishing") == f"{ME}: gone fishing ({place.program.addresses['setter']})\n"
    assert place.shown()["status"] == "gone fishing"
    place.done("set", "by the user id", LOGNAME="grace", USER="grace")
    assert place.shown()["status"] == "by the user id"
    place.done("set", "--user", "ada", "Weaving")
    assert place.shown("ada")["status"] == "Weaving"
    place.done("set", "-", text="one\n\n  two\n")
    assert place.shown()["status"] == "one\n\n  two"
    assert "no status" in place.done("set", "--clear")
    assert place.shown()["status"] == ""


def test_an_end_is_said_and_kept(start: Start):
    place = start()
    assert f"{ME}: back at five, until " in place.done("set", "back at five", "--for", "40m")
    until = datetime.fromisoformat(place.shown()["until"])
    assert timedelta(minutes=39) < until - datetime.now(UTC) <= timedelta(minutes=40)
    place.done("set", "away", "--until", "2999-12-24T18:00+01:00")
    assert place.shown()["until"] == "2999-12-24T17:00:00Z"


def test_presets_come_from_the_servers_configuration(start: Start):
    place = start(presets={"lunch": {"status": "\U0001f37d Lunch", "for": "1h"}})
    place.done("set", ":lunch")
    assert place.shown()["status"] == "\U0001f37d Lunch"
    assert place.shown()["until"] is not None
    assert f"{ME}: \U0001f37d Lunch, until " in place.done("set", ":lunch", "--until", "2999-01-01")
    assert place.shown()["until"] == "2999-01-02T00:00:00Z"
    assert "there is no preset :tea; this server has :lunch" in place.failed(1, "set", ":tea")
    token = place.done("token", "add", ME).strip()
    far = {"FINGERTRIO_URL": place.url, "FINGERTRIO_TOKEN": token}
    assert f"{ME}: \U0001f37d Lunch, until " in place.done("set", ":lunch", **far)
    assert "there is no preset :tea; this server has :lunch" in place.failed(1, "set", ":tea", **far)
    place.done("set", ":)", **far)
    assert place.shown()["status"] == ":)"
    place.done("set", "-", text="two\nlines\n", **far)
    assert place.shown()["status"] == "two\nlines"


def test_a_name_that_is_new_is_named_with_those_that_it_resembles(start: Start):
    place = start(finger={"listen": LISTEN})
    place.done("set", "--user", "moshez", "Happy")
    ended = place.run("set", "--user", "mosez", "Happy")
    assert ended.returncode == 0
    assert "fingertrio: mosez had no status before; did you mean moshez?" in ended.stderr
    assert place.run("set", "--user", "mosez", "again").stderr == ""
    ended = place.run("finger", "moshz")
    assert (ended.returncode, ended.stdout) == (1, "No such user\n")
    assert ended.stderr == "fingertrio: there is no user moshz; did you mean moshez or mosez?\n"


def test_the_token_of_a_pipe_is_kept(start: Start):
    place = start(setter=None)
    token = place.done("token", "add", "ada")
    assert "logged in" in place.done("login", text=token)
    assert place.done("whoami") == f"ada at {place.url}\n"
    assert "no token was given" in place.failed(2, "login", place.url)


def test_in_an_office_every_status_ends(start: Start):
    place = start(service={"default_for": "8h"})
    assert ", until " in place.done("set", "at my desk")
    until = datetime.fromisoformat(place.shown()["until"])
    assert timedelta(hours=7, minutes=59) < until - datetime.now(UTC) <= timedelta(hours=8)


def test_the_editor_opens_on_the_present_status(start: Start, tmp_path: Path):
    place = start()
    place.done("set", "before")
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen; printf "after\\nwards\\n" > "$1"\n')
    editor.chmod(0o700)
    script = ["script", "-qec", " ".join([*COMMAND, "set"]), "/dev/null"]
    ended = subprocess.run(
        script, env={**place.environ, "EDITOR": str(editor)}, capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert (tmp_path / "seen").read_text() == "before\n"
    assert place.shown()["status"] == "after\nwards"


WRONG = [
    (["x", "--for", "2h", "--until", "17:00"], "either --for or --until"),
    (["x", "--for", "17:00"], "is not a duration"),
    (["x", "--until", "1999-01-01"], "has passed"),
    (["--clear", "x"], "--clear takes no status"),
    ([" "], "the status is empty"),
    ([], "give a status, or -"),
    (["x", "--url", "http://a", "--at", "b:1"], "either --url or --at"),
]


def test_wrong_usage_is_one_message_and_sets_nothing(start: Start):
    place = start()
    place.done("set", "before")
    for arguments, reason in WRONG:
        assert reason in place.failed(2, "set", *arguments), arguments
    assert place.shown()["status"] == "before"


def test_nothing_runs_here(start: Start, tmp_path: Path):
    place = start()
    place.program.stop()
    message = place.failed(3, "set", "x", "--at", "127.0.0.1:1")
    assert "127.0.0.1:1: nothing listens there; start a server with fingertrio serve" in message
    assert "nothing listens there" in place.failed(3, "set", "x", "--at", f"unix:{tmp_path}/nothing")


def test_a_token_sets_its_users_status_from_anywhere(start: Start):
    place = start(setter=None)
    assert "wants a token" in place.failed(2, "set", "x")
    token = place.done("token", "add", "ada", "--label", "phone").strip()
    assert "logged in" in place.done("login", place.url, FINGERTRIO_TOKEN=token)
    assert place.done("whoami") == f"ada at {place.url}\n"
    assert place.done("set", "in the garden") == f"ada: in the garden ({place.url})\n"
    assert place.shown("ada")["status"] == "in the garden"
    assert "ada may not set the status of bob" in place.failed(1, "set", "--user", "bob", "x")
    kept = place.directory / "config/fingertrio/login.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    place.done("logout")
    assert not kept.exists()
    assert place.done("whoami").startswith("not logged in; the server with pid ")
    place.done("set", "again", FINGERTRIO_TOKEN=token)
    assert place.shown("ada")["status"] == "again"
    assert token not in place.program.log.read_text()


def test_a_revoked_token_is_refused_by_the_running_server_at_once(start: Start):
    place = start()
    token = place.done("token", "add", "ada").strip()
    place.done("login", place.url, FINGERTRIO_TOKEN=token)
    listed = place.done("token", "list")
    token_id = listed.split()[0]
    assert "ada" in listed
    assert token not in listed
    assert json.loads(place.done("token", "list", "--json"))[0]["id"] == token_id
    assert place.done("token", "revoke", token_id) == f"revoked {token_id} of ada\n"
    assert "this token is not valid" in place.failed(1, "set", "x")
    assert "no token with the id" in place.failed(1, "token", "revoke", token_id)
    assert place.done("token", "end-sessions") == "every web session has ended\n"
    assert "this token is not valid" in place.failed(1, "login", place.url, FINGERTRIO_TOKEN=token)


def test_tokens_are_made_where_the_running_server_looks(start: Start, tmp_path: Path):
    place = start(accounts={"path": str(tmp_path / "elsewhere" / "tokens.json")})
    place.done("token", "add", "ada")
    assert (tmp_path / "elsewhere" / "tokens.json").exists()
    assert "has passed" in place.failed(2, "token", "add", "ada", "--expires", "1999-01-01")
    assert "user name" in place.failed(2, "token", "add", "a b")


def test_a_setter_with_peer_credentials_is_preferred(start: Start, tmp_path: Path):
    address = f"unix:{tmp_path}/setter"
    place = start(setter={"listen": [{"address": "127.0.0.1:0", "auth": "none"}, {"address": address, "auth": "peer"}]})
    assert place.done("set", "here") == f"{ME}: here ({address})\n"


def test_commands_for_users_work_on_the_running_servers_database(start: Start, tmp_path: Path):
    place = start()
    ended = place.run("user", "add", "grace", "--status", "Compiling")
    assert ended.returncode == 0, ended.stderr
    assert str(tmp_path / "data" / "x.db") in ended.stderr
    assert place.shown("grace")["status"] == "Compiling"
    assert not (tmp_path / "state").exists()


def test_a_server_says_itself_which_files_it_uses(start: Start, tmp_path: Path):
    """Variables of its environment may name others than its configuration does."""
    other = tmp_path / "other"
    place = start(environ={"FINGERTRIO_BACKEND__PATH": f"{other}/y.db"})
    ended = place.run("user", "add", "grace", "--status", "Compiling")
    assert f"database: {other}/y.db (of the server with pid {place.program.pid})" in ended.stderr
    assert place.shown("grace")["status"] == "Compiling"
    ended = place.run("token", "add", "grace")
    assert f"tokens: {other}/tokens.json (of the server with pid {place.program.pid})" in ended.stderr
    place.done("set", "away", FINGERTRIO_TOKEN=ended.stdout.strip())
    assert place.shown("grace")["status"] == "away"
    watched = [json.loads(line) for line in place.done("watch", "--once").splitlines()]
    assert [(line["user"], line["status"]) for line in watched] == [("grace", "away")]


def test_a_removed_user_leaves_no_token_and_nothing_in_the_file(start: Start, tmp_path: Path):
    place = start()
    token = place.done("token", "add", "ada").strip()
    for number in range(3):
        place.done("set", "--user", "ada", f"secretword {number}")
    files = [tmp_path / "data" / name for name in ("x.db", "x.db-wal")]
    assert any(b"secretword" in path.read_bytes() for path in files)
    assert place.done("user", "remove", "ada", "--erase", "--yes") == (
        "erased ada and the whole history; revoked 1 token\n"
    )
    assert not any(b"secretword" in path.read_bytes() for path in files if path.exists())
    assert "this token is not valid" in place.failed(1, "set", "x", FINGERTRIO_TOKEN=token)
    place.done("set", "--user", "bob", "the server goes on")
    assert place.shown("bob")["status"] == "the server goes on"


def test_a_server_without_a_database_is_not_replaced_by_a_file(start: Start, tmp_path: Path):
    place = start(backend={"use": "memory"})
    assert "has no database file: its backend is memory; name a file" in place.failed(2, "user", "add", "ada")
    assert not (tmp_path / "state" / "fingertrio" / "fingertrio.db").exists()


def test_the_database_of_a_layer_is_found(start: Start, tmp_path: Path):
    layer = {"use": "sqlite", "path": str(tmp_path / "z.db"), "on_failure": "skip"}
    place = start(backend={"use": "layers", "layers": [layer, {"use": "memory"}]})
    assert place.run("user", "add", "grace").returncode == 0
    assert place.shown("grace")["status"] == "No Plan."


def test_without_a_command_a_terminal_shows_the_help(start: Start):
    place = start()
    script = Path(COMMAND[0]).with_name("fingertrio")
    command = ["script", "-qec", str(script), "/dev/null"]
    ended = subprocess.run(command, env=dict(place.environ), capture_output=True, timeout=30, check=False)
    assert ended.returncode == 0
    assert b"Commands:" in ended.stdout
    assert b"serve" in ended.stdout
