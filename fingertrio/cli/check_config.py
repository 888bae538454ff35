"""`fingertrio check-config`, and what it shares with `serve`: mistakes are one message and status 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from fingertrio.config.config import Config, load_config
from fingertrio.config.errors import ConfigError

MISTAKE = 2


@click.command("check-config")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def check_config(path: Path) -> None:
    """Report every mistake in a configuration file. Opens no port and no backend."""
    load_or_exit(path)
    click.echo(f"{path}: no mistakes found")


def load_or_exit(path: Path | None) -> Config:
    """The configuration for a server; ends the program if it has mistakes."""
    try:
        return load_config(path, to_serve=True)
    except ConfigError as error:
        refuse(error)


def refuse(error: ConfigError) -> NoReturn:
    """End the program because of a mistake in the configuration."""
    click.echo(f"fingertrio: {error}", err=True)
    sys.exit(MISTAKE)
