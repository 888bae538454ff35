"""docs/guide/write-a-backend.md, followed exactly, but for the ports and without a network."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fingertrio.testing.process import environment
from fingertrio.testing.program import Program, running

pytestmark = [pytest.mark.release, pytest.mark.slow]  # it builds and installs packages

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide/write-a-backend.md").read_text()

# The files on the page, by name: the word after the language of a code block.
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))

# The packages of examples/ that are built and installed with those of the page: each plug-in, and its kind.
EXAMPLES = {"gopher": "frontends", "ldap": "backends", "vending-machine": "backends"}

ENVIRONMENT = {name: value for name, value in environment().items() if not name.startswith("PYTHON")}


def test_a_backend_takes_twenty_lines() -> None:
    lines = [line for line in FILES["countdown.py"].splitlines() if line.strip()]
    assert len(lines) <= 20


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the page's packages, built and installed."""
    place = tmp_path_factory.mktemp("write-a-backend")
    for name, text in FILES.items():
        path = place / "countdown" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    # Copies, since building writes into the source.
    copies = [shutil.copytree(ROOT / "examples" / example, place / example) for example in EXAMPLES]
    projects = [place / "countdown", *copies]

    # Nothing can be fetched: this test's own environment has the build tool and the dependencies.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build: list[str | Path] = [
        "wheel",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        place / "dist",
    ]
    subprocess.run([*pip, *build, *projects], check=True)
    venv.create(place / "env", with_pip=False, symlinks=True)
    python = place / "env/bin/python"
    site = next((place / "env/lib").glob("python*/site-packages"))
    (site / "parent.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    wheels = sorted((place / "dist").glob("*.whl"))
    assert len(wheels) == len(projects)
    subprocess.run([*pip, "--python", python, "install", "--no-index", "--no-deps", *wheels], check=True)
    return python


def run(python: Path, *arguments: str | Path) -> str:
    """The output of a module, run so that only installed packages can be imported."""
    command = [python, "-I", "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(python: Path, config: Path) -> Iterator[Program]:
    """The program with this configuration, but for the ports."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", config.read_text())
    with running(text, command=[python, "-I", "-m", "fingertrio"]) as program:
        yield program


def talk(program: Program, door: str, data: bytes) -> bytes:
    with socket.create_connection(program.address(door), timeout=10) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(4096), b""))


def test_the_backend_is_chosen_by_name_and_asked_over_finger(python: Path) -> None:
    place = python.parents[2] / "countdown"
    assert "countdown  (countdown)" in run(python, "fingertrio", "backends")
    assert "no mistakes" in run(python, "fingertrio", "check-config", place / "countdown.toml")
    with serving(python, place / "countdown.toml") as program:
        assert set(program.addresses) == {"finger"}
        assert re.fullmatch(r"-?\d+ days to go\r\n", talk(program, "finger", b"christmas\r\n").decode())
        assert talk(program, "finger", b"easter\r\n") == b"No such user\r\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_installs(python: Path, example: str) -> None:
    assert f"(fingertrio-{example})" in run(python, "fingertrio", EXAMPLES[example])


def test_the_tests_on_the_page_pass(python: Path) -> None:
    place = python.parents[2] / "countdown"
    options: list[str | Path] = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "-o",
        "trio_mode=true",
        "--rootdir",
        place,
    ]
    assert "2 passed" in run(python, "pytest", *options, place / "test_countdown.py", place / "test_served.py")


def test_the_front_end_opens_another_door(python: Path) -> None:
    place = python.parents[2] / "countdown"
    config = place / "both.toml"
    config.write_text((place / "countdown.toml").read_text() + (place / "gopher.toml").read_text())
    with serving(python, config) as program:
        assert set(program.addresses) == {"finger", "gopher"}
        assert re.fullmatch(r"-?\d+ days to go\r\n\.\r\n", talk(program, "gopher", b"christmas\r\n").decode())
