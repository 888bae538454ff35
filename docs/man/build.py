"""Writes the manual pages beside this file, and the options in docs/reference/command-line.md: `make reference`.

One page for each command, because `man fingertrio-set` is where people look; fingertrio(1) has what all commands share,
and fingertrio.toml(5) every key. Commands and options come from the commands themselves, the rest from docs/reference.
A page carries the date of the newest version in CHANGELOG.md, so that the same sources give the same page on every day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from docs.man.roff import bold, code, italic, markdown, paragraphs, section, subsection, term
from fingertrio import version
from fingertrio.cli.commands import COMMANDS, cli
from fingertrio.config.reference import reference

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs/reference/command-line.md"
BEGIN, END = "<!-- made by: make reference -->\n", "<!-- end -->\n"

_OPTION = re.compile(r"(?P<option>--?[\w-]+)|(?P<value>[^\s,/]+)")
# Sections of the page that fingertrio(1) takes over.
_SHARED = ("Which server", "Setting a status", "Presets", "Environment", "Files", "Exit status")
# Only the manual says this: the page in docs/reference is for all ways of installing.
_CONFIGURATION_FILES = """## Files

| file | what is in it |
|---|---|
| `/etc/fingertrio/fingertrio.toml` | the configuration of the Debian package |
| `share/fingertrio/conf` | examples, below the prefix of the installation, such as /usr or a virtual environment |
"""


@dataclass(frozen=True)
class Command:
    """A command with its words, as it is called: `fingertrio token add`."""

    words: str
    itself: click.Command

    @property
    def context(self) -> click.Context:
        """What click needs to describe it."""
        return click.Context(self.itself, info_name=self.words)

    @property
    def parts(self) -> list[str]:
        """The paragraphs of its help, each in one line."""
        return [" ".join(part.split()) for part in (self.itself.help or "").split("\n\n")]

    @property
    def summary(self) -> str:
        """The first sentence of its help."""
        return re.split(r"(?<=\.) ", self.parts[0])[0]

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """Its exit statuses with their meanings, if its help lists them."""
        for part in self.parts:
            if part.startswith("Exit status"):
                return re.findall(r"(\d+) ([^;]+?)[;.](?= |$)", part)
        return []

    @property
    def description(self) -> str:
        """Its help without the list of statuses."""
        return "\n\n".join(part for part in self.parts if not (part.startswith("Exit status") and self.statuses))

    @property
    def options(self) -> list[tuple[str, str]]:
        """Its options, as its help shows them, with their meanings."""
        records = [each.get_help_record(self.context) for each in self.itself.params if isinstance(each, click.Option)]
        return [(names, " ".join(meaning.split())) for names, meaning in filter(None, records)]

    @property
    def arguments(self) -> str:
        """What follows its options: "[STATUS]..."."""
        pieces = self.itself.collect_usage_pieces(self.context)
        return " ".join(piece for piece in pieces if piece != "[OPTIONS]")

    @property
    def commands(self) -> list[Command]:
        """The commands in it."""
        if not isinstance(self.itself, click.Group):
            return []
        found = {name: self.itself.get_command(self.context, name) for name in self.itself.list_commands(self.context)}
        return [Command(f"{self.words} {name}", each) for name, each in found.items() if each and not each.hidden]


def pages() -> dict[str, str]:
    """Return every page of the manual by its file in this folder, which `man -M docs/man` finds."""
    top = Command("fingertrio", cli)
    found = {"man1/fingertrio.1": _overview(top), "man5/fingertrio.toml.5": _configuration()}
    for command in top.commands:
        found[f"man1/{command.words.replace(' ', '-')}.1"] = _command(command)
    return found


def options_page(page: str) -> str:
    """Return docs/reference/command-line.md with the options as they are."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}{chr(10).join(_options(Command('fingertrio', cli).commands))}\n{END}{after}"


