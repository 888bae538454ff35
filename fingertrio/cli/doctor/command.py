"""`fingertrio doctor`: the command."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click
import trio

from fingertrio.cli.doctor.check import Check
from fingertrio.cli.doctor.checks import CHECKS
from fingertrio.cli.doctor.installation import Installation, find_installation
from fingertrio.cli.doctor.machine import Machine
from fingertrio.cli.doctor.running import Outcome, run_checks
from fingertrio.cli.doctor.showing import displaying, document, headline, silent, summary
from fingertrio.cli.drawing import Column, table
from fingertrio.cli.errors import REFUSED, nearest
from fingertrio.cli.output import write_utf8


@click.command("doctor")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--config", "path", type=click.Path(path_type=Path), help="TOML file of the server.")
@click.option("--list", "lists", is_flag=True, help="List the checks, and run none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust this PEM file of certificates too.",
)
def doctor_command(names: Sequence[str], path: Path | None, ca: Path | None, *, lists: bool, as_json: bool) -> None:
    """Look at an installation, and say what is wrong and what to do next. Changes nothing.

    Without NAME all checks run. The server may run or not. As root, more can be seen.

    Exit status: 0 no problem, but there may be warnings; 1 at least one problem; 2 wrong usage.
    """
    if lists:
        table([Column("name", "bold"), Column("looks at", wide=True)], [(c.name, c.title) for c in CHECKS], empty="")
        return
    checks, trust = _chosen(names), _trust(ca)

    async def run() -> tuple[Installation, list[Outcome]]:
        place = await find_installation(path, Machine(), trust)
        display = nullcontext(silent()) if as_json else displaying(headline(place), [check.name for check in checks])
        with display as shown:
            return place, await run_checks(place, checks, shown.show, shown.waiting)

    place, outcomes = trio.run(run)
    if as_json:
        write_utf8(document(place, outcomes))
    else:
        click.secho(summary(outcomes), bold=True)
    if any(outcome.level == "problem" for outcome in outcomes):
        sys.exit(REFUSED)


def _chosen(names: Sequence[str]) -> list[Check]:
    """The checks of these names, in the order of all; without a name, all."""
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no check {name}{nearest(name, known)}; it is one of {', '.join(known)}")
    return [check for check in CHECKS if not names or check.name in names]


def _trust(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError as error:
            raise click.UsageError(f"--ca: {ca} does not contain a certificate in PEM format") from error
    return context
