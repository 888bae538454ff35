"""The command line: arguments to a `Config`, a `Config` to `trio.run`, and failures to one line and an exit status.

0: all went well, a stop by signal included. 1: the program failed while it ran. 2: something must be mended first. 130:
SIGINT came before it served.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import trio

from fingertrio import version
from fingertrio.cli import store as cli_store
from fingertrio.cli import users as cli_users
from fingertrio.cli.banner import announce
from fingertrio.cli.signals import INTERRUPTED, EarlySignals
from fingertrio.config.config import Config, load_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import Plugin, find_frontends, installed_backends, installed_frontends
from fingertrio.net.address import parse_address
from fingertrio.observe.observer import stderr_observer
from fingertrio.wire.text import clean_line

MISTAKE = 2

_config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="TOML file; without it, the built-in default runs on loopback.",
)


# The collector looks for garbage in cycles when so many objects have been made, and Trio makes hundreds for every task
# and leaves no cycles. Python's own numbers (700, 10, 10) cost a tenth of what a set over memory costs.
_COLLECTION = (10_000, 20, 20)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version, prog_name="fingertrio")
@click.pass_context
def cli(context: click.Context) -> None:
    """One status, every door: finger, web, XML-RPC and IRC over one pluggable backend.

    Without a command it serves, on loopback and without a configuration file.
    """
    if context.invoked_subcommand is None:
        context.invoke(serve)
    elif context.invoked_subcommand != "serve":
        context.ensure_object(EarlySignals).give_back()


@cli.command()
@_config_option
@click.make_pass_decorator(EarlySignals, ensure=True)
def serve(signals: EarlySignals, path: Path | None = None) -> None:
    """Open every door that the configuration names."""
    config = _load(path)
    human = {"auto": None, "text": True, "json": False}[config.log.format]
    observer = stderr_observer(human=human, level=config.log.level, anonymize=config.log.anonymize_addresses)
    from fingertrio.server.app import run  # noqa: PLC0415 -- so that --help and mistakes in the file answer at once

    def ready(addresses: Mapping[str, Sequence[str]]) -> None:
        # What has been imported and built by now stays, and the collector need never look at it again: it would do
        # so in the middle of somebody's question.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTION)
        announce(observer, addresses, config.backend.use, version)
        signals.deliver()

    try:
        with signals.unwinding():
            trio.run(
                lambda: run(
                    config,
                    observer,
                    source=str(path or "the built-in configuration"),
                    ready=ready,
                    load=lambda: load_config(path, to_serve=True),
                )
            )
    except ConfigError as error:
        _refuse(error)
    except KeyboardInterrupt:  # before the supervisor had taken the signals over, or after it had let them go
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 -- the last line of defence: the cause in the log, a status for the manager
        observer.error("failed", exc=error)
        sys.exit(1)


@cli.command("check-config")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
def check_config(path: Path) -> None:
    """Say what is wrong with a configuration file, or that nothing is. Opens no port and no backend."""
    config = _load(path)
    try:
        find_frontends(config.doors, str(path))
    except ConfigError as error:
        _refuse(error)
    click.echo(f"{path}: no mistakes found")


@cli.command()
def backends() -> None:
    """List the backends that are installed, with their options."""
    _list(installed_backends())


@cli.command()
def frontends() -> None:
    """List the front ends that are installed, by the section that opens each, with their options."""
    _list(installed_frontends())


@cli.command("finger")
@click.option("-l", "--long", "verbose", is_flag=True, help="Ask for more (/W).")
@click.option("--ascii", "ascii_only", is_flag=True, help="Show 7-bit characters only, ? for all others.")
@click.option("--timeout", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds for everything.")
@click.argument("target", metavar="[USER][@HOST[:PORT]]", default="")
def finger_command(target: str, verbose: bool, ascii_only: bool, timeout: float) -> None:
    """Ask a finger server about USER, or for its list of users.

    Without @HOST the fingertrio of this machine is asked, at 127.0.0.1:7979; with it, port 79. user@host1@host2 asks
    host2 to forward. What steers a terminal is left out of the answer.

    Exit status: 0 an answer; 1 no such user; 2 wrong usage; 3 nobody could be asked; 4 the answer is not whole; 5 the
    server refused or failed.
    """
    from fingertrio.cli.finger import ask  # noqa: PLC0415 -- as in serve

    try:
        status = trio.run(lambda: ask(target, verbose=verbose, ascii_only=ascii_only, timeout=timeout))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(status)


@cli.command("watch")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Web door of the fingertrio to watch.")
@click.option("--json/--text", "as_json", default=None, help="By default text on a terminal, JSON lines otherwise.")
@click.option("--once", is_flag=True, help="Show what holds now, and end.")
@click.argument("users", metavar="[USER]...", nargs=-1)
def watch_command(users: tuple[str, ...], url: str, as_json: bool | None, once: bool) -> None:
    """Show what each USER, or everybody, is up to, and every change as it happens.

    It comes back after a break, misses nothing and shows nothing twice. Ctrl-C ends it.

    Exit status: 0 it was ended, or with --once all was shown; 1 with --once, one of USER is not there; 2 wrong usage;
    3 there is nothing to watch.
    """
    from fingertrio.cli.watch import watch  # noqa: PLC0415 -- as in serve
    from fingertrio.cli.watch_output import JSONLines, Lines  # noqa: PLC0415 -- as in serve

    show = Lines() if as_json is False or (as_json is None and sys.stdout.isatty()) else JSONLines()
    try:
        status = trio.run(lambda: watch(url, users, show, once=once))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(status)


@cli.command("set")
@click.option("--at", "place", default="127.0.0.1:1079", show_default=True, help="HOST:PORT or unix:/path of a setter.")
@click.argument("user")
@click.argument("status")
def set_command(place: str, user: str, status: str) -> None:
    """Set USER's STATUS through a setter door."""
    from fingertrio.clients.dial import RemoteError  # noqa: PLC0415 -- as in serve
    from fingertrio.clients.setter import SetterError, set_status  # noqa: PLC0415 -- as in serve

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


for command in (
    cli_users.user,
    cli_store.backup_command,
    cli_store.restore_command,
    cli_store.import_command,
    cli_store.export_command,
):
    cli.add_command(command)


def _list(plugins: Iterable[Plugin[Any] | ConfigError]) -> None:
    for plugin in plugins:
        if isinstance(plugin, ConfigError):
            click.secho(f"{plugin}\n", fg="red", err=True)
            continue
        click.echo(
            click.style(clean_line(plugin.name), bold=True) + click.style(f"  ({clean_line(plugin.package)})", dim=True)
        )
        if summary := clean_line(plugin.summary()):
            click.echo(click.wrap_text(summary, 100, "  ", "  "))
        for option in plugin.options():
            default = "required" if option.default is None else f"default {option.default}"
            click.echo(
                f"    {click.style(clean_line(option.name), fg='cyan')}  {clean_line(f'{option.kind}, {default}')}"
            )
            if description := clean_line(option.description):
                click.echo(click.wrap_text(description, 100, "        ", "        "))
        click.echo()


def _load(path: Path | None) -> Config:
    try:
        return load_config(path, to_serve=True)
    except ConfigError as error:
        _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    click.secho(f"fingertrio: {error}", err=True)
    sys.exit(MISTAKE)
