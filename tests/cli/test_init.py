"""`fingertrio init`: what it asks, what it writes, and that a server starts with it and can be used as it says."""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
import socket
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fingertrio.accounts.store import TokenStore
from fingertrio.cli import init as module
from fingertrio.cli.init import init
from fingertrio.cli.init_file import Answers, configuration
from fingertrio.config import places
from fingertrio.config.config import load_config, parse_config
from fingertrio.testing.process import run
from fingertrio.testing.program import running

IS_ROOT = os.geteuid() == 0
AS_ROOT = pytest.mark.skipif(not IS_ROOT, reason="needs root")
KINDS = ["me", "machine", "team"]
RUN_AS = ["--run-as", "daemon"] if IS_ROOT else []  # a user that every Debian has


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that other users can enter, as the server's user has to."""
    with tempfile.TemporaryDirectory(prefix="fingertrio-init-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def free_ports() -> str:
    """Two ports that nothing uses, and that the kernel gives to no other test meanwhile: below its own range."""
    found: list[int] = []
    while len(found) < 2:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("0.0.0.0", random.randrange(10_000, 30_000)))
            found.append(probe.getsockname()[1])
    return ",".join(map(str, found)) if found[0] != found[1] else free_ports()


def initialize(home: Path, *options: str, answers: Sequence[str] | None = None) -> tuple[int, str]:
    """The status and the output, without colours. `answers` to questions; None: `--yes`."""
    places = [str(home / "etc/fingertrio.toml"), "--data", str(home / "lib"), *RUN_AS]
    asked = ["--yes"] if answers is None else []
    result = CliRunner().invoke(
        init, [*places, *asked, *options], input=None if answers is None else "".join(f"{line}\n" for line in answers)
    )
    if isinstance(result.exception, click.ClickException | KeyboardInterrupt):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def ask(port: int, query: str) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(query.encode() + b"\r\n")
        return b"".join(iter(lambda: sock.recv(4096), b"")).decode()


def everything_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("kind", ["me", "team", pytest.param("machine", marks=AS_ROOT)])
def test_a_server_starts_with_it_and_is_used_as_it_says(kind: str, home: Path):
    ports = free_ports()
    status, output = initialize(home, "--for", kind, "--ports", ports, "--owner", "ada")
    assert status == 0, output
    environ = {"XDG_RUNTIME_DIR": str(home / "run")}
    config = home / "etc/fingertrio.toml"
    finger = int(ports.partition(",")[0])
    checked = run("check-config", config)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, f"{config}: no mistakes found\n", "")
    assert f"fingertrio serve --config {config}" in output
    with running(config, environ=environ) as program:
        if kind == "machine":
            here = run("set", "in", "the", "garden", environ={**os.environ, **environ})
            assert here.returncode == 0, here.stderr
            assert "In real life" in ask(finger, "root") or "in the garden" in ask(finger, "root")
            assert (home / "lib/setter").stat().st_mode & 0o777 == 0o666
            assert not (home / "lib/tokens.json").exists()
        else:
            curl = re.search(r"^ +(curl .*)$", output, re.MULTILINE)
            assert curl is not None
            subprocess.run(curl[1], shell=True, check=True, capture_output=True, timeout=10)
            assert ask(finger, "ada") == "hello, world\r\n"
            command = re.search(r"^ +fingertrio (set .*)$", output, re.MULTILINE)
            assert command is not None
            again = run(*command[1].split(), environ={**os.environ, **environ})
            assert again.returncode == 0, again.stderr
        health = run("healthcheck", environ={**os.environ, **environ})
        assert health.stdout == f"ready (admin at unix:{home}/lib/admin)\n"
        worrying = [record for record in program.records() if record.get("level") in {"warning", "error"}]
        assert [record for record in worrying if record["event"] != "loop_stalled"] == []  # a busy machine


