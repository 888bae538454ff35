"""What irc-check finds, as lines of the doctor."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import trio

from fingertrio.cli.doctor.irc import CHECK, look_at_networks
from fingertrio.frontends.irc.check import Finding, NetworkCheck
from tests.cli.doctor.kit import installation, look, only

TABLE = {"irc": {"server": "127.0.0.1:1"}}


class Checked(NetworkCheck):
    """A try that found what a test says."""

    said: tuple[Finding, ...] = ()

    async def run(self) -> list[Finding]:
        await trio.lowlevel.checkpoint()
        self.findings += self.said
        return self.findings


def having(*findings: Finding) -> Any:
    kind = type("Found", (Checked,), {"said": findings})
    return replace(CHECK, look=partial(look_at_networks, make=kind))


async def test_what_works_is_one_line():
    found = await only(
        having(Finding("ok", "server", "connected"), Finding("ok", "nick", "x")), installation(TABLE), "ok"
    )
    assert found.what == "irc: server, nick"


async def test_what_does_not_work_has_the_change_that_irc_check_names():
    findings = [
        Finding("warn", "owner", "the bot does not name its owner", 'set owner = "..."'),
        Finding("FAIL", "account", "SASL login failed", "correct account"),
        Finding("FAIL", "registration", "banned"),
    ]
    results = await look(having(*findings), installation(TABLE))
    assert [result.level for result in results] == ["warning", "problem", "problem"]
    assert [result.next for result in results[:2]] == ['set owner = "..."', "correct account"]
    assert "irc-check --network irc" in results[2].next


async def test_a_network_that_cannot_be_reached():
    results = await look(CHECK, installation(TABLE))
    assert "problem" in {result.level for result in results}
    assert any("Connection refused" in result.what for result in results)


async def test_a_secret_that_cannot_be_read():
    table = {"irc": {"server": "127.0.0.1:1", "password_file": "/nowhere/password"}}
    assert "cannot be read" in (await only(CHECK, installation(table), "problem")).what


def test_it_does_not_apply_without_a_bot():
    assert CHECK.skip(installation()) == "there is no section [irc]"
