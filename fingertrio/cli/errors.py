"""How every command ends: the exit statuses, and one form for all errors.

    fingertrio: what is wrong; what to do next

on standard error, without a traceback. Wrong usage also names the help of the command. Ctrl-C is no error: no message,
and the status that shells use for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from fingertrio.cli.signals import INTERRUPTED

if TYPE_CHECKING:
    from fingertrio.server.findings import Finding

REFUSED = 1  # it failed, or the server refused it
MISTAKE = 2  # wrong usage or configuration
UNREACHABLE = 3  # no server could be asked
# 4 and 5 are those of `fingertrio finger`, 74 is `output.FAILED`, 130 is INTERRUPTED.

STATUSES = (
    "Exit status: 0 done; 1 failed or refused; 2 wrong usage or configuration; 3 no server could be asked; "
    "74 standard output could not be written; 130 Ctrl-C. A command with others lists them in its help."
)


def say(message: str) -> None:
    """Print one message on standard error, in the form of all."""
    click.echo(f"fingertrio: {message}", err=True)


def failure(message: str, status: int) -> SystemExit:
    """Print a message; what to raise to end the program with this status."""
    say(message)
    return SystemExit(status)


def stop(message: str, status: int = MISTAKE) -> NoReturn:
    """Print a message and end the program."""
    raise failure(message, status)


def show_findings(findings: Iterable[Finding]) -> None:
    """Print each as a warning, with what to do next."""
    for finding in findings:
        click.echo(f"{click.style('warning', fg='yellow')}  {finding.what}: {finding.why}")
        click.echo(f"         next: {finding.next}")


def nearest(name: str, names: Sequence[str]) -> str:
    """The names most like `name`, as the end of a message: "; did you mean ada?". Empty if none is."""
    from difflib import get_close_matches  # noqa: PLC0415 -- only for errors

    close = get_close_matches(name, names, 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


class Group(click.Group):
    """A group of commands that suggests those that a mistyped one resembles."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            message = f"there is no command {args[0]}{nearest(args[0], self.list_commands(ctx))}"
            raise click.UsageError(message, ctx) from error


@contextmanager
def reported() -> Iterator[None]:
    """Within, every failure of a command ends the program with one message and its status."""
    try:
        yield
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.UsageError as error:
        stop(_usage(error), MISTAKE)
    except click.ClickException as error:
        stop(error.format_message(), error.exit_code)
    except click.Abort as error:
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):  # a prompt hides it
            sys.exit(INTERRUPTED)
        stop("nothing was changed", REFUSED)  # "no" to a question, or no answer
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:  # Trio wraps it where tasks were running
            raise
        sys.exit(INTERRUPTED)


def _usage(error: click.UsageError) -> str:
    """Click's message like all others: a small letter first, no full stop, and where the help is."""
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:] if text[:2].istitle() else text
    path = error.ctx.command_path if error.ctx is not None else "fingertrio"
    return f"{text} ({path} --help)"