def test_it_asks_at_most_five_questions_and_asks_again_after_a_wrong_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_has_terminal", lambda: True)
    ports = free_ports()
    answers = ["nobody", "team", "-", "finger.example.org", "p", "79", ports, "a b", "ada"]
    status, output = initialize(home, answers=answers)
    assert status == 0, output
    questions = re.findall(r"^[^ ].*(?:\?|machine\)|pages|name)(?: \[.*\])?: ", output, re.MULTILINE)
    assert len(questions) == len(answers)
    assert len(set(questions)) == 5
    assert "expected me or machine or team" in output
    assert "'-' is not a host name" in output
    assert "'79' are not two ports" in output
    config = load_config(home / "etc/fingertrio.toml", {})
    assert config.doors["http"].url == "https://finger.example.org"
    assert config.doors["http"].listen[0].is_local
    assert not config.doors["finger"].listen[0].is_local
    assert config.webfinger.domains == ("finger.example.org",)


def test_without_a_terminal_it_says_which_option_is_missing(home: Path):
    status, output = initialize(home, "--for", "me", answers=[])
    assert status == 2
    assert "add --host, or --yes for defaults" in output
    assert everything_in(home) == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--host", "a_b"], "--host: 'a_b' is not a host name"),
        (["--ports", "1,1"], "--ports: finger and the pages need a port each"),
        (["--ports", "1"], "'1' are not two ports"),
        (["--ports", "70000,1"], "'70000,1' are not two ports"),
        (["--owner", "a b"], "--owner: a user name is made of"),
        (["--data", f"/{'x' * 100}"], "--data:"),
        (["--for", "all"], "Invalid value for '--for'"),
    ],
)
def test_a_wrong_option_makes_nothing(home: Path, options: list[str], part: str):
    status, output = initialize(home, "--ports", free_ports(), *options)
    assert status == 2
    assert part in output
    assert everything_in(home) == []