def _date() -> str:
    """Return the date of the newest version that has one, as in "## 0.1.0 (2026-11-30)"."""
    found = re.search(r"^## \S+ \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError("CHANGELOG.md needs a version with its date: ## 0.1.0 (2026-11-30)")
    return found[1]


def _page(name: str, number: int, about: str, lines: list[str]) -> str:
    head = [
        r".\" Written by `make reference`: change the command or docs/reference instead.",
        ".nr HY 0",  # no hyphens in paths and addresses; .nh would end at the next heading
        f'.TH {code(name).upper()} {number} "{_date()}" "fingertrio {version}" "fingertrio manual"',
        ".ad l",  # no gaps in lines
        ".SH NAME",
        f"{code(name)} \\- {about[:1].lower()}{about[1:].rstrip('.')}",
    ]
    # A paragraph right after a heading is one without saying so.
    text = re.sub(r"^(\.S[HS] .*)\n\.PP$", r"\1", "\n".join([*head, *lines]), flags=re.MULTILINE)
    return f"{text}\n"


def _overview(top: Command) -> str:
    shared = PAGE.read_text("utf-8").partition(BEGIN)[0]
    lines = [
        ".SH SYNOPSIS",
        ".SY fingertrio",
        rf"{italic('COMMAND')} [{italic('OPTIONS')}] [{italic('ARGUMENTS')}]",
        ".SY fingertrio",
        rf"[{bold('--version')}] [{bold('--help')}]",
        ".YS",
        ".SH DESCRIPTION",
        *paragraphs(top.description),
        *paragraphs(
            "Every command has a page: `man fingertrio-set`. Commands print results on standard output and everything "
            "else on standard error. At a terminal they draw tables; in a pipe they print plain columns, or JSON."
        ),
        section("Commands"),
    ]
    for command in top.commands:
        page = command.words.replace(" ", "-")
        lines += [".TP", f"{bold(page)}(1)", *paragraphs(COMMANDS[command.words.split()[1]].help)[1:]]
    for title in _SHARED:
        found = re.search(rf"^## {title}\n.*?(?=^## |\Z)", shared, re.MULTILINE | re.DOTALL)
        if found is None:
            raise ValueError(f"{PAGE.name} lacks the section {title}, which fingertrio(1) shows")
        lines += markdown(found[0])
    about = "a finger and status server: one status, every door"
    return _page("fingertrio", 1, about, [*lines, *_see("fingertrio(1)")])


def _configuration() -> str:
    body = reference().partition("\n\n")[2]
    introduction, _, rest = body.partition("## Front ends")
    introduction = introduction.replace("at the end of this page", "under THE DEFAULT below")
    introduction = introduction.partition("This page is written")[0]
    lines = [
        ".SH DESCRIPTION",
        *markdown(introduction),
        *markdown(f"## Front ends{rest}"),
        *markdown(_CONFIGURATION_FILES),
    ]
    return _page("fingertrio.toml", 5, "configuration of the finger and status server", [*lines, *_see("(5)")])


def _command(command: Command) -> str:
    name = command.words.replace(" ", "-")
    lines = [".SH SYNOPSIS"]
    for each in command.commands or [command]:
        lines += _synopsis(each)
    lines += [".YS", ".SH DESCRIPTION", *paragraphs(command.description)]
    if command.commands:
        lines.append(section("Commands"))
        for each in command.commands:
            lines += [subsection(f"{each.words} {each.arguments}".strip()), *paragraphs(each.description)]
            lines += _definitions(each.options)
            lines += _statuses(each, ".PP\nExit status:")
    else:
        lines += [section("Options"), *_definitions(command.options)]
    lines += _statuses(command, ".SH EXIT STATUS")
    return _page(name, 1, command.summary, [*lines, *_see(f"{name}(1)")])


def _synopsis(command: Command) -> list[str]:
    lines = [f'.SY "{code(command.words)}"']
    for names, _ in command.options:
        if "--help" not in names:
            first, *others = names.split(" / ") if " / " in names else [names.split(", ")[-1]]
            lines.append("[" + "|".join(_option(each) for each in [first, *others]) + "]")
    if command.arguments:
        lines.append(re.sub(r"[\w:@/]+", lambda found: italic(found[0]), command.arguments))
    return lines


def _option(names: str) -> str:
    """Return an option with its value: the first bold, the second italic."""
    parts, end = [], 0
    for found in _OPTION.finditer(names):
        parts += [names[end : found.start()], bold(found[0]) if found["option"] else italic(found[0])]
        end = found.end()
    return "".join([*parts, names[end:]])


def _definitions(options: list[tuple[str, str]]) -> list[str]:
    lines = []
    for names, meaning in options:
        lines += term(_option(names), meaning)
    return lines


def _statuses(command: Command, heading: str) -> list[str]:
    if not command.statuses:
        return []
    lines = [heading]
    for status, meaning in command.statuses:
        lines += term(bold(status), f"{meaning[:1].upper()}{meaning[1:]}.")
    return lines


def _see(itself: str) -> list[str]:
    others = ["fingertrio(1)", "fingertrio-serve(1)", "fingertrio-set(1)", "fingertrio.toml(5)"]
    others = [each for each in others if not each.endswith(itself)]
    found = [f"{bold(name)}({number}" for name, _, number in (each.partition("(") for each in others)]
    return [".SH SEE ALSO", ",\n".join(found)]


def _options(commands: list[Command]) -> Iterator[str]:
    """Yield the part of the page that lists every command with its options."""
    for command in commands:
        if command.commands:
            yield from _options(command.commands)
            continue
        yield f"### `{command.words}`\n"
        yield f"`{' '.join(filter(None, [command.words, '[OPTIONS]', command.arguments]))}`\n"
        yield f"{_marked(command.parts[0])}\n"
        rows = [(f"`{names}`", _marked(meaning)) for names, meaning in command.options if "--help" not in names]
        if rows:
            yield "\n".join(["| option | meaning |", "|---|---|", *(f"| {row[0]} | {row[1]} |" for row in rows), ""])


def _marked(words: str) -> str:
    """Return help as Markdown: nothing in it is markup, but code in backticks."""
    return re.sub(r"([|<*_\[])", r"\\\1", words)


def main() -> None:
    """Write the pages; those of commands that are gone are removed."""
    found = pages()
    for stale in set(HERE.glob("man?/*")) - {HERE / name for name in found}:
        stale.unlink()
    for name, text in found.items():
        (HERE / name).write_text(text, "utf-8")
    PAGE.write_text(options_page(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
