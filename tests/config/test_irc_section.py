"""The [irc] section: one network or many, and every mistake in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from fingertrio.config.config import parse_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.irc import IrcSection
from fingertrio.config.irc_server import IrcServer, to_server
from fingertrio.config.secret_files import read_secret
from fingertrio.frontends.irc.door import to_networks


def parse(**irc: object) -> IrcSection:
    config = parse_config({"backend": {"use": "memory"}, "irc": irc})
    section: IrcSection = config.doors["irc"]
    return section


def mistakes(**irc: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(**irc)
    return str(caught.value)


def test_server_and_nick_alone_are_a_network():
    [network] = to_networks(parse(server="irc.example.net:6667", nick="status"))
    assert network.name == "irc"
    assert [str(server) for server in network.servers] == ["irc.example.net:6667"]
    assert not network.servers[0].tls
    assert (network.login.nick, network.login.sasl, network.reply) == ("status", (), "PRIVMSG")


def test_networks_inherit_the_keys_of_the_section():
    section = parse(
        owner="alice",
        nick="one",
        channels=["#a"],
        networks={
            "libera": {"servers": ["ircs://irc.libera.chat", "ircs://irc.eu.libera.chat:7000"], "nick": "two"},
            "home": {"servers": "unix:/run/znc.sock"},
        },
    )
    libera, home = to_networks(section)
    assert [(str(server), server.tls) for server in libera.servers] == [
        ("irc.libera.chat:6697", True),
        ("irc.eu.libera.chat:7000", True),
    ]
    assert (libera.login.nick, home.login.nick) == ("two", "one")
    assert home.servers[0].path == "/run/znc.sock"
    assert home.login.realname.endswith(" - bot, owner: alice")
    assert [channel.plan.name for channel in home.channels] == ["#a"]


def test_secrets_are_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pass").write_text("user/net:hushhush\n")
    (tmp_path / "key").write_text("k\n\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    section = parse(
        networks={
            "znc": {
                "servers": ["irc://127.0.0.1:6667"],
                "password_file": "$CREDENTIALS_DIRECTORY/pass",
                "channel": [{"name": "#a", "key_file": str(tmp_path / "key"), "announce": "*"}],
            }
        }
    )
    [network] = to_networks(section)
    assert network.login.password is not None
    assert network.login.password.reveal() == "user/net:hushhush"
    assert network.channels[0].plan.key is not None
    assert network.channels[0].plan.key.reveal() == "k\n", "one newline is dropped, not two"
    assert "hushhush" not in repr(section)
    assert "hushhush" not in repr(network)


def test_a_secret_that_cannot_be_read_is_a_mistake_of_the_door(tmp_path: Path):
    section = parse(server="127.0.0.1:6667", password_file=str(tmp_path / "missing"))
    with pytest.raises(ValueError, match=r"password_file: .*missing.* cannot be read: No such file"):
        to_networks(section)
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_secret(tmp_path / "binary")
    (tmp_path / "huge").write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match="larger"):
        read_secret(tmp_path / "huge")


@pytest.mark.parametrize("content", [":colon", "two words", "a\0b", "", "a\rb"])
def test_a_password_that_irc_cannot_carry_is_told_by_check_config(tmp_path: Path, content: str):
    path = tmp_path / "pass"
    path.write_text(f"{content}\n")
    text = mistakes(server="127.0.0.1:6667", password_file=str(path))
    assert "the password in" in text
    assert not content or content not in text


ONE = {"servers": ["ircs://irc.example"]}


@pytest.mark.parametrize(
    ("irc", "message"),
    [
        ({}, 'needs server = "host:port", or a table [irc.networks.NAME]'),
        ({"networks": {"a": {}}}, "networks.a: servers is missing"),
        ({"networks": {"a b": ONE}}, "cannot be the name of a network"),
        ({"networks": {"irc": ONE}}, "cannot be the name of a network"),
        ({"networks": {"a": ONE, "b": ONE}}, "networks a and b have the same server and the same nick"),
        ({"networks": {"a": {**ONE, "sasl": "external"}}}, 'sasl = ["external"] needs tls_certificate'),
        ({"networks": {"a": {**ONE, "sasl": ["plain"]}}}, "need account and account_password_file"),
        ({"networks": {"a": {**ONE, "sasl": ["magic"]}}}, "expected"),
        ({"networks": {"a": {"servers": ["irc://irc.example"], "password_file": "/x"}}}, "could read the password"),
        ({"networks": {"a": {**ONE, "channels": ["nochan"]}}}, '"nochan" is not a channel'),
        ({"networks": {"a": {**ONE, "tls_fingerprint": "sha-256:12"}}}, "is not a fingerprint"),
        ({"networks": {"a": {**ONE, "rejoin": "sometimes"}}}, "rejoin"),
        ({"networks": {"a": {**ONE, "tls_key": "/x"}}}, "tls_key needs tls_certificate"),
        ({"networks": {"a": {**ONE, "flood": {"burst": 0}}}}, "flood needs a burst"),
        ({"networks": {"a": {**ONE, "alternates": ["1bad"]}}}, '"1bad" is not a nickname'),
        ({"networks": {"a": {**ONE, "nik": "x"}}}, "unknown key"),
        ({"networks": {"a": {"servers": ["http://x"]}}}, "is not a server"),
        ({"networks": {"a": {"servers": [5]}}}, "expected an address in quotes"),
        ({"server": "ircs://x"}, 'write servers = ["ircs://..."] instead'),
        ({"server": "irc.example.net"}, "is not the address of a server"),
        ({"server": "x:1", "dry_run": "yes"}, "expected a boolean"),
    ],
)
def test_each_mistake_is_explained(irc: dict[str, object], message: str):
    assert message in mistakes(**irc)


def test_a_secret_on_a_plain_line_can_be_allowed(tmp_path: Path):
    path = tmp_path / "p"
    path.write_text("x")
    [network] = to_networks(parse(server="irc.example:6667", password_file=str(path), insecure=True))
    assert network.insecure


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("ircs://irc.libera.chat", IrcServer("irc.libera.chat", 6697, tls=True)),
        ("irc://irc.libera.chat", IrcServer("irc.libera.chat", 6667)),
        ("ircs://[::1]:7000/", IrcServer("::1", 7000, tls=True)),
        ("irc.example:6667", IrcServer("irc.example", 6667)),
        ("unix:/run/x", IrcServer(path="/run/x")),
    ],
)
def test_addresses(text: str, server: IrcServer):
    assert to_server(text) == server
    assert to_server(str(server)) == server


def test_durations_and_invitations():
    section = parse(server="x:1", rejoin="after 1h", after_ban="6h", accept_invites="any", set_by={"a": "b"})
    [network] = to_networks(section)
    assert (network.rejoin, network.after_ban, network.accept) == (3600, 21600, None)
    [network, other] = to_networks(
        parse(server="x:1", accept_invites=["#a"], networks={"n": {**ONE, "accept_invites": False}})
    )
    assert (network.rejoin, network.after_ban, network.accept) == (None, None, ("#a",))
    assert other.accept == ()