def test_a_port_in_use_is_noticed_before_anything_is_made(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, output = initialize(home, "--ports", f"{taken.getsockname()[1]},1")
    assert status == 2
    assert "another program listens there already; choose another port" in output
    assert everything_in(home) == []


@AS_ROOT
def test_a_directory_that_the_servers_user_cannot_enter_is_noticed(home: Path):
    (home / "closed").mkdir(mode=0o700)
    status, output = initialize(home, "--ports", free_ports(), "--data", str(home / "closed/lib"))
    assert status == 1
    assert "nothing was written, because this configuration would not work" in output
    assert f"daemon may not enter {home}/closed (root:root, mode 0700)" in output
    assert everything_in(home) == ["closed"]


def test_a_configuration_is_never_overwritten_and_force_keeps_it(home: Path):
    path = home / "etc/fingertrio.toml"
    path.parent.mkdir()
    path.write_text("mine")
    status, output = initialize(home, "--ports", free_ports())
    assert status == 1
    assert f"{path} exists already; --force replaces it and keeps a backup" in output
    assert everything_in(home) == ["etc", "etc/fingertrio.toml"]
    for number, name in enumerate(("fingertrio.toml.old", "fingertrio.toml.old-2")):
        status, output = initialize(home, "--ports", free_ports(), "--force", "--for", "me", "--owner", f"user{number}")
        assert status == 0
        assert str(path.with_name(name)) in output
    assert path.with_name("fingertrio.toml.old").read_text() == "mine"
    assert "user0" in path.with_name("fingertrio.toml.old-2").read_text()
    assert "user1" in path.read_text()


def test_what_is_in_the_way_of_the_draft_is_not_written_to(home: Path):
    """In a directory of another user, it could be a file that this user can still write to."""
    (home / "etc").mkdir()
    (home / "other").write_text("of somebody else")
    (home / f"etc/.fingertrio.toml.{os.getpid()}").hardlink_to(home / "other")
    assert initialize(home, "--ports", free_ports())[0] == 0
    assert (home / "other").read_text() == "of somebody else"


def test_a_file_that_appears_meanwhile_is_not_overwritten(home: Path, monkeypatch: pytest.MonkeyPatch):
    path = home / "etc/fingertrio.toml"
    add = TokenStore.add

    async def add_late(*arguments: object, **options: object) -> object:
        path.write_text("theirs")
        return await add(*arguments, **options)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(TokenStore, "add", add_late)
    status, output = initialize(home, "--ports", free_ports())
    assert status == 1
    assert "exists already" in output
    assert path.read_text() == "theirs"
    assert everything_in(home) == ["etc", "etc/fingertrio.toml"]


@pytest.mark.parametrize("step", ["_write_draft", "_check", "_make_token", "_put_in_place"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_is_interrupted_or_fails_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(f"fingertrio.cli.init_writing.{step}", fail)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(click.Abort):
            raise_of(home)
    else:
        status, output = initialize(home, "--ports", free_ports())
        assert status == 1
        assert "No space left on device" in output
    assert everything_in(home) == []


def raise_of(home: Path) -> None:
    """Run it outside click's own handling, which would print."""
    arguments = [str(home / "etc/fingertrio.toml"), "--data", str(home / "lib"), *RUN_AS, "--yes", "--ports"]
    init.main([*arguments, free_ports()], standalone_mode=False)


def test_a_token_whose_making_was_interrupted_is_revoked(home: Path, monkeypatch: pytest.MonkeyPatch):
    add = TokenStore.add

    async def add_and_stop(*arguments: object, **options: object) -> None:
        await add(*arguments, **options)  # type: ignore[arg-type] # passed on as they came
        raise KeyboardInterrupt

    monkeypatch.setattr(TokenStore, "add", add_and_stop)
    with pytest.raises(click.Abort):
        raise_of(home)
    assert everything_in(home) == []


@pytest.mark.parametrize(
    ("kind", "host", "https", "run_as"),
    [*itertools.product(KINDS, ["", "finger.example.org"], ["proxy", "none"], [None, "daemon"])],
)
def test_every_answer_gives_a_valid_file_and_so_do_its_commented_keys(kind, host, https, run_as):
    answers = Answers(kind=kind, finger_port=79, web_port=80, owner="ada", data=Path("/var/lib/fingertrio"))
    text = configuration(replace(answers, host=host, https=https, run_as=run_as))
    config = parse_config(tomllib.loads(text), to_serve=True)
    # A user's own socket needs no proof, and the owner may have another name than the login.
    assert config.doors["setter"].auth == ("none" if run_as is None else "peer")
    assert not re.search(r"[^ \n]# ", text)
    assert all(len(line) <= 120 for line in text.splitlines())
    enabled = re.sub(r"^# (?=\w+ = |\[)", "", text, flags=re.MULTILINE)
    assert enabled != text
    parse_config(tomllib.loads(re.sub(r"^(cert|key)file.*$", "", enabled, flags=re.MULTILINE)), to_serve=True)


def test_only_root_serves_the_users_of_the_machine(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(init, [str(home / "f.toml"), "--yes", "--for", "machine"])
    assert result.exit_code == 2
    assert "only root can serve the users of this machine" in result.output


def test_root_needs_a_user_to_change_to(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = CliRunner().invoke(init, [str(home / "f.toml"), "--yes", "--run-as", "no-such-user"])
    assert result.exit_code == 1
    assert "there is no user no-such-user" in result.output
    assert "useradd --system" in result.output


def test_what_it_writes_by_default_is_found_without_options(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "SYSTEM_CONFIG", home / "etc/fingertrio.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "none"))
    assert places.default_config() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert places.config_path() == home / "etc/fingertrio.toml"
    assert places.default_config() is None
    (home / "etc").mkdir()
    (home / "etc/fingertrio.toml").touch()
    assert places.default_config() == home / "etc/fingertrio.toml"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    assert places.config_path() == home / "fingertrio/fingertrio.toml"


@AS_ROOT
def test_the_token_belongs_to_the_servers_user(home: Path):
    assert initialize(home, "--ports", free_ports())[0] == 0
    assert (home / "lib").owner() == "daemon"
    assert (home / "lib/tokens.json").owner() == "daemon"
    assert (home / "lib/tokens.json").stat().st_mode & 0o777 == 0o600
    assert (home / "lib").stat().st_mode & 0o777 == 0o711
