"""`fingertrio backends` and `fingertrio frontends`: what is installed, with its options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import click

from fingertrio.cli import completing
from fingertrio.cli.errors import nearest
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import (
    Plugin,
    backend_names,
    frontend_names,
    installed_backends,
    installed_frontends,
)
from fingertrio.wire.text import clean_line


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.backends)
def backends(names: tuple[str, ...]) -> None:
    """List the installed backends with their options."""
    _list(installed_backends(), names, backend_names())


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.frontends)
def frontends(names: tuple[str, ...]) -> None:
    """List the installed front ends with their options, by the section that opens each."""
    _list(installed_frontends(), names, frontend_names())


def _list(plugins: Iterable[Plugin[Any] | ConfigError], names: Collection[str], known: Sequence[str]) -> None:
    """Those of `names`; without any, all."""
    for name in names:
        if name not in known:
            raise click.UsageError(f"{clean_line(name)} is not installed{nearest(name, known)}")
    for plugin in plugins:
        if names and (isinstance(plugin, ConfigError) or plugin.name not in names):
            continue
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
