"""The helper that starts the real program, with the real program and with processes that go wrong."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from fingertrio.testing.process import environment
from fingertrio.testing.program import Configuration, Program, ProgramError, running, to_toml

CONFIG: Configuration = {
    "backend": {"use": "memory", "users": {"moshez": "Happy and well"}},
    "finger": {"listen": ["127.0.0.1:0"]},
}

# A server that is ready at once and does this when it is to stop.
AT_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, {action})
print('{{"event": "ready"}}', flush=True)
time.sleep(60)
"""


def finger(program: Program) -> bytes:
    with socket.create_connection(program.address("finger"), timeout=10) as connection:
        connection.sendall(b"moshez\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))


def misbehaving(directory: Path, script: str) -> Program:
    return Program([sys.executable, "-c", script], directory / "log", name="the script")


@pytest.mark.parametrize("form", ["mapping", "text", "path"])
def test_the_program_is_ready_answers_and_ends_with_status_0(form: str, tmp_path: Path):
    path = tmp_path / "fingertrio.toml"
    path.write_text(to_toml(CONFIG))
    forms: dict[str, Configuration | str | Path] = {"mapping": CONFIG, "text": to_toml(CONFIG), "path": path}
    with running(forms[form]) as program:
        assert set(program.addresses) == {"finger"}
        assert finger(program) == b"Happy and well\r\n"
        assert program.wait_for("query", asked="moshez")["outcome"] == "ok"
        assert program.end() < 5
        assert program.has_ended
        assert program.events()["stopped"] == 1


def test_without_a_configuration_the_environment_is_used():
    environ = {"FINGERTRIO_BACKEND__USE": "memory", "FINGERTRIO_BACKEND__USERS": '{ moshez = "Here" }'}
    environ |= {f"FINGERTRIO_{door}__LISTEN": "127.0.0.1:0" for door in ("FINGER", "SETTER", "HTTP")}
    with running(None, environ=environ) as program:
        assert finger(program) == b"Here\r\n"


def test_the_callers_settings_do_not_reach_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FINGERTRIO_FINGER__ANSWER", "full")
    assert "FINGERTRIO_FINGER__ANSWER" not in environment()


def test_it_is_ended_when_the_test_fails():
    with pytest.raises(RuntimeError, match="the test failed"), running(CONFIG) as program:
        raise RuntimeError("the test failed")
    with pytest.raises(ProcessLookupError):
        os.kill(program.pid, 0)


def test_a_configuration_mistake_is_in_the_error():
    with pytest.raises(ProgramError, match='did you mean "listen"'), running({**CONFIG, "finger": {"lissen": []}}):
        pass


def test_a_process_that_ignores_the_stop_signal_is_killed(tmp_path: Path):
    program = misbehaving(tmp_path, AT_SIGTERM.format(action="signal.SIG_IGN"))
    with program:
        with pytest.raises(ProgramError, match=r"the script did not end within 0\.1 s"):
            program.end(within=0.1)
        program.stop(within=0.1)
        assert program.has_ended


def test_a_process_that_is_never_ready_fails_in_time_and_is_ended(tmp_path: Path):
    program = misbehaving(tmp_path, "import time; print('importing', flush=True); time.sleep(60)")
    program.start()
    try:
        assert program.wait_for("stray", line="importing")
        with pytest.raises(ProgramError, match=r"did not log \{'event': 'ready'\} within 0.1 s:\nimporting"):
            program.wait_ready(within=0.1)
    finally:
        program.stop(within=0.1)


def test_a_crash_is_told_with_the_last_output(tmp_path: Path):
    with pytest.raises(ProgramError, match=r"(?s)before it ended:.*ZeroDivisionError"):
        misbehaving(tmp_path, "1 / 0").__enter__()


def test_a_second_start_does_not_read_the_log_of_the_first(tmp_path: Path):
    (tmp_path / "log").write_text('{"event": "ready"}\n')
    with pytest.raises(ProgramError, match="before it ended"):
        misbehaving(tmp_path, "").__enter__()


def test_a_wrong_exit_status_is_an_error(tmp_path: Path):
    script = AT_SIGTERM.format(action="lambda *_: sys.exit(3)")
    with misbehaving(tmp_path, script) as program, pytest.raises(ProgramError, match="ended with status 3"):
        program.end()


def test_what_was_not_started_cannot_be_signalled(tmp_path: Path):
    program = misbehaving(tmp_path, "")
    program.stop()
    with pytest.raises(ProgramError, match="the script was not started"):
        program.signal(signal.SIGHUP)


def test_a_configuration_survives_the_way_to_toml():
    config: dict[str, dict[str, Any]] = {
        "backend": {
            "use": "memory",
            "users": {"a.b": 'quotes " and \\ backslashes', "ada": "smile \N{GRINNING FACE}\x7f\x00\n"},
            "path": Path("/etc/passwd"),
            "days": {"christmas": date(2026, 12, 25), "noon": datetime(2026, 12, 25, 12, tzinfo=UTC)},
        },
        "limits": {"rate": 1e9, "burst": 10, "exempt": [], "on": True, "nested": {"deep": {"er": ["x", 1.5]}}},
    }
    read = tomllib.loads(to_toml(config))
    config["backend"]["path"] = "/etc/passwd"
    assert read == config


def test_what_toml_does_not_have_is_an_error():
    with pytest.raises(TypeError, match="None"):
        to_toml({"backend": {"use": None}})
