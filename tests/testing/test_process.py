"""A forked program is like a fresh one: arguments, environment, descriptors, directory, exit status."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from fingertrio.testing.forkserver import ForkedProcess
from fingertrio.testing.process import environment, run
from fingertrio.testing.program import Configuration, Program, running

CONFIG: Configuration = {
    "backend": {"use": "memory", "users": {"ada": "Weaving"}},
    "finger": {"listen": ["127.0.0.1:0"]},
    "http": {"listen": ["127.0.0.1:0"]},
}


forks = pytest.mark.skipif("COVERAGE_PROCESS_START" in os.environ, reason="coverage is measured in fresh processes")


def what_it_has(program: Program) -> dict[str, object]:
    """What the kernel knows of a process that its parent decides."""
    place = Path("/proc", str(program.pid))
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    kept = ["Umask", "SigBlk", "SigIgn", "SigCgt", "Cpus_allowed", "Groups", "Uid"]
    return {
        "directory": (place / "cwd").readlink(),
        "descriptors": {link.name: re.sub("[0-9]+", "N", link.readlink().name) for link in (place / "fd").iterdir()},
        **{name: status[name] for name in kept},
    }


@forks
def test_the_kernel_sees_the_same_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        with running(CONFIG) as forked, running(CONFIG, fresh=True) as fresh:
            assert isinstance(forked._process, ForkedProcess)
            found, expected = what_it_has(forked), what_it_has(fresh)
    finally:
        os.umask(before)
    assert found == expected


@pytest.mark.parametrize("arguments", [["--version"], ["finger", "a b"]])
def test_a_command_writes_and_ends_the_same(arguments: list[str]):
    environ = environment() | {"FINGERTRIO_URL": "http://127.0.0.1:1", "TZ": "Asia/Tokyo"}
    forked, fresh = (run(*arguments, environ=environ, fresh=fresh) for fresh in (False, True))
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


def test_a_signal_that_ended_it_is_its_status():
    with running(CONFIG) as program:
        program.signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
        assert program.has_ended


@forks
def test_what_decides_how_python_starts_needs_a_fresh_start():
    with running(CONFIG, environ={"PYTHONUTF8": "0"}) as program:
        assert not isinstance(program._process, ForkedProcess)
