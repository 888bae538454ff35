"""The commands for the users of a sqlite database: add, set, show, remove.

The backend is imported where it is used, as database.py says.
"""
# ruff: noqa: PLC0415 -- as it says above

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from fingertrio.cli.database import F, Place, failures_told, place_options
from fingertrio.wire.text import clean, clean_line
from fingertrio.wire.times import in_utc

if TYPE_CHECKING:
    from fingertrio.backends.sqlite.admin import Edit, StoredUser


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
        return in_utc(datetime.fromisoformat(value).astimezone())  # without a zone it is this machine's
    except (ValueError, OverflowError):
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
@place_options
def user_add(place: Place, login: str, **options: Any) -> None:
    """Add USER, who must not be there yet; without --status, the status is "No Plan."."""
    from fingertrio.backends.sqlite import admin

    if options["status"] is None:
        options["status"] = "No Plan."  # what finger has said since 4.2BSD of who is there and says nothing
    found = place.find()
    with failures_told(), admin.administered(found.path, make=True) as connection:
        admin.add_user(connection, login, _edit(options), found.retention)


@user.command("set")
@click.argument("login", metavar="USER")
@_edit_options
@place_options
def user_set(place: Place, login: str, **options: Any) -> None:
    """Change what is said of USER. An empty text takes away: --name "", --project "", --link Home=."""
    from fingertrio.backends.sqlite import admin

    found = place.find()
    with failures_told(), admin.administered(found.path) as connection:
        admin.change_user(connection, login, _edit(options), found.retention)


@user.command("show")
@click.argument("login", metavar="USER")
@click.option("--history", default=5, show_default=True, type=click.IntRange(0), help="How many past statuses.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as a line of an export.")
@place_options
def user_show(place: Place, login: str, history: int, as_json: bool) -> None:
    """Show what the database says of USER."""
    from fingertrio.backends.sqlite import admin, transfer

    found = place.find()
    with failures_told(), admin.administered(found.path) as connection:
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


def _show(person: StoredUser) -> None:
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
@place_options
def user_remove(place: Place, login: str, yes: bool) -> None:
    """Forget USER and everything that USER ever said. On a terminal it asks first."""
    from fingertrio.backends.sqlite import admin

    found = place.find()
    with failures_told(), admin.administered(found.path) as connection:
        if not yes and sys.stdin.isatty():
            click.confirm(f"Forget {login} and everything that {login} said?", abort=True)
        admin.remove_user(connection, login)
