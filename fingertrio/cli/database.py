"""What the commands for a database have in common: which one it is, and how failures are told.

The file itself is worked on, whether a server has it open or not. Which file: `--database FILE`, or the one that the
configuration names. Exit status: 0 done; 1 something failed; 2 wrong usage or configuration.

Everything of the backend is imported where it is used, here and in the commands: whoever serves does not need it, nor
does --help.
"""
# ruff: noqa: PLC0415 -- as it says above

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fingertrio.config.config import load_backend
from fingertrio.config.errors import ConfigError

if TYPE_CHECKING:
    from fingertrio.backends.sqlite import SQLiteOptions

MISTAKE = 2

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Which database a command is for, as it was said."""

    config: Path | None = None
    database: Path | None = None

    def find(self) -> SQLiteOptions:
        """The backend's options. Ends the program where there are none."""
        from fingertrio.backends.sqlite import SQLiteOptions
        from fingertrio.config.plugins import find_backend

        if self.database is not None:
            return SQLiteOptions(path=self.database)
        source = str(self.config or "the built-in configuration")
        try:
            backend = load_backend(self.config)
            if backend.use != "sqlite":
                raise ConfigError(  # noqa: TRY301 -- told as every mistake in a configuration is
                    f'{source}: [backend] use = "{backend.use}" keeps no database; name one with --database FILE'
                )
            options: SQLiteOptions = find_backend("sqlite", source).check_options(backend.options, source)  # type: ignore[assignment]
        except ConfigError as error:
            click.secho(f"fingertrio: {error}", err=True)
            sys.exit(MISTAKE)
        return options


def place_options(command: F) -> F:
    """Let a command take --config and --database, and give it the `place`."""
    as_path = click.Path(path_type=Path)

    def combine(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        given = replace(context.params.get("place", Place()), **{str(parameter.name): value})
        if given.config is not None and given.database is not None:
            raise click.UsageError("--config and --database exclude each other")
        context.params["place"] = given

    for name, help_text in (
        ("database", "The database file."),
        ("config", "TOML file whose [backend] names the database; without it, the built-in default."),
    ):
        command = click.option(f"--{name}", type=as_path, callback=combine, expose_value=False, help=help_text)(command)
    return command


@contextmanager
def failures_told() -> Iterator[None]:
    """One line for whatever goes wrong with a file, and status 1."""
    import sqlite3

    try:
        yield
    except BrokenPipeError:
        raise  # click ends quietly for whoever reads no further
    except FileExistsError as error:
        raise click.ClickException(f"{error}; --force replaces it") from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror or error}") from None
    except sqlite3.Error as error:
        raise click.ClickException(f"the database: {error}") from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
