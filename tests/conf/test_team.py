"""The recipe for a team: tokens, presets, statuses that end, https by nginx, and a channel that hears of changes."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.conf.behind import CHECKS, PATIENCE, Behind, finger
from tests.conf.recipes import LIMITS, listening, nginx, recipe, serving, token

pytestmark = pytest.mark.slow

ANSWERS = {
    b"USER": [":irc.example.net 001 fingerbot :Welcome", ":irc.example.net 422 fingerbot :No message of the day"],
    b"JOIN": [":fingerbot!f@h JOIN #team", ":irc.example.net 366 fingerbot #team :End of /NAMES list"],
    b"PING": [":irc.example.net PONG irc.example.net :fingertrio"],
}


class Channel:
    """An IRC server for one bot, as far as this bot needs one. It keeps what the bot says in #team."""

    def __init__(self) -> None:
        self.said: SimpleQueue[str] = SimpleQueue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    command = line.split()[0].upper()
                    for answer in ANSWERS.get(command, ()):
                        connection.sendall(f"{answer}\r\n".encode())
                    if command in {b"PRIVMSG", b"NOTICE"}:
                        self.said.put(line.decode())

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


@dataclass(frozen=True)
class Team(Behind):
    """The running recipe, and its channel."""

    channel: Channel


@pytest.fixture(scope="module")
def site() -> Iterator[Team]:
    with tempfile.TemporaryDirectory(prefix="ft-") as name:
        directory = Path(name)
        channel = Channel()
        replaced = {"/var/lib/fingertrio": name, "ircs://irc.example.net": f"irc://127.0.0.1:{channel.port}"}
        config = recipe("team.toml", directory, replaced)
        environ = {**LIMITS, **listening("finger", "http", "admin", setter=f"unix:{directory}/setter")}
        try:
            with serving(config, environ) as program:
                secret = token(config, environ, "ada")
                with nginx(directory, program.address("http")) as proxy:
                    found = Team(proxy, (program,), secret, channel)
                    program.wait_for("irc_joined")
                    found.set("Weaving patterns")
                    yield found
        finally:
            channel.close()


def test_a_preset_has_its_text_and_its_end_and_the_channel_hears_of_it(site: Team):
    site.set(":lunch")
    found = json.loads(site.ask("/api/users/ada").body)
    assert found["status"] == "🍽️ Lunch"
    assert found["until"]
    assert "Lunch" in finger(site.nodes[0].address("finger"), "ada")
    said = site.channel.said.get(timeout=PATIENCE)
    assert said.startswith("PRIVMSG #team :")
    assert "Lunch" in said


def test_a_status_without_an_end_is_gone_the_next_morning(site: Team):
    site.set("In the office")
    assert json.loads(site.ask("/api/users/ada").body)["until"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_behind_nginx(site: Team, check: Callable[[Behind], None]):
    check(site)


def test_http_is_redirected_to_https(site: Team):
    with socket.create_connection(("127.0.0.1", site.proxy.ports["http"]), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /ada HTTP/1.0\r\nHost: finger.example.org\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert re.search(rb"Location: https://finger\.example\.org/ada\r\n", answer.read())
