"""The recipe for a shared machine: real homes with modes and owners, and processes of their users at the setter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from fingertrio.testing.program import Program, running
from tests.conf.behind import finger
from tests.conf.recipes import listening, own, recipe

pytestmark = pytest.mark.slow

# What a process of a user does: connect, send, and print the answer.
SAYS = """import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode()); s.shutdown(socket.SHUT_WR)
sys.stdout.write(s.makefile("r", newline="").read())"""

IS_ROOT = os.getuid() == 0
UIDS = {user: 20001 + number if IS_ROOT else os.getuid() for number, user in enumerate(("ada", "bob", "cat"))}


@dataclass(frozen=True)
class Machine:
    """The running recipe. As root it runs as another user, as under systemd, so that the modes of homes matter."""

    program: Program
    homes: Mapping[str, Path]
    setter: Path

    def finger(self, query: str) -> str:
        return finger(self.program.address("finger"), query)

    def say(self, user: str, request: str) -> str:
        """What the setter answers to a process of `user`."""
        command = ["/usr/bin/python3", "-c", SAYS, self.setter, request]
        identity = {"user": UIDS[user], "group": UIDS[user], "extra_groups": []} if IS_ROOT else {}
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=20, **identity)  # type: ignore[call-overload] # no overload takes a dict
        return bytes(done.stdout).decode()

    def write(self, user: str, name: str, text: str) -> None:
        path = self.homes[user] / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        os.chown(path, UIDS[user], -1)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="ft-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        homes = {user: directory / user for user in UIDS}
        for user, home in homes.items():
            home.mkdir()
            os.chown(home, UIDS[user], -1)
            home.chmod(0o711)
        (state := directory / "state").mkdir()
        state.chmod(0o777)
        config = recipe("pubnix.toml", directory, {"/var/lib/fingertrio": str(state)})
        config.chmod(0o644)
        setter = state / "setter"
        environ = {
            **listening("finger", "http", setter=f"unix:{setter}"),
            "FINGERTRIO_SETTER__SOCKET_MODE": '"0666"',
            "FINGERTRIO_SERVICE__CACHE_TTL": "0",
            **({"FINGERTRIO_PROCESS__USER": '"nobody"'} if IS_ROOT else {}),
        }
        accounts = json.dumps({user: [UIDS[user], str(home), user.title()] for user, home in homes.items()})
        command = (sys.executable, Path(__file__).with_name("accounts.py"), accounts)
        with running(config, command=command, environ=own(config, environ)) as program:
            found = Machine(program, homes, setter)
            found.write("ada", ".plan", "Weaving patterns,\nalgebraically.\n")
            found.write("bob", ".plan", "Nobody shall know.\n")
            found.write("bob", ".nofinger", "")
            found.write("cat", ".plan", "Asleep.\n")
            yield found


def test_a_plan_is_the_status_and_what_a_user_sets_stands_above_it(machine: Machine):
    assert "Weaving patterns,\r\nalgebraically." in machine.finger("ada")
    assert machine.say("ada", "ada\r\nBack at five\r\n") == "OK\r\n"
    answer = machine.finger("ada")
    assert "Back at five" in answer
    assert "Weaving" not in answer
    assert "Name: Ada" in answer  # of the password database, as with the plan
    assert machine.say("ada", "ada\r\n\r\n") == "OK\r\n"  # `fingertrio set --clear`
    assert "Weaving patterns" in machine.finger("ada")


@pytest.mark.skipif(not IS_ROOT, reason="needs processes of several users: run the tests as root")
def test_the_kernel_says_who_sets_a_status(machine: Machine):
    answer = machine.say("cat", "ada\r\nI was here\r\n")
    assert answer.startswith("ERROR")
    assert "I was here" not in machine.finger("ada")
    machine.program.wait_for("query", door="setter", asked="ada", outcome="denied")


def test_nofinger_hides_a_plan(machine: Machine):
    assert machine.finger("bob") == "No such user\r\n"
    assert "bob" not in machine.finger("")


@pytest.mark.skipif(not IS_ROOT, reason="modes do not restrict the user who runs the tests: run them as root")
def test_a_closed_home_hides_its_user_and_mode_711_is_enough(machine: Machine):
    machine.homes["cat"].chmod(0o700)
    assert machine.finger("cat") == "No such user\r\n"
    machine.homes["cat"].chmod(0o711)
    assert "Asleep." in machine.finger("cat")
