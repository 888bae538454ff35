"""Shared by the commands for a database: which file it is, and how failures are reported.

The commands work on the file itself, whether a server has it open or not. The file is that of `--database FILE`, of the
configuration of `--config` or FINGERTRIO_CONFIG, of the server that runs on this machine, or of the built-in
configuration. In the last two cases standard error says which file it is. The running server says itself where its
database is, since variables of its environment may have named another file than its configuration.
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

from fingertrio.backends.sqlite import SQLiteOptions
from fingertrio.cli.discover import running_server
from fingertrio.cli.errors import stop
from fingertrio.config.config import load_backend
from fingertrio.config.errors import ConfigError, report
from fingertrio.config.options import OptionsError, validate
from fingertrio.server.accounts import sqlite_table
from fingertrio.server.runtime import RunningServer

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Place:
    """The options that say which database a command works on."""

    config: Path | None = None
    database: Path | None = None

    def find(self) -> SQLiteOptions:
        """The backend's options. Ends the program if the configuration has none."""
        if self.database is not None:
            return SQLiteOptions(path=self.database)
        try:
            config = self.config
            if config is None and (named := os.environ.get("FINGERTRIO_CONFIG")):
                config = Path(named)
            if config is not None:
                return _sqlite_options(config)
            if (server := running_server()) is not None:
                options, note = _options_of(server), f"of the server with pid {server.pid}"
            else:
                options, note = _sqlite_options(None), "no server runs here"
        except ConfigError as error:
            stop(str(error))
        click.echo(f"database: {options.path} ({note})", err=True)
        return options


def _options_of(server: RunningServer) -> SQLiteOptions:
    if server.database is None:
        raise ConfigError(
            f"the server that runs here (pid {server.pid}) has no database file: its backend is {server.backend}; "
            "name a file with --database FILE"
        )
    path = Path(server.database)
    try:  # how much history it keeps
        return _sqlite_options(None if server.config is None else Path(server.config)).model_copy(update={"path": path})
    except ConfigError:  # changed since it was started
        return SQLiteOptions(path=path)


def _sqlite_options(config: Path | None) -> SQLiteOptions:
    source = str(config or "the built-in configuration")
    backend = load_backend(config)
    table = sqlite_table(backend)
    if table is None:
        raise ConfigError(
            f'{source}: [backend] use = "{backend.use}" has no database file; name one with --database FILE'
        )
    # A layer has keys of its own beside those of its backend.
    known = SQLiteOptions.model_fields if backend.use == "layers" else table.keys() - {"use"}
    try:
        return validate(SQLiteOptions, {key: table[key] for key in table if key in known}, "backend")
    except OptionsError as error:
        raise ConfigError(report(source, error.mistakes)) from None


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
        ("config", "TOML file whose [backend] names the database; without it, the built-in default."),
    ):
        command = click.option(f"--{name}", type=as_path, callback=combine, expose_value=False, help=help_text)(command)
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
