from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fingertrio.server import runtime
from fingertrio.server.runtime import RunningServer, RuntimeFile, directories, running_servers

SERVER = RunningServer(
    pid=os.getpid(),
    config="/etc/fingertrio.toml",
    backend="sqlite",
    database="/var/lib/fingertrio/fingertrio.db",
    tokens="/var/lib/fingertrio/tokens.json",
    doors={"http": ["unix:/run/http", "http://127.0.0.1:8000"]},
    setters={"unix:/run/setter": "peer"},
    default_for="8h",
)


@pytest.fixture(autouse=True)
def no_servers_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SYSTEM", tmp_path / "system")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    return {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


def opened(environ: Mapping[str, str]) -> RuntimeFile:
    file = RuntimeFile.open(environ)
    assert file is not None
    return file


def test_a_running_server_is_found_and_a_stopped_one_is_not(environ: Mapping[str, str]):
    file = opened(environ)
    assert running_servers(environ) == []  # not ready yet
    file.publish(SERVER)
    assert running_servers(environ) == [SERVER]
    file.close()
    assert running_servers(environ) == []
    assert not file.path.exists()


def test_what_a_killed_server_left_is_not_taken_for_a_server(environ: Mapping[str, str]):
    file = opened(environ)
    file.publish(SERVER)
    os.close(file._descriptor)  # as the kernel does
    assert file.path.exists()
    assert running_servers(environ) == []


def test_looking_does_not_disturb_a_server(environ: Mapping[str, str]):
    file = opened(environ)
    file.publish(SERVER)
    for _ in range(3):
        assert running_servers(environ) == [SERVER]
    file.publish(SERVER)
    file.close()


def test_a_shorter_document_replaces_a_longer_one(environ: Mapping[str, str]):
    file = opened(environ)
    file.publish(SERVER)
    file.publish(RunningServer(pid=1))
    assert running_servers(environ) == [RunningServer(pid=1)]
    file.close()


def test_others_may_read_it_and_none_may_write(environ: Mapping[str, str]):
    before = os.umask(0o077)  # as the units in conf/ set it
    try:
        file = opened(environ)
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o644
    file.close()


def test_a_users_own_server_comes_before_the_machines(tmp_path: Path, environ: Mapping[str, str]):
    system = RuntimeFile.open({"RUNTIME_DIRECTORY": str(tmp_path / "system")})
    assert system is not None
    system.publish(RunningServer(pid=2))
    assert running_servers(environ) == [RunningServer(pid=2)]
    own = opened(environ)
    own.publish(RunningServer(pid=3))
    assert running_servers(environ) == [RunningServer(pid=3)]
    own.close()
    system.close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"version": 2, "pid": 1}', b'{"version": 1, "x": 1}', b"\xff"]
)
def test_what_is_not_understood_is_passed_over(environ: Mapping[str, str], content: bytes):
    directory = Path(environ["XDG_RUNTIME_DIR"]) / "fingertrio"
    directory.mkdir()
    path = directory / "server-1.json"
    path.write_bytes(content)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert running_servers(environ) == []


def test_a_fifo_in_the_directory_does_not_hang(environ: Mapping[str, str]):
    directory = Path(environ["XDG_RUNTIME_DIR"]) / "fingertrio"
    directory.mkdir()
    os.mkfifo(directory / "server-1.json")
    assert running_servers(environ) == []


def test_the_directories_are_tried_in_order(tmp_path: Path):
    environ = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/5", "XDG_STATE_HOME": "/state"}
    system = f"{tmp_path}/system"
    expected = ["/run/a", "/run/b", "/run/user/5/fingertrio", system, f"{system}/running", "/state/fingertrio/run"]
    assert [str(path) for path in directories(environ)] == expected
    assert f"{system}/running" not in map(str, directories(environ, to_serve=True))


def test_a_server_of_systemd_is_found(tmp_path: Path, environ: Mapping[str, str]):
    server = RuntimeFile.open({"RUNTIME_DIRECTORY": str(tmp_path / "system" / "running")})
    assert server is not None
    server.publish(SERVER)
    assert running_servers(environ) == [SERVER]
    server.close()


def test_a_directory_that_cannot_be_used_is_passed_over(tmp_path: Path):
    (tmp_path / "file").write_text("")
    environ = {"RUNTIME_DIRECTORY": str(tmp_path / "file"), "XDG_RUNTIME_DIR": str(tmp_path)}
    file = opened(environ)
    assert file.path.parent == tmp_path / "fingertrio"
    file.close()


def test_the_url_is_the_first_that_tcp_reaches():
    assert SERVER.url == "http://127.0.0.1:8000"
    assert RunningServer(pid=1).url is None


def test_the_document_is_json(environ: Mapping[str, str]):
    file = opened(environ)
    file.publish(SERVER)
    assert json.loads(file.path.read_text())["version"] == 1
    file.close()
