"""`fingertrio check-config`, and what it shares with `serve`: mistakes are one message and status 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from fingertrio.cli.completing import config_files
from fingertrio.cli.discover import named_config
from fingertrio.cli.errors import REFUSED, show_findings, stop
from fingertrio.config.config import Config, load_config
from fingertrio.config.errors import ConfigError


@click.command("check-config")
@click.argument("path", metavar="[FILE]", required=False, type=click.Path(path_type=Path), shell_complete=config_files)
def check_config(path: Path | None) -> None:
    """Report every mistake in a configuration file. Opens no port and no backend.

    It also warns of what is valid and yet hardly meant: a path that the user of [process] cannot use, pages that show
    tokens to the network. Without FILE, the one of FINGERTRIO_CONFIG or the one that init wrote.

    Exit status: 0 all is well; 1 there are warnings; 2 no server starts with it.
    """
    path = path or named_config()
    if path is None:
        raise click.UsageError("name a FILE; there is none where init writes it")
    config = load_or_exit(path)
    from fingertrio.server.misconfiguration import find_misconfiguration  # noqa: PLC0415 -- `serve` does not need it

    findings = find_misconfiguration(config)
    show_findings(findings)
    if findings:
        sys.exit(REFUSED)
    click.echo(f"{path}: no mistakes found")


def load_or_exit(path: Path | None) -> Config:
    """The configuration for a server; ends the program if it has mistakes."""
    try:
        return load_config(path, to_serve=True)
    except ConfigError as error:
        refuse(error)


def refuse(error: ConfigError) -> NoReturn:
    """End the program because of a mistake in the configuration."""
    stop(str(error))
