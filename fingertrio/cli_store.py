"""The commands for a database of the sqlite backend: users, backups, import and export.

They work on the file itself, whether a server has it open or not. Which file: `--database FILE`, or the one that the
configuration names. Exit status: 0 done; 1 something failed, or some records were bad; 2 wrong usage or configuration.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fingertrio.config import load_config
from fingertrio.mistakes import ConfigError
from fingertrio.wire.text import clean, clean_line

if TYPE_CHECKING:
    from fingertrio.backends.sqlite import SQLiteOptions
    from fingertrio.backends.sqlite.admin import Edit, Person

MISTAKE = 2

F = TypeVar("F", bound=Callable[..., Any])


# Everything of the backend is imported where it is used: whoever serves does not need it, nor does --help.
# ruff: noqa: PLC0415


@dataclass(frozen=True, slots=True)
class _Place:
    """Which database a command is for, as it was said."""

    config: Path | None = None
    database: Path | None = None

    def find(self) -> SQLiteOptions:
        """The backend's options. Ends the program where there are none."""
        from fingertrio.backends.sqlite import SQLiteOptions
        from fingertrio.plugins import find_backend

        if self.database is not None:
            return SQLiteOptions(path=self.database)
        source = str(self.config or "the built-in configuration")
        try:
            backend = load_config(self.config).backend
            if backend.use != "sqlite":
                raise ConfigError(  # noqa: TRY301 -- told as every mistake in a configuration is
                    f'{source}: [backend] use = "{backend.use}" keeps no database; name one with --database FILE'
                )
            options: SQLiteOptions = find_backend("sqlite", source).check_options(backend.options, source)  # type: ignore[assignment]
        except ConfigError as error:
            click.secho(f"fingertrio: {error}", err=True)
            sys.exit(MISTAKE)
        return options


