"""`fingertrio backends` and `fingertrio frontends`: what is installed, with its options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import Plugin, installed_backends, installed_frontends
from fingertrio.wire.text import clean_line


@click.command()
def backends() -> None:
    """List the installed backends with their options."""
    _list(installed_backends())


@click.command()
def frontends() -> None:
    """List the installed front ends with their options, by the section that opens each."""
    _list(installed_frontends())


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
