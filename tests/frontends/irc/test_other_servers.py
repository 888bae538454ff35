"""Our client on every other server that can be had: registration with or without capabilities, a question, irc-check.

Real time, loopback only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from fingertrio.cli.irc_check import irc_check
from tests.frontends.irc.extracted import PASSWORD, SERVERS, served
from tests.frontends.irc.real import Person, Start, Watcher

pytestmark = pytest.mark.slow  # a real server, in real time

HAPPY = "Status of moshez: Happy and well"

# Those that know CAP. The others answer it with 421 (irc2, irc.server), 400 (aioircd) or 451 (omgircd3).
_CAPABILITIES = {"ircd-hybrid", "ngircd", "miniircd"}

_CONFIG = """
[backend]
use = "memory"
[irc.networks.checked]
servers = ["irc://127.0.0.1:{port}"]
nick = "fingerbot"
password_file = "{secret}"
"""


@asynccontextmanager
async def visitor(port: int, nick: str) -> AsyncIterator[Person]:
    """A client that waits for nothing but 001, since some servers send no more."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        one = Person(stream)
        await one.send(f"PASS {PASSWORD}", f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        await one.until(" 001 ")
        yield one


async def check(tmp_path: Path, port: int, password: str = PASSWORD, *options: str) -> tuple[int, str]:
    (tmp_path / "secret").write_text(password)
    path = tmp_path / "fingertrio.toml"
    path.write_text(_CONFIG.format(port=port, secret=tmp_path / "secret"))
    result = await trio.to_thread.run_sync(CliRunner().invoke, irc_check, [str(path), "--raw", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    # A bouncer's is USER:PASSWORD:NETWORK or USER/NETWORK:PASSWORD.
    assert password.split(":")[1 if ":" in password else 0] not in result.output
    return result.exit_code, result.output


# It shows a sender's nick without an address, though it has ISUPPORT. Such messages are not answered.
_NOT_ANSWERED = {"aioircd"}


@pytest.mark.parametrize("name", SERVERS)
async def test_registers_answers_and_is_checked(name: str, start: Start, watcher: Watcher, tmp_path: Path):
    """irc-check neither disturbs the bot that runs nor shows the password."""
    with served(SERVERS[name]) as port:
        await start(port, password=PASSWORD)
        await watcher.wait("irc_registered")
        status, output = await check(tmp_path, port)
        assert status == 0, output
        assert "PASS ***" in output
        assert (" CAP * LS " in output) == (name in _CAPABILITIES), output
        if name not in _NOT_ANSWERED:
            async with visitor(port, "alice") as alice:
                assert await alice.ask("fingerbot", "moshez") == HAPPY
    assert watcher.metrics.networks["fingerbot"].connects["registered"] == 1
