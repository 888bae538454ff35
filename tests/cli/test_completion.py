"""`fingertrio completion`: what real shells complete, and what is suggested without a shell."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import CompletionItem, ShellComplete
from click.testing import CliRunner

from fingertrio.cli import api, completion
from fingertrio.cli.commands import COMMANDS, cli
from fingertrio.server.runtime import RunningServer, RuntimeFile

BIN = Path(sys.executable).parent


def suggested(*words: str, incomplete: str = "") -> list[str]:
    found = ShellComplete(cli, {}, "fingertrio", "X").get_completions(list(words), incomplete)
    return [item.value if item.type == "plain" else f"{item.type}:{item.value}" for item in found]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server and no configuration but those of the test."""
    for name in ("RUNTIME_DIRECTORY", "FINGERTRIO_URL", "FINGERTRIO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr("fingertrio.server.runtime.SYSTEM", tmp_path / "none")
    monkeypatch.setattr("fingertrio.config.places.SYSTEM_CONFIG", tmp_path / "none.toml")


def test_commands_and_options_are_suggested():
    assert suggested() == sorted(COMMANDS)
    assert suggested(incomplete="bac") == ["backends", "backup"]
    assert suggested("user", incomplete="s") == ["set", "show"]
    assert suggested("healthcheck", incomplete="--t") == ["--timeout"]
    assert suggested("init", "--for", incomplete="m") == ["me", "machine"]


def test_users_are_those_of_the_server_and_never_text_that_a_shell_could_run(monkeypatch: pytest.MonkeyPatch):
    names: list[Any] = ["ada", "adam", "bob", "a;reboot", "a`id`", "a b", "a\nb", "\u202eada", None]

    def request(_method: str, url: str, path: str, *, timeout: float) -> dict[str, Any]:
        assert (url, path, timeout) == ("http://127.0.0.1:8000", "/api/users", 1.0)
        return {"users": [{"user": name} for name in names]}

    monkeypatch.setattr(api, "request", request)
    for words in (("set", "--user"), ("watch",), ("watch", "bob"), ("finger",), ("user", "show"), ("user", "remove")):
        assert suggested(*words, incomplete="a") == ["ada", "adam"], words
    assert pwd.getpwuid(0).pw_name in suggested("token", "add", incomplete="r")
    assert suggested("token", "add", incomplete="ada") == ["ada", "adam"]


def test_where_no_server_answers_nothing_is_suggested_or_printed(capsys: pytest.CaptureFixture[str]):
    assert suggested("watch", incomplete="a") == []
    assert capsys.readouterr() == ("", "")


def test_configurations_of_this_machine_come_first_then_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert suggested("serve", "--config") == ["file:"]
    monkeypatch.setenv("FINGERTRIO_CONFIG", "/etc/a.toml")
    file = RuntimeFile.open()
    assert file is not None
    try:
        file.publish(RunningServer(7, config="/etc/b.toml"))
        for words in (
            ("serve", "--config"),
            ("check-config",),
            ("healthcheck", "--config"),
            ("user", "list", "--config"),
        ):
            assert suggested(*words) == ["/etc/a.toml", "/etc/b.toml"]
        assert suggested("config", incomplete="--config=/etc/b") == ["/etc/b.toml"]
        assert suggested("serve", "--config", incomplete="./") == ["file:./"]
    finally:
        file.close()


def test_sections_backends_and_front_ends_are_suggested():
    assert suggested("config", incomplete="l") == ["limits", "log"]
    assert "sqlite" in suggested("backends")
    assert suggested("frontends", incomplete="se") == ["setter"]


def test_webhooks_are_those_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert suggested("webhook", "test") == []
    path = tmp_path / "f.toml"
    path.write_text("".join(f"[[webhook]]\nname = '{name}'\n" for name in ("team", "$(reboot)", "crew")))
    monkeypatch.setenv("FINGERTRIO_CONFIG", str(path))
    assert suggested("webhook", "test") == ["crew", "team"]


@pytest.mark.parametrize(
    ("line", "words", "incomplete"),
    [
        ("fingertrio ", [], ""),
        ("fingertrio he", [], "he"),
        ("fingertrio config --config=/etc", ["config"], "--config=/etc"),
        ("fingertrio finger ada@ho", ["finger"], "ada@ho"),
        ("fingertrio set 'at the", ["set"], "at the"),
        ("fingertrio set --user ada ", ["set", "--user", "ada"], ""),
        ("", [], ""),
    ],
)
def test_bash_sends_the_line_and_its_words_are_those_of_a_shell(
    line: str, words: list[str], incomplete: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COMP_LINE", line)
    assert completion.OurBashComplete(cli, {}, "fingertrio", "X").get_completion_args() == (words, incomplete)


@pytest.mark.parametrize(
    ("line", "breaks", "item", "sent"),
    [
        ("fingertrio he", " =:@", CompletionItem("healthcheck"), "plain,healthcheck"),
        ("fingertrio config --config=/etc/a", " =:@", CompletionItem("/etc/a.toml"), "plain,/etc/a.toml"),
        ("fingertrio config --config=/etc/a", " @", CompletionItem("/etc/a.toml"), "plain,--config=/etc/a.toml"),
        ("fingertrio check-config /a:b/c", " =:@", CompletionItem("/a:b/c.toml"), "plain,b/c.toml"),
        ("fingertrio check-config /a:b/c", "", CompletionItem("/a:b/c.toml"), "plain,/a:b/c.toml"),
        ("fingertrio check-config ./", " =:@", CompletionItem("./", type="file"), "file,./"),
    ],
)
def test_bash_gets_what_follows_the_last_character_at_which_it_breaks_words(
    line: str, breaks: str, item: CompletionItem[str], sent: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_BREAKS", breaks)
    assert completion.OurBashComplete(cli, {}, "fingertrio", "X").format_completion(item) == sent


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_to_install_it(shell: str, monkeypatch: pytest.MonkeyPatch):
    explicit = CliRunner().invoke(cli, ["completion", shell]).stdout
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert CliRunner().invoke(cli, ["completion"]).stdout == explicit
    assert f"#   fingertrio completion {shell} > " in explicit
    assert explicit.startswith("#compdef fingertrio\n" if shell == "zsh" else "# Completion of fingertrio")


def test_an_unknown_shell_is_named_with_those_that_are_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHELL", "/bin/dash")
    done = CliRunner().invoke(cli, ["completion"])
    assert (done.exit_code, "name a shell: bash, zsh, fish" in done.stderr) == (2, True)


# What is typed, and the line that is there when the shell has completed it.
TYPED = {
    "fingertrio healthc\t": "fingertrio healthcheck",
    "fingertrio config --config={dir}/ser\t": "fingertrio config --config={dir}/server.toml",
    "fingertrio init --for ma\t": "fingertrio init --for machine",
}

START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SETUP = {
    "bash": 'eval "$(fingertrio completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(fingertrio completion zsh)"',
}


def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "server.toml").touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb", "HOME": str(tmp_path), "PS1": "$ "}


@pytest.mark.parametrize("shell", START)
def test_at_a_terminal_a_shell_completes_what_is_typed(shell: str, tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    leader, follower = os.openpty()
    environ = environment(tmp_path)
    process = subprocess.Popen(
        START[shell], stdin=follower, stdout=follower, stderr=follower, env=environ, start_new_session=True
    )
    os.close(follower)
    try:
        # Ctrl-A, so that the completed line becomes the argument of echo; one line after the other, as a person types.
        converse(leader, f"{SETUP[shell]}; echo re''ady\r", "ready")
        for typed, completed in TYPED.items():
            seen = converse(leader, f"{typed.format(dir=tmp_path)}\x01echo do''ne: \r", "done: ")
            assert completed.format(dir=tmp_path) in seen.rpartition("done: ")[2], seen
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def converse(leader: int, typed: str, until: str) -> str:
    """Type, and read up to the line that has `until`."""
    os.write(leader, typed.encode())
    seen = ""
    while re.search(rf"{until}.*\n", seen) is None:
        seen += os.read(leader, 4096).decode("utf-8", "replace").replace("\r", "")
    return seen


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_with_whole_descriptions(tmp_path: Path):
    asked = ["fingertrio healthc", f"fingertrio config --config={tmp_path}/ser"]
    script = "fingertrio completion fish | source; " + "; ".join(f'complete -C "{line}"' for line in asked)
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == [
        f"healthcheck\t{COMMANDS['healthcheck'].help}",
        f"--config={tmp_path}/server.toml",
    ]
