"""Shared by the commands for a database: which file it is, and how failures are reported.

The commands work on the file itself, whether a server has it open or not. The file is that of `--database FILE`, of the
configuration of `--config` or FINGERTRIO_CONFIG, of the server that runs on this machine, of the configuration that
`fingertrio init` wrote, or of the built-in one. In the last three cases standard error says which file it is. The
running server says itself where its database is, since variables of its environment may have named another file than
its configuration.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from fingertrio.backends.sqlite.files import absolute
from fingertrio.backends.sqlite.rows import DEFAULT_HISTORY, Retention
from fingertrio.cli.completing import config_files
from fingertrio.cli.discover import running_server
from fingertrio.cli.errors import stop
from fingertrio.config.places import default_config
from fingertrio.server.runtime import RunningServer

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class FoundDatabase:
    """The database that a command works on.

    Attributes:
        path: absolute.
        tokens: the tokens file of its server.
        retention: how much history its server keeps.
    """

    path: Path
    tokens: Path
    retention: Retention


@dataclass(frozen=True, slots=True)
class Place:
    """The options that say which database a command works on."""

    config: Path | None = None
    database: Path | None = None

    def find(self) -> FoundDatabase:
        """The database. Ends the program if there is none."""
        if self.database is not None:
            return _beside(absolute(self.database))
        config = self.config
        if config is None and (named := os.environ.get("FINGERTRIO_CONFIG")):
            config = Path(named)
        if config is not None:
            return _configured(config)
        if (server := running_server()) is not None:
            found, note = _of(server), f"of the server with pid {server.pid}"
        else:
            found, note = _configured(default_config()), "no server runs here"
        click.echo(f"database: {found.path} ({note})", err=True)
        return found


def _of(server: RunningServer) -> FoundDatabase:
    if server.database is None:
        stop(
            f"the server that runs here (pid {server.pid}) has no database file: its backend is {server.backend}; "
            "name a file with --database FILE"
        )
    retention = Retention(server.history or DEFAULT_HISTORY, server.history_days)
    beside = _beside(Path(server.database), retention)
    return beside if server.tokens is None else replace(beside, tokens=Path(server.tokens))


def _beside(path: Path, retention: Retention | None = None) -> FoundDatabase:
    """A database with its tokens beside it."""
    return FoundDatabase(path, path.with_name("tokens.json"), retention or Retention(DEFAULT_HISTORY))


def _configured(config: Path | None) -> FoundDatabase:
    from fingertrio.cli.database_config import sqlite_options  # noqa: PLC0415 -- pydantic takes longer than the command

    options = sqlite_options(config)
    return _beside(options.path, options.retention)


def place_options(command: F) -> F:
    """Give a command the options --config and --database, and the argument `place`."""
    as_path = click.Path(path_type=Path)

    def combine(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        given = replace(context.params.get("place", Place()), **{str(parameter.name): value})
        if given.config is not None and given.database is not None:
            raise click.UsageError("use either --config or --database, not both")
        context.params["place"] = given

    for name, help_text in (
        ("database", "The database file."),
        ("config", "TOML file whose [backend] names the database; by default that of the server."),
    ):
        complete = config_files if name == "config" else None
        command = click.option(
            f"--{name}", type=as_path, callback=combine, expose_value=False, help=help_text, shell_complete=complete
        )(command)
    return command


@contextmanager
def failures_reported() -> Iterator[None]:
    """Reports a failure as one line, with status 1."""
    try:
        yield
    except FileExistsError as error:
        raise click.ClickException(f"{error}; --force replaces it") from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror or error}") from None
    except sqlite3.Error as error:
        raise click.ClickException(f"the database: {error}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
