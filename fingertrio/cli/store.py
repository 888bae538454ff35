"""The commands for a whole SQLite database: backup, restore, import, export. Each shows its progress on a terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fingertrio.backends.sqlite import admin, sources, transfer
from fingertrio.backends.sqlite import backup as backups
from fingertrio.cli.database import Place, failures_reported, place_options
from fingertrio.cli.drawing import progress
from fingertrio.cli.output import write_utf8
from fingertrio.wire.text import clean_line


@click.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@place_options
def backup(place: Place, target: Path, force: bool) -> None:
    """Copy the database to FILE while it is being served, as it is at one moment."""
    path = place.find().path
    with failures_reported(), progress(_pages(path), "Copying") as bar:
        backups.back_up(path, target.absolute(), force=force, progress=_to_total(bar.advance))
    click.echo(f"{target}: complete and verified", err=True)


@click.command("restore")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@place_options
def restore(place: Place, source: Path, yes: bool) -> None:
    """Replace the content of the database by the backup FILE, while it is being served."""
    path = place.find().path
    if not yes and path.exists() and sys.stdin.isatty():
        click.confirm(f"Replace the content of {path} by {source}?", abort=True)
    with failures_reported(), progress(_pages(source), "Copying") as bar:
        backups.restore(path, source.absolute(), progress=_to_total(bar.advance))


def _pages(path: Path) -> int:
    return path.stat().st_size // 4096 if path.exists() else 0


@click.command("import")
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, path_type=Path))
@place_options
def import_(place: Place, source: Path) -> None:
    """Import users from SOURCE: a users file, a directory of plans, or an export.

    A users file has lines of the form "user: status". In a directory of plans each file is named after a user and
    contains the status. Each record is imported completely or not at all. Existing users are not changed, so an
    interrupted import can be started again.

    Bad records are listed with their place; the exit status is then 1.
    """
    found = place.find()
    with failures_reported(), admin.administered(found.path, make=True) as connection:
        size, reading = sources.open_source(source)
        with progress(size, "Importing") as bar:
            tally = transfer.import_records(
                connection,
                reading,
                retention=found.retention,
                on_bad=lambda bad: bar.note(f"{clean_line(bad.place)}: {clean_line(bad.reason)}"),
                progress=bar.advance,
            )
    click.echo(f"{tally.imported} imported, {tally.unchanged} unchanged, {tally.bad} bad", err=True)
    if tally.bad:
        sys.exit(1)


@click.command("export")
@click.argument("target", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@place_options
def export(place: Place, target: Path | None, force: bool) -> None:
    """Write all users, with details and history, as JSON lines to FILE or to standard output."""
    found = place.find()
    with failures_reported(), admin.administered(found.path) as connection:
        with progress(transfer.count_users(connection), "Exporting") as bar, _written(target, force) as write:
            for line in transfer.export_users(connection):
                write(line + "\n")
                bar.advance(1)


@contextmanager
def _written(target: Path | None, force: bool) -> Iterator[Callable[[str], object]]:
    """A function that writes to a file, which appears when complete, with mode 0600; None: to standard output."""
    if target is None:
        yield write_utf8
        return
    if target.exists() and not force:
        raise FileExistsError(f"{target} already exists")
    target = target.absolute()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file.write
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _to_total(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """Adapt `_progress` to callers that report the total done so far."""
    done = 0

    def report(now: int, _total: int) -> None:
        nonlocal done
        advance(max(now - done, 0))
        done = max(now, done)

    return report