def _place_options(command: F) -> F:
    """Let a command take --config and --database, and give it the `place`."""
    as_path = click.Path(path_type=Path)

    def combine(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        given = replace(context.params.get("place", _Place()), **{str(parameter.name): value})
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
def _failures_told() -> Iterator[None]:
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


@contextmanager
def _progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A function that is told how much more is done, shown on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _more: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


def _to_total(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """From `_progress` to whoever tells how much is done in all."""
    done = 0

    def report(now: int, _total: int) -> None:
        nonlocal done
        advance(max(now - done, 0))
        done = max(now, done)

    return report


# --- users ------------------------------------------------------------------------------------------------------------


@click.group()
def user() -> None:
    """Add, show, change and remove users of a sqlite database, with their full names and details."""


def _pairs(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in value:
        name, equals, rest = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        pairs[name.strip()] = rest.strip()
    return pairs


def _links(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    links = _pairs(context, parameter, value)
    for name, address in links.items():
        if address and not address.startswith(("http://", "https://")):
            raise click.BadParameter(f"{name}: {address!r} does not begin with https:// or http://")
    return links


def _time_zone(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    from zoneinfo import available_timezones

    zones = available_timezones()  # none at all where the system has no tzdata
    if value and zones and value not in zones:
        raise click.BadParameter(f"{value!r} is no time zone; they are called like Europe/Berlin")
    return value


def _until(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone()  # without a zone it is this machine's
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time; expected 2026-12-24T18:00, or that with +01:00 or Z") from None


def _edit_options(command: F) -> F:
    """Let a command take everything that can be said of a user, and give it the `edit`."""
    for option in (
        click.option(
            "--detail", "details", multiple=True, callback=_pairs, metavar="NAME=TEXT", help="Another detail."
        ),
        click.option("--link", "links", multiple=True, callback=_links, metavar="NAME=URL", help="A web address."),
        click.option("--timezone", callback=_time_zone, help="As Europe/Berlin."),
        click.option("--pronouns", help="As they/them."),
        click.option("--pubkey", type=click.File("r", encoding="utf-8"), help="File with a public key; - is stdin."),
        click.option("--project", help="What is being worked on."),
        click.option("--until", callback=_until, metavar="TIME", help="When the status ends by itself."),
        click.option("--status", help="The status."),
        click.option("--name", help="The full name."),
    ):
        command = option(command)
    return command


def _edit(options: Mapping[str, Any]) -> Edit:
    from fingertrio.backends.sqlite.admin import Edit

    details = {name: options[name] for name in ("project", "pronouns", "timezone") if options[name] is not None}
    if options["pubkey"] is not None:
        details["pubkey"] = options["pubkey"].read(64 * 1024)  # what is longer is refused, whatever it is
    if options["until"] is not None and options["status"] is None:
        raise click.UsageError("--until goes with --status")
    return Edit(
        name=options["name"],
        details={**details, **options["links"], **options["details"]},
        status=options["status"],
        until=options["until"],
    )


@user.command("add")
@click.argument("login", metavar="USER")
@_edit_options
@_place_options
def user_add(place: _Place, login: str, **options: Any) -> None:
    """Add USER, who must not be there yet; without --status, the status is "No Plan."."""
    from fingertrio.backends.sqlite import admin

    if options["status"] is None:
        options["status"] = "No Plan."  # what finger has said since 4.2BSD of who is there and says nothing
    found = place.find()
    with _failures_told(), admin.administered(found.path, make=True) as connection:
        admin.add_user(connection, login, _edit(options), found.retention)


@user.command("set")
@click.argument("login", metavar="USER")
@_edit_options
@_place_options
def user_set(place: _Place, login: str, **options: Any) -> None:
    """Change what is said of USER. An empty text takes away: --name "", --project "", --link Home=."""
    from fingertrio.backends.sqlite import admin

    found = place.find()
    with _failures_told(), admin.administered(found.path) as connection:
        admin.change_user(connection, login, _edit(options), found.retention)


@user.command("show")
@click.argument("login", metavar="USER")
@click.option("--history", default=5, show_default=True, type=click.IntRange(0), help="How many past statuses.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as a line of an export.")
@_place_options
def user_show(place: _Place, login: str, history: int, as_json: bool) -> None:
    """Show what the database says of USER."""
    from fingertrio.backends.sqlite import admin, transfer

    found = place.find()
    with _failures_told(), admin.administered(found.path) as connection:
        if as_json:
            line = transfer.export_user(connection, login)
            person = None
        else:
            line = None
            person = admin.show_user(connection, login, history, found.retention)
    if person is not None:
        _show(person)
    elif line is not None:
        click.echo(line)
    else:
        raise click.ClickException(f"there is no user {login}")


def _show(person: Person) -> None:
    facts = [("login", person.login), ("name", person.name or "")]
    present = person.present
    if present is not None:
        facts += [("status", present.status), ("since", _local(present.since)), ("until", _local(present.until))]
    facts += person.details.items()
    for name, text in facts:
        if text:
            first, *rest = clean(text).strip("\n").split("\n")
            click.echo(f"{click.style(f'{clean_line(name):<10}', bold=True)} {first}")
            for line in rest:
                click.echo(f"{'':<10} {line}")
    if present is None:
        click.secho("no status holds now", dim=True)
    for info in person.past:
        ended = f"to {_local(info.until)}" if info.until else "on"
        click.secho(f"{_local(info.since)} {ended:<19}  {clean_line(info.status)}", dim=True)


def _local(when: datetime | None) -> str:
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"


@user.command("remove")
@click.argument("login", metavar="USER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_place_options
def user_remove(place: _Place, login: str, yes: bool) -> None:
    """Forget USER and everything that USER ever said. On a terminal it asks first."""
    from fingertrio.backends.sqlite import admin

    found = place.find()
    with _failures_told(), admin.administered(found.path) as connection:
        if not yes and sys.stdin.isatty():
            click.confirm(f"Forget {login} and everything that {login} said?", abort=True)
        admin.remove_user(connection, login)


# --- whole databases --------------------------------------------------------------------------------------------------


@click.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@_place_options
def backup_command(place: _Place, target: Path, force: bool) -> None:
    """Copy the database to FILE, as it is at one moment, while it is being served."""
    from fingertrio.backends.sqlite.backup import back_up

    path = place.find().path
    with _failures_told(), _progress(_pages(path), "Copying") as advance:
        back_up(path, target.absolute(), force=force, progress=_to_total(advance))
    click.echo(f"{target}: whole, and checked", err=True)


@click.command("restore")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@_place_options
def restore_command(place: _Place, source: Path, yes: bool) -> None:
    """Let the database say what the backup FILE says, and nothing else, while it is being served."""
    from fingertrio.backends.sqlite.backup import restore

    path = place.find().path
    if not yes and path.exists() and sys.stdin.isatty():
        click.confirm(f"Replace what is in {path} by {source}?", abort=True)
    with _failures_told(), _progress(_pages(source), "Copying") as advance:
        restore(path, source.absolute(), progress=_to_total(advance))


def _pages(path: Path) -> int:
    return path.stat().st_size // 4096 if path.exists() else 0


@click.command("import")
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, path_type=Path))
@_place_options
def import_command(place: _Place, source: Path) -> None:
    """Take users from SOURCE: a users file, a directory of plans, or an export.

    A users file has lines of "user: status". In a directory of plans each file is called as the user and holds the
    status. Each record is taken as a whole or not at all; what is there already is left alone, so that an import
    that was interrupted is continued by starting it again.

    Bad records are named, with their place; then the exit status is 1.
    """
    from fingertrio.backends.sqlite import admin, sources, transfer

    found = place.find()

    def on_bad(bad: sources.Bad) -> None:
        over_the_bar = "\r\x1b[K" if sys.stderr.isatty() else ""
        click.echo(f"{over_the_bar}{clean_line(bad.place)}: {clean_line(bad.reason)}", err=True)

    with _failures_told(), admin.administered(found.path, make=True) as connection:
        size, reading = sources.open_source(source)
        with _progress(size, "Importing") as advance:
            tally = transfer.import_records(
                connection, reading, retention=found.retention, on_bad=on_bad, progress=advance
            )
    click.echo(f"{tally.imported} imported, {tally.unchanged} as they were, {tally.bad} bad", err=True)
    if tally.bad:
        sys.exit(1)


@click.command("export")
@click.argument("target", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@_place_options
def export_command(place: _Place, target: Path | None, force: bool) -> None:
    """Write everybody, with details and history, as JSON lines: to FILE, or to standard output."""
    from fingertrio.backends.sqlite import admin, transfer

    found = place.find()
    with _failures_told(), admin.administered(found.path) as connection:
        with _progress(transfer.count_users(connection), "Exporting") as advance, _written(target, force) as write:
            for line in transfer.export_users(connection):
                write(line + "\n")
                advance(1)


@contextmanager
def _written(target: Path | None, force: bool) -> Iterator[Callable[[str], object]]:
    """What writes to a file that appears when it is whole, for its owner alone; None: to standard output."""
    if target is None:
        yield sys.stdout.write
        sys.stdout.flush()
        return
    if target.exists() and not force:
        raise FileExistsError(f"{target} is there already")
    target = target.absolute()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 -- a descriptor is no path
            yield file.write
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# What cli.py adds to its group.
COMMANDS: tuple[click.Command, ...] = (user, backup_command, restore_command, import_command, export_command)
