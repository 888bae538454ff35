"""The group of all commands. Each command's module is imported when the command runs.

So `--help` needs click alone, and a command for a database needs neither Trio nor the server.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import click

from fingertrio import version
from fingertrio.cli.errors import STATUSES, Group
from fingertrio.cli.signals import EarlySignals

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is defined, and its line in the list of commands."""

    module: str
    attribute: str
    help: str

    def load(self) -> click.Command:
        """Import the command."""
        command: click.Command = getattr(import_module(f"fingertrio.cli.{self.module}"), self.attribute)
        return command


COMMANDS: Mapping[str, LazyCommand] = {
    "backends": LazyCommand("plugins", "backends", "List the installed backends with their options."),
    "backup": LazyCommand(
        "store", "backup", "Copy the database to FILE while it is being served, as it is at one moment."
    ),
    "check-config": LazyCommand("check_config", "check_config", "Report every mistake in a configuration file."),
    "completion": LazyCommand(
        "completion", "completion", "Print the script that completes this command in SHELL: bash, zsh or fish."
    ),
    "config": LazyCommand(
        "show_config",
        "show_config",
        "Show every key of the configuration, its value, and where that comes from.",
    ),
    "doctor": LazyCommand(
        "doctor.command", "doctor_command", "Look at an installation, and say what is wrong and what to do next."
    ),
    "export": LazyCommand(
        "store", "export", "Write all users, with details and history, as JSON lines to FILE or to standard output."
    ),
    "finger": LazyCommand("finger", "finger_command", "Query finger servers about users, or for their lists of users."),
    "frontends": LazyCommand(
        "plugins", "frontends", "List the installed front ends with their options, by the section that opens each."
    ),
    "healthcheck": LazyCommand(
        "healthcheck",
        "healthcheck",
        "Ask the server whether it is ready, print one line, and exit with 0 or 1.",
    ),
    "import": LazyCommand(
        "store", "import_", "Import users from SOURCE: a users file, a directory of plans, or an export."
    ),
    "init": LazyCommand("init", "init", "Write a configuration with a few questions, and make the first token."),
    "irc-check": LazyCommand(
        "irc_check",
        "irc_check",
        "Try the IRC networks of FILE under another nick, and tell what works and what to change.",
    ),
    "login": LazyCommand(
        "login", "login_command", "Ask for a token of the server at URL, check it, and keep it for set and whoami."
    ),
    "logout": LazyCommand("login", "logout_command", "Forget the token that login kept."),
    "restore": LazyCommand(
        "store", "restore", "Replace the content of the database by the backup FILE, while it is being served."
    ),
    "serve": LazyCommand("serve", "serve", "Open every door that the configuration names."),
    "set": LazyCommand("set", "set_command", "Set your STATUS, and print what is now shown."),
    "token": LazyCommand("tokens", "token", "Make, list and revoke the tokens that let users set their statuses."),
    "user": LazyCommand(
        "users", "user", "Add, show, change and remove users of a SQLite database, with their full names and details."
    ),
    "whoami": LazyCommand("login", "whoami_command", "Show at which server commands are logged in, and as whom."),
    "webfinger": LazyCommand(
        "webfinger",
        "webfinger_command",
        "Ask a host by WebFinger (RFC 7033) about an account: ada@example.org, or the https address of a page.",
    ),
    "webhook": LazyCommand(
        "webhook", "webhook", "Try and list the webhooks of a configuration, and make secrets for them."
    ),
    "watch": LazyCommand(
        "watch", "watch_command", "Show the status of each USER, or of all users, and every change as it happens."
    ),
}


class LazyGroup(Group):
    """A group whose commands are in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name."""
        if cmd_name in COMMANDS:
            return COMMANDS[cmd_name].load()
        return super().get_command(ctx, cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 -- only when a shell asks

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=COMMANDS[name].help) for name in names]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=STATUSES,
)
@click.version_option(version, prog_name="fingertrio")
@click.pass_context
def cli(context: click.Context) -> None:
    """A finger and status server: finger, web, XML-RPC and IRC over one pluggable backend.

    `fingertrio serve` starts the server, on loopback and without a configuration file.
    """
    if context.invoked_subcommand is None:
        if sys.stdout.isatty() and not (context.default_map or {}).get("serves"):
            click.echo(context.get_help())
        else:
            context.invoke(COMMANDS["serve"].load())
    elif context.invoked_subcommand != "serve":
        context.ensure_object(EarlySignals).give_back()
