"""What runs, with what, and who may read and change the files."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.cli.doctor.configuration import CONFIGURATION, FILES, SERVER
from fingertrio.cli.doctor.installation import find_installation
from fingertrio.cli.doctor.machine import Machine
from fingertrio.server.access import ServerUser
from tests.cli.doctor.kit import NO_TRUST, faults, installation, levels, only, running


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every user can enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_a_server_that_runs_and_one_that_does_not():
    table = {"finger": {"listen": ["127.0.0.1:79"]}}
    user, root = ServerUser("finger", 4711, frozenset()), ServerUser("root", 0, frozenset())
    server = running(doors={"finger": []})
    assert await levels(SERVER, installation(table, server=server, account=user)) == ["ok"]
    assert "runs as root" in (await only(SERVER, installation(table, server=server, account=root), "warning")).what
    assert "no server runs" in (await only(SERVER, installation(table), "warning")).what


async def test_a_section_that_was_added_since_the_start():
    table = {"finger": {"listen": ["127.0.0.1:79"]}, "http": {"listen": ["127.0.0.1:80"]}}
    found = await only(SERVER, installation(table, server=running(doors={"finger": []})), "problem")
    assert "has not opened [http]" in found.what


async def test_each_mistake_of_check_config_is_a_line(tmp_path: Path):
    file = tmp_path / "x.toml"
    file.write_text('[backend]\nuse = "memory"\n\n[finger]\nlisten = 7\nshowing = 1\n')
    place = await find_installation(file, Machine(), NO_TRUST)
    assert place.config is None
    found = await faults(CONFIGURATION, place)
    assert len(found) == 2
    assert "[finger] listen" in found[0]
    assert "[finger] showing: unknown key" in found[1]


async def test_a_configuration_with_a_warning_and_one_without(tmp_path: Path):
    file = tmp_path / "x.toml"
    file.write_text('[backend]\nuse = "memory"\n\n[finger]\nlisten = "127.0.0.1:7979"\n')
    place = await find_installation(file, Machine(), NO_TRUST)
    assert "what is set is lost when the server stops" in (await only(CONFIGURATION, place, "warning")).why
    file.write_text('[backend]\nuse = "plan"\n\n[finger]\nlisten = "127.0.0.1:7979"\n')
    assert await levels(CONFIGURATION, await find_installation(file, Machine(), NO_TRUST)) == ["ok"]


@pytest.mark.parametrize(
    ("mode", "secret", "level", "said"),
    [
        (0o644, "", "ok", "mode 0644"),
        (0o644, "redis://ada:secret@localhost", "problem", "read the secret in it"),
        (0o640, "redis://ada:secret@localhost", "ok", "mode 0640"),
        (0o646, "", "problem", "change it"),
    ],
)
async def test_a_configuration_with_a_password_is_a_secret(reachable: Path, mode, secret, level, said):
    file = reachable / "x.toml"
    file.write_text("")
    file.chmod(mode)
    table = {"backend": {"use": "redis", "url": secret}} if secret else {}
    found = await only(FILES, installation(table, path=file), level)
    assert said in found.what + found.why
    assert "secret@" not in found.what + found.next


async def test_a_token_file_that_everybody_can_read(reachable: Path):
    tokens = reachable / "tokens.json"
    tokens.write_text("{}")
    tokens.chmod(0o644)
    found = await only(FILES, installation(server=running(tokens=str(tokens))), "problem")
    assert found.next == f"chmod o= {tokens}"
    assert "with their hashes" in found.why
    tokens.chmod(0o600)
    assert await levels(FILES, installation(server=running(tokens=str(tokens)))) == ["ok"]


async def test_a_closed_directory_protects_what_is_in_it(reachable: Path):
    inner = reachable / "closed"
    inner.mkdir(mode=0o700)
    tokens = inner / "tokens.json"
    tokens.write_text("{}")
    tokens.chmod(0o644)
    assert await levels(FILES, installation(server=running(tokens=str(tokens)))) == ["ok"]


async def test_a_key_that_the_user_of_the_server_cannot_read(tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    for file in (key, certificate):
        file.write_text("")
        file.chmod(0o600)
    table = {"http": {"listen": ["127.0.0.1:0"], "certfile": str(certificate), "keyfile": str(key)}}
    stranger = ServerUser("finger", 4711, frozenset({4711}))
    found = [each for each in await faults(FILES, installation(table, account=stranger)) if "key" in each]
    assert len(found) == 1
    assert "problem" in found[0]
    assert "cannot be read by finger" in found[0]
    found = await faults(FILES, installation(table, account=stranger, knows_account=False))
    assert any(each.startswith("warning") and "key" in each for each in found)


async def test_secrets_of_the_bot_are_looked_at(reachable: Path):
    secret = reachable / "password"
    secret.write_text("x")
    secret.chmod(0o604)
    table = {
        "irc": {
            "servers": ["ircs://irc.example.net"],
            "sasl": ["plain"],
            "account": "bot",
            "account_password_file": str(secret),
        }
    }
    assert "secret of [irc]" in (await only(FILES, installation(table), "problem")).what


async def test_secrets_of_webhooks_in_the_configuration_and_in_files(reachable: Path):
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    file, other = reachable / "x.toml", reachable / "team.secret"
    for path in (file, other):
        path.write_text(secret)
        path.chmod(0o644)
    receiver = {"name": "team", "url": "https://hooks.example.org/x"}
    inline = installation({"webhook": [{**receiver, "secret": secret}]}, path=file)
    assert "the configuration" in (await only(FILES, inline, "problem")).what
    apart = installation({"webhook": [{**receiver, "secret_file": str(other)}]}, path=file)
    found = await only(FILES, apart, "problem")
    assert f"{other} (secret of [[webhook]])" in found.what
    assert "replace the secret" in found.next
