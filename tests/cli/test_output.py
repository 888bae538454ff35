"""What commands write where it cannot be written: terminals that are not UTF-8, closed pipes, full disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fingertrio.cli.output import FAILED
from fingertrio.testing.process import environment, run
from fingertrio.testing.program import Program, running
from tests.cli.kit import done

STATUS = "Grüße \u7720い"


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    listen = {"listen": ["127.0.0.1:0"]}
    backend = {"use": "memory", "users": {"ada": STATUS, "bob": STATUS}}
    with running({"backend": backend, "finger": listen, "setter": listen, "http": listen}) as program:
        yield program


@pytest.fixture
def arguments(request: pytest.FixtureRequest, program: Program, tmp_path: Path) -> list[str]:
    """The arguments of the command that the test is about."""
    database = tmp_path / "x.db"
    done("user", "add", "ada", "--status", STATUS, path=database)
    commands = {
        "finger": ["finger", f"ada@{program.addresses['finger']}"],
        "unknown": ["finger", f"nobody@{program.addresses['finger']}"],
        "set": ["set", "--at", program.addresses["setter"], "--user", "ada", STATUS],
        "watch": ["watch", "--once", "--url", program.addresses["http"]],
        "watch-text": ["watch", "--once", "--text", "--url", program.addresses["http"]],
        "show": ["user", "show", "ada", "--database", str(database)],
        "export": ["export", "--database", str(database)],
        "help": ["--help"],
        "version": ["--version"],
    }
    return commands[request.param]


def start(
    arguments: list[str],
    *,
    environ: dict[str, str] | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    encoding: str = "utf-8",
) -> subprocess.CompletedProcess[str]:
    return run(*arguments, environ=environment() | (environ or {}), stdout=stdout, stderr=stderr, encoding=encoding)


ALL = ["unknown", "set", "watch", "show", "export", "help"]
STATUSES = {"unknown": 1}


@pytest.mark.parametrize(("arguments", "name"), [(name, name) for name in ALL], indirect=["arguments"])
def test_a_reader_that_is_gone_is_no_failure(arguments: list[str], name: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = start(arguments, stdout=writer)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (STATUSES.get(name, 0), "")


@pytest.mark.parametrize("arguments", ["finger", "watch", "export", "version"], indirect=True)
def test_a_full_disk_is_one_line_and_a_status_of_its_own(arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = start(arguments, stdout=full)
    finally:
        os.close(full)
    assert (ended.returncode, ended.stderr) == (FAILED, "fingertrio: standard output: No space left on device\n")


@pytest.mark.parametrize("arguments", ["unknown"], indirect=True)
def test_without_standard_error_the_status_is_the_same(arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert start(arguments, stderr=full).returncode == 1
        assert start([*arguments[:1], "x@127.0.0.1:1"], stderr=full).returncode == 3
        assert start([*arguments[:1], "x@127.0.0.1:1"], stdout=full, stderr=full).returncode == 3
    finally:
        os.close(full)


LATIN_1 = {"PYTHONIOENCODING": "latin-1"}
ASCII = {"PYTHONIOENCODING": "ascii"}
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("arguments", "environ", "shown"),
    [
        ("finger", LATIN_1, "Grüße ??".encode("latin-1")),
        ("show", LATIN_1, "Grüße ??".encode("latin-1")),
        ("watch-text", LATIN_1, "Grüße ??".encode("latin-1")),
        ("finger", ASCII, STATUS.encode()),
        ("finger", POSIX, STATUS.encode()),
    ],
    indirect=["arguments"],
)
def test_a_terminal_that_is_not_utf_8_shows_what_it_can(
    arguments: list[str], environ: dict[str, str], shown: bytes
) -> None:
    ended = start(arguments, environ=environ, encoding="latin-1")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert shown.decode("latin-1") in ended.stdout


@pytest.mark.parametrize("arguments", ["watch", "export"], indirect=True)
def test_json_is_utf_8_whatever_the_terminal(arguments: list[str]) -> None:
    ended = start(arguments, environ={"PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert STATUS in json.dumps(json.loads(ended.stdout.splitlines()[0]), ensure_ascii=False)


def test_text_from_a_terminal_that_is_not_utf_8_is_set_as_text(program: Program) -> None:
    """Under a UTF-8 locale Python cannot decode the bytes of a Latin-1 terminal."""
    status = "Grüße".encode("latin-1")
    ended = subprocess.run(
        [
            os.fsencode(sys.executable),
            b"-m",
            b"fingertrio",
            b"set",
            b"--at",
            program.addresses["setter"].encode(),
            b"--user",
            b"bob",
            status,
        ],
        capture_output=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        0,
        f"bob: Grüße ({program.addresses['setter']})\n".encode(),
        b"",
    )
    assert start(["finger", f"bob@{program.addresses['finger']}"]).stdout == "Grüße\n"


@pytest.mark.parametrize(("arguments", "name"), [("unknown", "unknown"), ("export", "export")], indirect=["arguments"])
def test_without_any_standard_stream_the_status_is_the_same(arguments: list[str], name: str) -> None:
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "fingertrio", *arguments]
    assert subprocess.run(command, timeout=60, check=False).returncode == STATUSES.get(name, 0)


def test_no_file_gets_the_number_of_a_standard_stream_that_was_closed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from fingertrio.cli import output\n"
        "with output.guarded(): first = os.open('/dev/null', os.O_RDONLY)\n"
        "open(sys.argv[1], 'w').write(f'{first} {sys.stderr.fileno()}')"
    )
    found = tmp_path / "found"
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code, str(found)]
    subprocess.run(command, timeout=60, check=True)
    number, stderr = found.read_text().split()
    assert (int(number) > 2, stderr) == (True, "2")
