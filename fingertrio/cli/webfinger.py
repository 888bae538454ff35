"""`fingertrio webfinger`: what a host says about an account, for people and for scripts."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import click
import trio

from fingertrio.cli.arguments import text, timeout_option
from fingertrio.cli.errors import REFUSED, UNREACHABLE, failure
from fingertrio.cli.output import write_utf8
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.webfinger import NoAccountError, ask_webfinger, to_question
from fingertrio.wire.text import clean_line
from fingertrio.wire.webfinger import Descriptor, dump_descriptor


@click.command("webfinger")
@click.option("--rel", "rels", multiple=True, help="Only links with this relation; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="The descriptor as JSON.")
@timeout_option(10.0)
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust this PEM file of certificates too.",
)
@click.argument("target", type=text)
def webfinger_command(target: str, rels: tuple[str, ...], as_json: bool, timeout: float, ca: Path | None) -> None:
    """Ask a host by WebFinger (RFC 7033) about an account: ada@example.org, or the https address of a page.

    Exit status: 0 an answer; 1 no such account; 2 wrong usage; 3 no answer, or one that cannot be read.
    """
    try:
        question, host = to_question(target, rels)
        context = ssl.create_default_context()
        if ca is not None:
            context.load_verify_locations(ca)
    except ValueError as error:  # ssl.SSLError is one
        raise click.UsageError(str(error)) from None

    async def ask() -> Descriptor:
        return await ask_webfinger(question, host, timeout=timeout, ssl_context=context)

    try:
        descriptor = trio.run(ask)
    except NoAccountError as error:
        raise failure(clean_line(str(error)), REFUSED) from None
    except RemoteError as error:
        raise failure(clean_line(str(error)), UNREACHABLE) from None
    if as_json:
        write_utf8(json.dumps(json.loads(dump_descriptor(descriptor, rels)), ensure_ascii=False, indent=2) + "\n")
        return
    for label, value in _lines(descriptor, rels):
        click.echo(f"{label}: {clean_line(value)}")


def _lines(descriptor: Descriptor, rels: tuple[str, ...]) -> list[tuple[str, str]]:
    lines = [] if descriptor.subject is None else [("subject", descriptor.subject)]
    lines += [("alias", alias) for alias in descriptor.aliases]
    lines += [(clean_line(key), value or "") for key, value in descriptor.properties.items()]
    for link in descriptor.links:
        if not rels or link.rel in rels:
            lines.append((clean_line(link.rel), " ".join(filter(None, (link.href, link.type and f"({link.type})")))))
    return lines
