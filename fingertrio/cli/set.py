"""`fingertrio set`: sets a status through a setter door."""

from __future__ import annotations

import click
import trio

from fingertrio.cli.arguments import text
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.net.address import parse_address
from fingertrio.wire.text import clean_line


@click.command("set")
@click.option("--at", "place", default="127.0.0.1:1079", show_default=True, help="HOST:PORT or unix:/path of a setter.")
@click.argument("user", type=text)
@click.argument("status", type=text)
def set_command(place: str, user: str, status: str) -> None:
    """Set USER's STATUS through a setter door."""
    try:
        address = parse_address(place)
        path = str(address.path or "")
        trio.run(lambda: set_status(user, status, host=address.host, port=address.port, path=path))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except (SetterError, RemoteError, OSError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise click.ClickException(f"{place}: {clean_line(reason)}") from None
    click.echo("OK")
