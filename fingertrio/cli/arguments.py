"""Types of command-line arguments, and options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click

from fingertrio.wire.text import decode

_Command = TypeVar("_Command", bound=Callable[..., object])


def timeout_option(default: float) -> Callable[[_Command], _Command]:
    """`--timeout SECONDS`, at least 0.1, for all that the command does."""
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(0.1),
        default=default,
        show_default=True,
        help="Seconds for everything.",
    )


def text(value: str) -> str:
    """Text for people, whatever the encoding of the terminal that sent it.

    Python keeps each byte that the locale's encoding cannot decode as a surrogate (PEP 383), which no protocol can
    send. Such an argument is decoded like all text of unknown encoding.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return decode(os.fsencode(value))
    return value
