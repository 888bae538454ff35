"""The commands for the users of a SQLite database: add, set, list, show, remove."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fingertrio.backend import NO_PLAN
from fingertrio.backends.sqlite import admin
from fingertrio.backends.sqlite.admin import Edit, StoredUser
from fingertrio.cli.arguments import text
from fingertrio.cli.completing import logins, users
from fingertrio.cli.database import F, Place, failures_reported, place_options
from fingertrio.cli.drawing import Column, exact, relative, table
from fingertrio.cli.errors import Group, show_findings
from fingertrio.cli.output import write_utf8
from fingertrio.names import canonical_name
from fingertrio.server.findings import check_names, check_stored_status
from fingertrio.wire.details import check_link, check_time_zone
from fingertrio.wire.text import clean, clean_line, decode
from fingertrio.wire.when import EXAMPLES, parse_when


@click.group(cls=Group)
def user() -> None:
    """Add, show, change and remove users of a SQLite database, with their full names and details."""


def _pairs(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for pair in value:
        name, equals, rest = pair.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{pair!r} has not the form NAME=VALUE")
        pairs[name.strip()] = rest.strip()
    return pairs


def _links(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    links = _pairs(context, parameter, value)
    for name, address in links.items():
        try:
            _ = address and check_link(address)
        except ValueError as error:
            raise click.BadParameter(f"{name}: {address!r} is {error}") from None
    return links


def _time_zone(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return value and check_time_zone(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is {error}") from None


def _until(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return parse_when(value, datetime.now(UTC))  # without an offset, in this machine's time zone
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _edit_options(command: F) -> F:
    """Give a command the options for everything that a user can have."""
    for option in (
        click.option(
            "--detail",
            "details",
            multiple=True,
            type=text,
            callback=_pairs,
            metavar="NAME=TEXT",
            help="Another detail.",
        ),
        click.option(
            "--link", "links", multiple=True, type=text, callback=_links, metavar="NAME=URL", help="A web address."
        ),
        click.option("--timezone", callback=_time_zone, help="Time zone, such as Europe/Berlin."),
        click.option("--pronouns", type=text, help="Such as they/them."),
        click.option("--pubkey", type=click.File("rb"), help="File with a public key; - is stdin."),
        click.option("--project", type=text, help="Current project."),
        click.option("--until", callback=_until, metavar="TIME", help=f"When the status expires: {EXAMPLES}."),
        click.option("--status", type=text, help="The status."),
        click.option("--name", type=text, help="The full name."),
    ):
        command = option(command)
    return command


def _edit(options: Mapping[str, Any]) -> Edit:
    details = {name: options[name] for name in ("project", "pronouns", "timezone") if options[name] is not None}
    if options["pubkey"] is not None:
        details["pubkey"] = decode(options["pubkey"].read(64 * 1024))  # longer keys are rejected anyway
    if options["until"] is not None and options["status"] is None:
        raise click.UsageError("--until requires --status")
    return Edit(
        name=options["name"],
        details={**details, **options["links"], **options["details"]},
        status=options["status"],
        until=options["until"],
    )


@user.command("add")
@click.argument("login", metavar="USER", shell_complete=logins)
@_edit_options
@place_options
def user_add(place: Place, login: str, **options: Any) -> None:
    """Add USER, who must not exist yet; without --status, the status is "No Plan."."""
    if options["status"] is None:
        options["status"] = NO_PLAN
    found = place.find()
    with failures_reported(), admin.administered(found.path, make=True) as connection:
        admin.add_user(connection, login, _edit(options), found.retention)
    click.echo(f"added {login}: {_brief(options['status'])}")


@user.command("set")
@click.argument("login", metavar="USER", shell_complete=users)
@_edit_options
@place_options
def user_set(place: Place, login: str, **options: Any) -> None:
    """Change USER. An empty value removes: --name "", --project "", --link Home=."""
    found = place.find()
    with failures_reported(), admin.administered(found.path) as connection:
        admin.change_user(connection, login, _edit(options), found.retention)
    click.echo(f"changed {login}")


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@place_options
def user_list(place: Place, as_json: bool) -> None:
    """List the users that have a status, with its first line and since when it holds."""
    found = place.find()
    with failures_reported(), admin.administered(found.path) as connection:
        infos = admin.list_users(connection)
    if not as_json:
        columns = (Column("user", "bold cyan"), Column("since", "dim"), Column("until"), Column("status", wide=True))
        rows = [(info.user, info.since, info.until, _brief(info.status)) for info in infos]
        table(columns, rows, empty="no user has a status; fingertrio set sets yours")
        return
    for info in infos:
        times = {"since": _iso(info.since), "until": _iso(info.until)}
        write_utf8(json.dumps({"user": info.user, "status": info.status, **times}, ensure_ascii=False) + "\n")


@user.command("check")
@place_options
def user_check(place: Place) -> None:
    """Check the names and statuses that are stored: what breaks a rule, why, and what to do next.

    Exit status: 0 all is well; 1 something breaks a rule.
    """
    found = place.find()
    with failures_reported(), admin.administered(found.path) as connection:
        logins = admin.all_logins(connection)
        statuses = [(info.user, info.status) for info in admin.list_users(connection)]
    findings = [finding for finding in check_names(logins) if finding is not None]
    findings += [finding for user, status in statuses if (finding := check_stored_status(user, status)) is not None]
    show_findings(findings)
    if findings:
        sys.exit(1)
    click.echo(f"{click.style('ok', fg='green')}  {len(logins)} users, {len(statuses)} statuses: all keep the rules")


@user.command("show")
@click.argument("login", metavar="USER", shell_complete=users)
@click.option(
    "--history", metavar="NUMBER", default=5, show_default=True, type=click.IntRange(0), help="Number of past statuses."
)
@click.option("--json", "as_json", is_flag=True, help="Everything, as one line of an export.")
@place_options
def user_show(place: Place, login: str, history: int, as_json: bool) -> None:
    """Show USER as stored in the database."""
    found = place.find()
    with failures_reported(), admin.administered(found.path) as connection:
        if as_json:
            from fingertrio.backends.sqlite import transfer  # noqa: PLC0415 -- slow: it can read records, too

            line = transfer.export_user(connection, login)
            person = None
        else:
            line = None
            person = admin.show_user(connection, login, history, found.retention)
        unknown = admin.unknown_user(connection, login)
    if person is not None:
        _show(person)
    elif line is not None:
        write_utf8(f"{line}\n")
    else:
        raise click.ClickException(unknown)


def _show(person: StoredUser) -> None:
    facts = [("login", person.login), ("name", person.name or "")]
    present = person.present
    if present is not None:
        facts += [("status", present.status), ("since", _when(present.since)), ("until", _when(present.until))]
    facts += person.details.items()
    for name, value in facts:
        if value:
            first, *rest = (value if name in {"since", "until"} else clean(value)).strip("\n").split("\n")
            click.echo(f"{click.style(f'{clean_line(name):<10}', bold=True)} {first}")
            for line in rest:
                click.echo(f"{'':<10} {line}")
    if present is None:
        click.secho("no current status", dim=True)
    for info in person.past:
        ended = f"to {_local(info.until)}" if info.until else "on"
        click.secho(f"{_local(info.since)} {ended:<19}  {clean_line(info.status)}", dim=True)


def _brief(status: str) -> str:
    """The first line of a status, and how many more there are."""
    first, *more = clean(status).strip("\n").split("\n")
    return f"{first} (+{len(more)} lines)" if more else first


def _local(when: datetime | None) -> str:
    return "" if when is None else exact(when)


def _when(when: datetime | None) -> str:
    """A moment, on a terminal with its distance from now."""
    if when is None or not sys.stdout.isatty():
        return _local(when)
    return f"{exact(when)}  {click.style(relative(when, datetime.now(UTC)), dim=True)}"


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


@user.command("remove")
@click.argument("login", metavar="USER", shell_complete=users)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--erase", is_flag=True, help="Overwrite what was stored, too; takes as long as a copy of the database.")
@place_options
def user_remove(place: Place, login: str, yes: bool, erase: bool) -> None:
    """Remove USER, the whole history, and USER's tokens. On a terminal it asks first.

    With --erase nothing that was deleted can be found in the database file any more. Backups and logs are not touched.
    """
    found = place.find()
    with failures_reported(), admin.administered(found.path) as connection:
        if not yes and sys.stdin.isatty():
            click.confirm(f"Remove {login} and the whole history?", abort=True)
        admin.remove_user(connection, login, erase=erase)
        revoked = _revoke_tokens(found.tokens, login)
    what = " and the whole history" + f"; revoked {revoked} token{'s' * (revoked > 1)}" * bool(revoked)
    click.echo(f"{'erased' if erase else 'removed'} {login}{what}")


def _revoke_tokens(path: Path, user: str) -> int:
    """Revoke the tokens of a user who is removed: one of them could bring the name back. How many there were."""
    if not path.exists():
        return 0
    import trio  # noqa: PLC0415 -- most users have no tokens

    from fingertrio.accounts.file import TokenFile  # noqa: PLC0415 -- as above
    from fingertrio.accounts.store import TokenStore  # noqa: PLC0415 -- as above
    from fingertrio.accounts.tokens import TokensError  # noqa: PLC0415 -- as above

    try:
        return trio.run(TokenStore(TokenFile(path)).revoke_user, canonical_name(user))
    except TokensError as error:
        raise click.ClickException(f"{user} was removed, but the tokens were not: {error}") from None
