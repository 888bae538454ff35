"""docs/man: the manual pages and the page of options say what the commands and models say, in correct roff."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.man import build, roff
from fingertrio.cli.commands import COMMANDS, cli

MAN = Path(build.__file__).parent


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XDG_STATE_HOME", raising=False)  # the pages have the defaults of those who set no directories
        return build.pages()


def test_the_pages_are_those_that_the_commands_give(pages):
    written = {str(path.relative_to(MAN)): path.read_text("utf-8") for path in MAN.glob("man?/*")}
    assert written == pages, "run: make reference"


def test_the_options_in_the_reference_are_those_of_the_commands():
    page = build.PAGE.read_text("utf-8")
    assert page == build.options_page(page), "run: make reference"


def commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from commands(found, f"{words} {name}")
        elif found is not None and not found.hidden:
            yield f"{words} {name}", found


def test_every_option_of_every_command_is_in_its_page_and_in_the_reference(pages):
    reference = build.PAGE.read_text("utf-8")
    found = dict(commands(cli, "fingertrio"))
    assert {words.split()[1] for words in found} == set(COMMANDS)
    for words, command in found.items():
        manual = pages[f"man1/fingertrio-{words.split()[1]}.1"]
        (entry,) = re.findall(rf"^### `{words}`\n(.*?)(?=^### |^<!-- end)", reference, re.MULTILINE | re.DOTALL)
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert all(roff.bold(each) in manual for each in option.opts), (words, option)
                assert all(each in entry for each in option.opts), (words, option)


def test_mandoc_and_groff_find_nothing_to_complain_about():
    for program, package in (("mandoc", "mandoc"), ("man", "man-db")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (Debian package {package})")
    files = sorted(MAN.glob("man?/*"))
    linted = subprocess.run(["mandoc", "-Tlint", "-Wwarning", *files], capture_output=True, text=True, check=False)
    assert linted.stdout + linted.stderr == ""
    rendered = subprocess.run(
        ["man", "--warnings", "--local-file", MAN / "man1/fingertrio.1", MAN / "man5/fingertrio.toml.5"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"},
    )
    assert rendered.stderr == ""
    assert "FINGERTRIO(1)" in rendered.stdout
    assert "FINGERTRIO.TOML(5)" in rendered.stdout
    assert max(map(len, rendered.stdout.splitlines())) <= 80
    assert "\N{HYPHEN}\n" not in rendered.stdout  # a path that is broken cannot be pasted


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("a `--flag` and --other", [".PP", r"a \fB\-\-flag\fR and \fB\-\-other\fR"]),
        (".hidden", [".PP", r"\&.hidden"]),
        ("back\\slash ~/x ^", [".PP", r"back\eslash \(ti/x \(ha"]),
        ("[words](page.md#x) **loud**", [".PP", r"words \fBloud\fR"]),
        ("well-known 2026-12-24", [".PP", r"well-known 2026\-12\-24"]),
        ("1. one\n2. two", [".IP 1. 4", "one", ".IP 2. 4", "two"]),
        ("- one", [r".IP \(bu 4", "one"]),
        ("```\n.x 'y' -z\n```", [".PP", ".RS 4", ".EX", r"\&.x \(aqy\(aq \-z", ".EE", ".RE"]),
        ("| a | b |\n|---|---|\n| `x` | y \\| z |", [".TP", r"\fBx\fR", "Y | z."]),
        ("<!-- not run: why -->\n```\nx\n```", [".PP", ".RS 4", ".EX", "x", ".EE", ".RE"]),
        ("### `[x]`", ['.SS "[x]"']),
    ],
)
def test_markdown_becomes_roff(markdown: str, expected: list[str]):
    assert roff.markdown(markdown) == expected


@pytest.mark.parametrize("markdown", ["> quoted", "![picture](x.png)", "<div>", "#### deep"])
def test_markdown_that_the_manual_cannot_show_is_an_error(markdown: str):
    with pytest.raises(ValueError, match="cannot show"):
        roff.markdown(markdown)
