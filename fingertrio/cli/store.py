"""The commands for a sqlite database as a whole: backup, restore, import, export.

Each shows on a terminal how far it is. The exit status of an import is 1 if some records were bad. The backend is
imported where it is used, as database.py says.
"""
# ruff: noqa: PLC0415 -- as it says above

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fingertrio.cli.database import Place, failures_told, place_options
from fingertrio.wire.text import clean_line


@click.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@place_options
def backup_command(place: Place, target: Path, force: bool) -> None:
    """Copy the database to FILE, as it is at one moment, while it is being served."""
    from fingertrio.backends.sqlite.backup import back_up

    path = place.find().path
    with failures_told(), _progress(_pages(path), "Copying") as advance:
        back_up(path, target.absolute(), force=force, progress=_to_total(advance))
    click.echo(f"{target}: whole, and checked", err=True)


@click.command("restore")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@place_options
def restore_command(place: Place, source: Path, yes: bool) -> None:
    """Let the database say what the backup FILE says, and nothing else, while it is being served."""
    from fingertrio.backends.sqlite.backup import restore

    path = place.find().path
    if not yes and path.exists() and sys.stdin.isatty():
        click.confirm(f"Replace what is in {path} by {source}?", abort=True)
    with failures_told(), _progress(_pages(source), "Copying") as advance:
        restore(path, source.absolute(), progress=_to_total(advance))


def _pages(path: Path) -> int:
    return path.stat().st_size // 4096 if path.exists() else 0


@click.command("import")
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, path_type=Path))
@place_options
def import_command(place: Place, source: Path) -> None:
    """Take users from SOURCE: a users file, a directory of plans, or an export.

    A users file has lines of "user: status". In a directory of plans each file is called as the user and holds the
    status. Each record is taken as a whole or not at all; what is there already is left alone, so that an import
    that was interrupted is continued by starting it again.

    Bad records are named, with their place; then the exit status is 1.
    """
    from fingertrio.backends.sqlite import admin, sources, transfer

    found = place.find()

    def on_bad(bad: sources.BadRecord) -> None:
        over_the_bar = "\r\x1b[K" if sys.stderr.isatty() else ""
        click.echo(f"{over_the_bar}{clean_line(bad.place)}: {clean_line(bad.reason)}", err=True)

    with failures_told(), admin.administered(found.path, make=True) as connection:
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
@place_options
def export_command(place: Place, target: Path | None, force: bool) -> None:
    """Write everybody, with details and history, as JSON lines: to FILE, or to standard output."""
    from fingertrio.backends.sqlite import admin, transfer

    found = place.find()
    with failures_told(), admin.administered(found.path) as connection:
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
