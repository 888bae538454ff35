"""docs/reference/command-line.md against the commands: none is missing, and the exit statuses are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fingertrio.cli import errors, finger, output, signals
from fingertrio.cli.commands import COMMANDS
from fingertrio.config.table import CLIENT_VARIABLES

PAGE = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text("utf-8")


def first_cells(heading: str) -> list[str]:
    """The first cell of each row of the first table after `heading`."""
    table = PAGE.partition(heading)[2].partition("|---")[2].partition("\n\n")[0]
    return [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[1:]]


def test_every_command_is_on_the_page():
    named = [name for cell in first_cells("# Command line") for name in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(named) == sorted(COMMANDS)


def test_the_exit_statuses_are_those_of_the_code():
    known = {0, errors.REFUSED, errors.MISTAKE, errors.UNREACHABLE, output.FAILED, signals.INTERRUPTED}
    known |= {finger.UNKNOWN, finger.NOT_ASKED, finger.NOT_WHOLE, finger.REFUSED}
    assert {int(cell) for cell in first_cells("## Exit status")} == known


@pytest.mark.parametrize("variable", sorted(CLIENT_VARIABLES))
def test_every_variable_of_clients_is_on_the_page(variable: str):
    assert f"`{variable}`" in PAGE
