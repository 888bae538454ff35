"""`fingertrio check-config`, and what it shares with `serve`: mistakes are one message and status 2."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from fingertrio.cli.errors import stop
from fingertrio.config.config import Config, load_config
from fingertrio.config.errors import ConfigError


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
    stop(str(error))
