"""`fingertrio irc-check`: tries the IRC networks of a configuration, and tells what to change.

ok    libera  server        irc.libera.chat:6697: connected
FAIL  libera  account       SASL login failed: ...
change: correct account, account_password_file or sasl
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
import trio

from fingertrio import FingerService
from fingertrio.backend import NO_PLAN, NO_SUCH_USER, BackendError
from fingertrio.cli.check_config import load_or_exit, refuse
from fingertrio.cli.completing import config_files
from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_backend
from fingertrio.frontends.irc import NetworkSettings
from fingertrio.frontends.irc.answer import compose, compose_in_channel
from fingertrio.frontends.irc.check import Finding, NetworkCheck
from fingertrio.frontends.irc.door import to_networks
from fingertrio.wire.irc_client import IRCClient

_ASKER = "asker"


@click.command("irc-check")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), shell_complete=config_files)
@click.option("--network", "names", multiple=True, help="Only this network; may be repeated.")
@click.option("--join", is_flag=True, help="Also join the channels.")
@click.option("--raw", is_flag=True, help="Show every line, without the secrets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--ask", metavar="NAME", help="Connect to nothing; show the lines that would answer a question for NAME.")
def irc_check(path: Path, names: Sequence[str], ask: str | None, *, join: bool, raw: bool, as_json: bool) -> None:
    """Try the IRC networks of FILE under another nick, and tell what works and what to change.

    A running bot is not disturbed. The exit status is 1 if something that is configured does not work.
    """
    config = load_or_exit(path)
    networks = _networks(config, path, names)
    if ask is not None:
        trio.run(_ask, config, path, networks, ask)
        return
    results = trio.run(partial(_check, networks, join=join, raw=raw))
    if as_json:
        rows = [{"network": name, **asdict(finding)} for name, findings in results for finding in findings]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        _show(results)
    if any(finding.level == "FAIL" for _, findings in results for finding in findings):
        sys.exit(1)


def _networks(config: Config, path: Path, names: Sequence[str]) -> list[NetworkSettings]:
    section = config.doors.get("irc")
    if section is None:
        refuse(ConfigError(f"{path}: there is no section [irc]"))
    try:
        networks = to_networks(section)
    except ValueError as error:
        refuse(ConfigError(f"{path}: [irc] {error}"))
    known = [network.name for network in networks]
    for name in names:
        if name not in known:
            refuse(ConfigError(f"{path}: [irc] has no network {name}; it has {', '.join(known)}"))
    return [network for network in networks if not names or network.name in names]


async def _check(networks: Sequence[NetworkSettings], *, join: bool, raw: bool) -> list[tuple[str, list[Finding]]]:
    checks = [
        (
            network.name,
            NetworkCheck(network, join=join, trace=partial(_print_line, network.name) if raw else None),
        )
        for network in networks
    ]
    async with trio.open_nursery() as nursery:
        for _, check in checks:
            nursery.start_soon(check.run)
    return [(name, check.findings) for name, check in checks]


def _print_line(network: str, direction: str, line: str) -> None:
    click.echo(f"{network} {direction} {line}", err=True)


def _show(results: Sequence[tuple[str, list[Finding]]]) -> None:
    """One line for each finding; at the end, what to change."""
    width = max((len(name) for name, _ in results), default=0)
    colors = {"ok": "green", "warn": "yellow", "FAIL": "red"}
    changes: dict[str, None] = {}
    for name, findings in results:
        for finding in findings:
            level = click.style(f"{finding.level:<4}", fg=colors[finding.level])
            click.echo(f"{level}  {name:<{width}}  {finding.what:<13}  {finding.text}")
            if finding.change:
                changes[f"{name}: {finding.change}"] = None
    for change in changes:
        click.echo(f"change {change}")
    if not changes:
        click.echo("nothing to change")


async def _ask(config: Config, path: Path, networks: Sequence[NetworkSettings], name: str) -> None:
    source = str(path)
    try:
        plugin = find_backend(config.backend.use, source)
        options = plugin.check_options(config.backend.options, source)
        async with plugin.open(options) as backend, FingerService.open(backend) as service:
            try:
                info = await service.get_user(name)
            except BackendError as error:
                status, found = error.public_message, False
            else:
                found = info is not None
                status = NO_SUCH_USER if info is None else info.status or NO_PLAN
    except ConfigError as error:
        refuse(error)
    except (ValueError, OSError, BackendError) as error:
        refuse(ConfigError(f"{source}: [backend]: the {config.backend.use} backend cannot start: {error}"))
    for network in networks:
        for line in _lines(network, name, status, found=found):
            click.echo(f"{network.name}  {line}")


def _lines(network: NetworkSettings, name: str, status: str, *, found: bool) -> list[str]:
    """In private, and in the first channel where questions are answered."""
    client = IRCClient(network.login)
    command = network.reply if found else "NOTICE"
    lines = [f"{command} {_ASKER} :{text}" for text in compose(name, status, client.room(command, _ASKER))]
    channel = next((each.plan.name for each in network.channels if each.answer), None)
    if found and channel is not None:
        room = client.room("PRIVMSG", channel)
        lines.append(f"PRIVMSG {channel} :{compose_in_channel(_ASKER, client.nick, name, status, room)}")
    return lines
