"""Addresses that exclude each other, found in the configuration and not by a failing start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fingertrio.config.config import parse_config
from fingertrio.config.errors import ConfigError
from fingertrio.net.address import parse_address
from fingertrio.net.listen import BindError, bind, close_all


def conflicts(finger: list[object], http: list[object]) -> str:
    """The message about a configuration with these addresses; empty: there is none."""
    sections = {"backend": {"use": "memory"}, "finger": {"listen": finger}, "http": {"listen": http}}
    try:
        parse_config(sections)
    except ConfigError as error:
        return str(error)
    return ""


CLASHES = [
    ("127.0.0.1:{}", "127.0.0.1:{}"),
    ("0.0.0.0:{}", "127.0.0.1:{}"),
    ("127.0.0.1:{}", "0.0.0.0:{}"),
    ("[::]:{}", "[::1]:{}"),
    ("[::1]:{}", "[0:0::1]:{}"),
    ("localhost:{}", "127.0.0.1:{}"),
]
FITTING = [("0.0.0.0:{}", "[::]:{}"), ("127.0.0.1:{}", "[::1]:{}"), ("127.0.0.1:{}", "127.0.0.2:{}")]


@pytest.mark.parametrize(("one", "other"), [*CLASHES, *FITTING])
def test_what_is_said_is_what_the_kernel_does(one: str, other: str):
    """Each pair is listened on for real. What seems to clash and should not may be another program's: again."""
    if "[" in one + other and not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    expected = (one, other) in CLASHES
    for _ in range(5):
        port, clashes = listen_on(one, other)
        if clashes == expected:
            break
    assert clashes == expected
    assert bool(conflicts([one.format(port)], [other.format(port)])) == expected


def listen_on(one: str, other: str) -> tuple[int, bool]:
    """A port that `one` got from the kernel, and whether `other` cannot listen there, too."""
    sockets = bind(parse_address(one.format(0)))
    try:
        port: int = sockets[0].getsockname()[1]
        sockets += bind(parse_address(other.format(port)))
    except BindError:
        return port, True
    finally:
        close_all(sockets)
    return port, False


OWN = "each door needs addresses of its own"


@pytest.mark.parametrize(
    ("finger", "http", "message"),
    [
        (["127.0.0.1:79"], ["127.0.0.1:79"], f'[http] listen: "127.0.0.1:79" is listed also at [finger]; {OWN}'),
        (["127.0.0.1:79", "127.0.0.1:79"], [], f'[finger] listen: "127.0.0.1:79" is listed twice; {OWN}'),
        (
            ["0.0.0.0:79"],
            ["127.0.0.1:79"],
            '[http] listen: "127.0.0.1:79" and "0.0.0.0:79" of [finger] exclude each other; use another port for one',
        ),
        (["unix:/x"], ["unix:/x"], f'[http] listen: "unix:/x" is listed also at [finger]; {OWN}'),
        (["127.0.0.1:0", "127.0.0.1:0"], ["127.0.0.1:0"], ""),
        (["127.0.0.1:79"], ["127.0.0.1:80", "unix:/x"], ""),
        (["example.org:79"], ["example.net:79"], ""),
        (["[fe80::1]:79"], ["[fe80::2]:79"], ""),
    ],
)
def test_the_message_names_both_doors(finger: list[object], http: list[object], message: str):
    assert conflicts(finger, http).removeprefix("configuration: ") == message


def test_one_socket_file_by_two_names(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert "exclude each other" in conflicts([f"unix:{tmp_path}/s"], [f"unix:{tmp_path}/link/s"])


def test_an_address_with_a_proof_of_its_own_counts_too():
    setter = {"listen": [{"address": "127.0.0.1:79", "auth": "token"}]}
    sections = {"backend": {"use": "memory"}, "finger": {"listen": ["127.0.0.1:79"]}, "setter": setter}
    with pytest.raises(ConfigError, match=r"\[setter\] listen"):
        parse_config(sections)
