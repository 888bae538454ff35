"""The sockets of all doors: their permissions, and the warning about a setter that every local user can reach."""

from __future__ import annotations

import io
import json
import os
import pwd
import socket
from pathlib import Path
from typing import Any

import pytest

from fingertrio.config.config import Config, parse_config
from fingertrio.config.errors import ConfigError
from fingertrio.observe.observer import Observer
from fingertrio.server.sockets import bound, warn_of_open_setters


def config(section: str = "setter", *, user: str | None = None, **options: object) -> Config:
    process = {"run_as_root": True} if user is None else {"user": user}
    return parse_config({"backend": {"use": "memory"}, "process": process, section: options})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def warnings(config: Config) -> list[str]:
    stream = io.StringIO()
    with bound(config, "f.toml") as listeners:
        warn_of_open_setters(config, listeners, Observer(stream, human=False))
    return [json.loads(line)["address"] for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("section", ["finger", "setter", "http", "admin"])
def test_a_unix_socket_is_private_unless_the_section_opens_it(section: str, path: Path) -> None:
    for options, mode in (({}, 0o600), ({"socket_mode": "0660"}, 0o660), ({"socket_mode": "666"}, 0o666)):
        with bound(config(section, listen=f"unix:{path}", **options), "f.toml"):
            assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_unix_socket_belongs_to_the_user_that_the_process_becomes(path: Path) -> None:
    account = pwd.getpwnam("nobody")
    with bound(config(user="nobody", listen=f"unix:{path}"), "f.toml"):
        assert (path.stat().st_uid, path.stat().st_gid) == (account.pw_uid, account.pw_gid)
    with bound(config(user="nobody", listen=f"unix:{path}", socket_group="root"), "f.toml"):
        assert (path.stat().st_uid, path.stat().st_gid) == (account.pw_uid, 0)


def test_a_group_that_does_not_exist_is_a_mistake(path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r'^f\.toml: \[setter\] socket_group: there is no group "no-such-group"$'),
        bound(config(listen=f"unix:{path}", socket_group="no-such-group"), "f.toml"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"listen": "unix:/x", "socket_mode": 660}, r"socket_mode: expected an octal mode in quotes"),
        ({"listen": "unix:/x", "socket_mode": "0668"}, r"socket_mode: expected an octal mode in quotes"),
        ({"listen": "unix:/x", "socket_mode": "7777"}, r"socket_mode: expected an octal mode in quotes"),
        ({"listen": "127.0.0.1:0", "socket_mode": "0660"}, r'socket_mode needs a "unix:" address in listen'),
        ({"listen": [], "socket_group": "root"}, r"SocketGroup= in its unit"),
    ],
)
def test_a_mode_that_cannot_be_meant_is_a_mistake(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(**options)


def test_a_world_writable_setter_is_reported(path: Path) -> None:
    for mode in ("0600", "0660"):
        assert not warnings(config(listen=f"unix:{path}", socket_mode=mode))
    assert warnings(config(listen=f"unix:{path}", socket_mode="0666")) == [f"unix:{path}"]
    assert not warnings(config(listen=f"unix:{path}", socket_mode="0666", auth="peer"))
    assert not warnings(config("finger", listen=f"unix:{path}", socket_mode="0666"))


def test_a_world_writable_setter_that_was_passed_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        path.chmod(0o666)
        monkeypatch.setattr("fingertrio.server.sockets.take_passed_sockets", lambda: {"setter": [passed.dup()]})
        assert warnings(config(listen=[])) == [f"unix:{path}"]
