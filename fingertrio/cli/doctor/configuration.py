"""Checks `server`, `configuration` and `files`: what runs, with what, and who may read and change the files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fingertrio.cli.doctor.account import open_to_others
from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation
from fingertrio.config.irc import IrcSection
from fingertrio.config.webhook import Webhook, WebhookSection
from fingertrio.server.accounts import backend_keeps_tokens, tokens_path
from fingertrio.server.misconfiguration import find_misconfiguration

# What others learn from files that have no secret as it is: tokens are stored as hashes.
_CONTENT = {
    "database": "the details and the history of everybody",
    "tokens": "who has tokens, with their hashes",
}
_URL_KEYS = ("url",)  # of backends; they may hold a password


async def look_at_server(place: Installation, report: Report) -> None:
    """Whether a server runs with this configuration."""
    if place.server is None:
        report.warning(
            f"no server runs with {place.source}",
            "statuses cannot be read; the other checks say what can be known without it",
            "systemctl start fingertrio, or fingertrio serve",
        )
        return
    said = f"pid {place.server.pid} runs as {place.account.name}; doors: {', '.join(place.server.doors) or 'none'}"
    if place.account.uid != 0:
        report.ok(said)
    else:
        report.warning(
            said,
            "a fault in it, or in a backend, could be used to change this machine",
            'user = "fingertrio" in [process]: ports are opened first, then root is given up',
        )
    if place.config is not None and (missing := place.config.doors.keys() - place.server.doors.keys()):
        report.problem(
            f"the server has not opened {', '.join(f'[{name}]' for name in sorted(missing))}",
            "the configuration has changed since it started",
            "systemctl restart fingertrio, or stop it and start it again",
        )


async def look_at_configuration(place: Installation, report: Report) -> None:
    """What `fingertrio check-config` finds."""
    if not place.mistakes:
        findings = [] if place.config is None else find_misconfiguration(place.config)
        for finding in findings:
            report.warning(finding.what, finding.why, finding.next)
        if not findings:
            report.ok(f"{place.source}: no mistakes found")
        return
    first, *others = place.mistakes.splitlines()
    for line in others or [first]:
        report.problem(
            line.strip(),
            "a server does not start with this configuration, and a running one refuses to reload it",
            f"correct it, and run fingertrio check-config {place.source}",
        )


async def look_at_files(place: Installation, report: Report) -> None:
    """Who may read the files with secrets, and change those that the server trusts."""
    seen = False
    if place.path is not None and place.path.exists():
        seen = True
        _check_file(place, report, place.path, secret=_has_password(place), what="the configuration")
    for what, path in _secret_files(place):
        if path.exists():
            seen = True
            _check_file(place, report, path, secret=True, what=what)
    if not seen:
        report.ok("there is no file with a secret yet")


def _check_file(place: Installation, report: Report, path: Path, *, secret: bool, what: str) -> None:
    try:
        mode = path.stat().st_mode & 0o7777
        if open_to_others(path, os.W_OK):
            report.problem(
                f"{path} ({what}) has mode {mode:04o}",
                "every user of this machine can change it",
                f"chmod o-w {path}, and look at what is in it",
            )
        elif secret and open_to_others(path):
            report.problem(
                f"{path} ({what}) has mode {mode:04o}",
                f"every user of this machine can read {_CONTENT.get(what.partition(',')[0], 'the secret in it')}",
                f"chmod o= {path}" + ("" if what.partition(",")[0] in _CONTENT else ", and replace the secret"),
            )
        elif (obstacle := place.account.obstacle(path, os.R_OK)) is not None and what != "the configuration":
            level = report.problem if place.knows_account else report.warning
            why = "the server runs as this user" if place.knows_account else "a server of this user cannot use it"
            level(
                f"{path} ({what}) cannot be read by {place.account.name}",
                f"{why}, and may not {obstacle.lacks} {obstacle.place} ({obstacle.ownership})",
                f"give {path} to the server's user or to one of its groups (chown, chgrp), or run this command as root",
            )
        else:
            report.ok(f"{path} ({what}): mode {mode:04o}")
    except OSError as error:
        report.warning(
            f"{path} ({what}): {error.strerror}", "it cannot be known who may read it", "run this command as root"
        )


def _secret_files(place: Installation) -> Iterator[tuple[str, Path]]:
    if place.database is not None:
        yield "database", place.database
        for suffix in ("-wal", "-shm"):
            yield f"database, {suffix}", place.database.with_name(place.database.name + suffix)
    if place.server is not None and place.server.tokens is not None:
        yield "tokens", Path(place.server.tokens)
    elif place.config is not None and not backend_keeps_tokens(place.config):
        yield "tokens", tokens_path(place.config)
    for name, _, keyfile in place.certificates():
        yield f"key of [{name}]", keyfile
    if (irc := place.section("irc", IrcSection)) is not None:
        for network in irc.by_name.values():
            yield from _irc_files(network)
    for webhook in _webhooks(place):
        if webhook.secret_file is not None:
            yield from _secret_file("secret of [[webhook]]", webhook.secret_file)


def _webhooks(place: Installation) -> tuple[Webhook, ...]:
    section = place.section("webhook", WebhookSection)
    return () if section is None else section.root


def _irc_files(network: Any) -> Iterator[tuple[str, Path]]:
    files = [network.password_file, network.account_password_file, network.tls_key]
    files += [channel.key_file for channel in network.channels]
    for path in filter(None, files):
        yield from _secret_file("secret of [irc]", path)


def _secret_file(what: str, path: Path) -> Iterator[tuple[str, Path]]:
    if not str(path).startswith("$"):  # systemd's credentials: only the service has them
        yield what, path.expanduser()


def _has_password(place: Installation) -> bool:
    """Whether the configuration itself has a secret: a password in the URL of a backend, or that of a webhook."""
    if place.config is None:
        return True  # not known
    if any(webhook.secret is not None or webhook.old_secrets for webhook in _webhooks(place)):
        return True
    return any(_password_in(table) for use in ("redis", "xmlrpc", "mirror") for _, table in place.backends(use))


def _password_in(table: Mapping[str, Any]) -> bool:
    for key in _URL_KEYS:
        try:
            if urlsplit(str(table.get(key, ""))).password:
                return True
        except ValueError:
            return True
    return False


SERVER = Check("server", "Whether a server runs, and as whom", look_at_server)
CONFIGURATION = Check("configuration", "What fingertrio check-config finds", look_at_configuration)
FILES = Check("files", "Who may read and change configuration, database, tokens and keys", look_at_files)
