"""The commands for a database, without a process and without the rest of the command line."""

from __future__ import annotations

from pathlib import Path

import click
from click.testing import CliRunner, Result

from fingertrio.cli import store as cli_store
from fingertrio.cli import users as cli_users

_COMMANDS = click.Group(
    commands=[
        cli_users.user,
        cli_store.backup,
        cli_store.restore,
        cli_store.import_,
        cli_store.export,
    ]
)


def run(*arguments: object, text: str = "", path: Path | None = None) -> Result:
    """What a command gave, over the database at `path`."""
    place = [] if path is None else ["--database", str(path)]
    result = CliRunner().invoke(_COMMANDS, [*map(str, arguments), *place], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments: object, path: Path, text: str = "") -> str:
    """The standard output of a command that succeeds."""
    result = run(*arguments, path=path, text=text)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: object, path: Path | None = None, status: int = 1) -> str:
    """The standard error of a command that ends with `status`."""
    result = run(*arguments, path=path)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    return result.stderr
