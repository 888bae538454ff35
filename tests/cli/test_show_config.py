"""`fingertrio config`: values, where they come from, and which configuration it is."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, SecretStr

from fingertrio.cli import show_config as module
from fingertrio.cli.show_config import show_config
from fingertrio.config.effective import _secret_fields
from fingertrio.server.runtime import RunningServer, RuntimeFile

TEXT = """\
[backend]
use = "layers"
[[backend.layers]]
use = "redis"
url = "redis://:geheim@127.0.0.1:6379"
[[backend.layers]]
users = { ada = "x" }
use = "memory"
[finger]
listen = ["127.0.0.1:0"]
[irc]
servers = "ircs://irc.example.net"
[irc.networks.oftc]
servers = ["ircs://irc.oftc.net"]
[presets]
lunch = { status = "Lunch", for = "1h" }
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, no configuration and no variable but those of the test."""
    for name in [name for name in os.environ if name.startswith("FINGERTRIO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("fingertrio.server.runtime.SYSTEM", tmp_path / "none")
    monkeypatch.setattr("fingertrio.config.places.SYSTEM_CONFIG", tmp_path / "none.toml")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "f.toml"
    path.write_text(TEXT)
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(show_config, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def shown(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_value_has_its_origin(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FINGERTRIO_FINGER__ANSWER", "full")
    monkeypatch.setenv("FINGERTRIO_SERVICE__GRACE", "1.5")
    lines = [" ".join(line.split()) for line in shown("--config", path).splitlines()]
    for line in (
        'use = "layers" # f.toml:2',
        'url = "redis://***@127.0.0.1:6379" # f.toml:5',
        'ada = "x" # f.toml:7',
        'listen = ["127.0.0.1:0"] # f.toml:10',
        'answer = "full" # FINGERTRIO_FINGER__ANSWER',
        "user_list = true # default",
        "# show is not set",
        "[irc.networks.oftc]",
        'servers = ["ircs://irc.oftc.net"] # f.toml:14',
        "grace = 1.5 # FINGERTRIO_SERVICE__GRACE",
        'lunch = { status = "Lunch", for = "1h" } # f.toml:16',
    ):
        assert line in lines, line
    assert "geheim" not in "".join(lines)


def test_it_is_toml_and_means_the_same_but_for_secrets(path: Path):
    found = tomllib.loads(shown("--config", path))
    expected = tomllib.loads(TEXT.replace(":geheim", "***"))
    assert found["backend"]["layers"][1] == expected["backend"]["layers"][1]
    assert found["presets"] == expected["presets"]
    assert found["irc"]["networks"] == expected["irc"]["networks"]
    assert tomllib.loads(shown("--changed", "--config", path)) == expected


def test_sections_can_be_chosen_and_a_mistyped_one_is_named(path: Path):
    assert set(tomllib.loads(shown("--config", path, "finger", "[irc.networks]"))) == {"finger", "irc"}
    result = run("--config", path, "fingr")
    assert result.exit_code == 2
    assert "there is no section fingr in this configuration; did you mean finger or webfinger?" in result.stderr


def test_json_has_every_key(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FINGERTRIO_FINGER__ANSWER", "full")
    document = json.loads(shown("--json", "--config", path, "finger"))
    assert document["file"] == str(path)
    by_key = {setting["key"]: setting for setting in document["settings"]}
    assert by_key["listen"] == {
        "section": "finger",
        "key": "listen",
        "value": ["127.0.0.1:0"],
        "from": "file",
        "line": 10,
        "variable": None,
    }
    assert by_key["answer"]["variable"] == "FINGERTRIO_FINGER__ANSWER"
    assert by_key["show"]["value"] is None


def test_without_a_file_it_is_the_built_in_configuration():
    result = run("--changed")
    assert result.stderr == "configuration: the built-in configuration (no server runs here)\n"
    assert 'listen = ["127.0.0.1:7979"]' in result.stdout
    assert "# the built-in configuration" in result.stdout


def test_it_is_that_of_the_running_server_with_its_environment(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FINGERTRIO_FINGER__ANSWER", "status")
    monkeypatch.setattr(module, "_environment_of", lambda _: {"FINGERTRIO_FINGER__ANSWER": "full"})
    file = RuntimeFile.open()
    assert file is not None
    try:
        file.publish(RunningServer(7, config=str(path)))
        result = run("finger")
        assert result.stderr == f"configuration: {path} (loaded by the server with pid 7)\n"
        assert 'answer = "full"' in result.stdout
        other = path.with_name("other.toml")
        other.write_text(TEXT)
        result = run("finger", "--config", other)
        assert result.stderr == f"configuration: {other} (the server with pid 7 has loaded {path})\n"
        assert 'answer = "status"' in result.stdout
        assert "loaded by the server with pid 7" in run("finger", "--config", path).stderr
        monkeypatch.setattr(module, "_environment_of", lambda _: None)
        assert "the variables of its environment cannot be read by you" in run("finger").stderr
    finally:
        file.close()


def test_the_environment_of_a_process_is_read():
    found = module._environment_of(os.getpid())
    assert found is not None
    assert found["PATH"]
    assert module._environment_of(2**22 + 1) is None


def test_mistakes_are_reported_as_by_check_config(tmp_path: Path):
    path = tmp_path / "f.toml"
    path.write_text('[backend]\nuse = "memory"\n[finger]\nlisten = 1\n')
    result = run("--config", path)
    assert result.exit_code == 2
    assert "[finger] listen" in result.stderr


def test_fields_that_their_author_keeps_out_of_repr_are_secrets():
    @dataclass
    class Options:
        name: str = ""
        pin: str = field(default="", repr=False)

    class Model(BaseModel):
        name: str = ""
        pin: SecretStr | None = None

    assert _secret_fields(Options) == _secret_fields(Model) == {"pin"}


def test_an_array_of_tables_is_one_section_for_each_and_its_secrets_are_hidden(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    hooks = "".join(
        f'[[webhook]]\nname = "{name}"\nurl = "https://hooks.example.org/T0KEN?a=T0KEN"\nsecret = "{secret}"\n'
        for name in ("a", "b")
    )
    path.write_text(TEXT + hooks)
    monkeypatch.setenv("FINGERTRIO_WEBHOOK__B__TIMEOUT", "7")
    text = shown("--config", path)
    assert "T0KEN" not in text
    assert secret[6:] not in text
    first, second = tomllib.loads(text)["webhook"]
    assert (first["name"], first["timeout"], first["url"]) == ("a", 15.0, "https://hooks.example.org/***")
    assert (second["name"], second["timeout"], second["secret"]) == ("b", 7, "***")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "timeout = 7 # FINGERTRIO_WEBHOOK__B__TIMEOUT" in lines
    assert 'name = "b" # f.toml:22' in lines
