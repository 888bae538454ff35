"""From the Markdown of our pages to roff, the language of manual pages (man(7)).

It knows what docs/reference uses: headings, paragraphs, lists, tables, blocks of code, links, code, bold and italic
text. Anything else is an error, so that no page of the manual shows Markdown. Options and commands are bold, what a
user replaces is italic, as everywhere in the manual.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

# In roff these characters stand for others: an unescaped "-" becomes a hyphen that nobody can paste into a shell.
_ESCAPES = {"\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga", "'": r"\(aq"}
_PROSE = {"\\": r"\e", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga"}

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>[^*]+)\*\*"
    r"|\[(?P<link>[^\]]*)\]\([^)\s]+\)"
    r"|(?<![\w/`-])(?P<option>--?[a-z][\w-]*)"
    r"|(?P<address>[a-z]+://[^\s,;)]*[^\s,;).:])"
)
_ROW = re.compile(r"(?<!\\)\|")
_ITEM = re.compile(r"(\d+\.|-) ")


def code(words: str) -> str:
    """Return text as it stands, for a shell or a file."""
    return _guard("".join(_ESCAPES.get(character, character) for character in words))


def bold(words: str) -> str:
    """Return text to be typed as it stands."""
    return rf"\fB{code(words)}\fR"


def italic(words: str) -> str:
    """Return text that stands for something else."""
    return rf"\fI{code(words)}\fR"


def prose(words: str) -> str:
    """Return a paragraph of Markdown, or part of it, in roff."""
    parts, end = [], 0
    for found in _INLINE.finditer(words):
        parts.append(_plain(words[end : found.start()]))
        end = found.end()
        if found["code"] or found["option"]:
            parts.append(bold(found["code"] or found["option"]))
        elif found["bold"]:
            parts.append(rf"\fB{_plain(found['bold'])}\fR")
        elif found["link"]:
            parts.append(prose(found["link"]))
        else:
            parts.append(code(found["address"]))
    return _guard("".join([*parts, _plain(words[end:])]))


def paragraphs(words: str) -> list[str]:
    """Return prose with a line for each sentence, which is the custom of manual pages, from text with blank lines."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", words.strip()):
        lines += [".PP", *_sentences(" ".join(paragraph.split()))]
    return lines


def section(title: str) -> str:
    """Return the start of a section."""
    return f".SH {_plain(title).upper()}"


def subsection(title: str) -> str:
    """Return the start of a subsection. Code in its title is not marked: titles are bold anyway."""
    return '.SS "' + code(title.replace("`", "")).replace('"', r"\(dq") + '"'


def term(heading: str, meaning: str) -> list[str]:
    """Return an entry of a list of definitions: a heading in roff, and its meaning in Markdown."""
    return [".TP", heading, *(_sentences(_sentence(meaning)) if meaning else [r"\&"])]


def listing(lines: Sequence[str]) -> list[str]:
    """Return a block of code, indented."""
    return [".PP", ".RS 4", ".EX", *(code(line) for line in lines), ".EE", ".RE"]


def markdown(page: str) -> list[str]:
    """Return a page, or part of it: `## ` becomes a section, `### ` a subsection.

    Raises:
        ValueError: for Markdown that the manual cannot show.
    """
    lines: list[str] = []
    page = re.sub(r"^<!-- .*? -->\n", "", page, flags=re.MULTILINE | re.DOTALL)  # for tests, not for readers
    for block in _blocks(page):
        first = block[0]
        if first.startswith("```"):
            lines += listing(block[1:-1])
        elif first.startswith("### "):
            lines.append(subsection(first[4:]))
        elif first.startswith("## "):
            lines.append(section(first[3:]))
        elif first.startswith("|"):
            lines += _table(block)
        elif _ITEM.match(first):
            lines += _list(block)
        elif first.startswith(("#", ">", "!", "<")):
            raise ValueError(f"the manual cannot show {first!r}")
        else:
            lines += paragraphs(" ".join(block))
    return lines


def _blocks(page: str) -> Iterator[list[str]]:
    """Yield what blank lines separate; a block of code is one block."""
    block: list[str] = []
    fenced = False
    for line in [*page.splitlines(), ""]:
        if line.startswith("```"):
            fenced = not fenced
            if not fenced:
                yield [*block, line]
                block = []
                continue
        if line.strip() or fenced:
            block.append(line)
        elif block:
            yield block
            block = []


def _table(rows: Sequence[str]) -> list[str]:
    """Return a table as a list of definitions. A table of keys (type, default, meaning) has a form of its own."""
    cells = [[cell.strip().replace(r"\|", "|") for cell in _ROW.split(row.strip().strip("|"))] for row in rows]
    head, body = cells[0], cells[2:]
    lines = []
    for row in body:
        if head == ["key", "type", "default", "meaning"]:
            key, kind, default, meaning = row
            how = "required" if default == "required" else f"default {prose(default)}" if default else "no default"
            lines += term(f"{prose(key)} ({prose(kind)}, {how})", meaning)
        else:
            others = [f"{name}: {cell}" for name, cell in zip(head[2:], row[2:], strict=True) if cell]
            lines += term(prose(row[0]), row[1] + (f" ({', '.join(others)})" if others else ""))
    return lines


def _list(block: Sequence[str]) -> list[str]:
    lines = []
    for item in re.split(r"\n(?=\d+\. |- )", "\n".join(block)):
        marker, _, words = item.partition(" ")
        mark = r"\(bu" if marker == "-" else marker
        lines += [f".IP {mark} 4", *_sentences(" ".join(words.split()))]
    return lines


def _sentences(words: str) -> list[str]:
    """Return each sentence on a line of its own, as long lines are broken: readers of the source see changes better."""
    lines: list[str] = []
    for sentence in re.split(r"(?<=[.?!:]) (?=[A-Z`*\[])", words):
        lines += textwrap.wrap(prose(sentence), 79, break_long_words=False, break_on_hyphens=False)
    return [_guard(line.removeprefix(r"\&")) for line in lines]


def _sentence(words: str) -> str:
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "]")) else f"{words}."


def _plain(words: str) -> str:
    words = "".join(_PROSE.get(character, character) for character in words)
    return re.sub(r"(?<=[\dA-Z])-(?=[\dA-Z])|(?<!\S)-(?=\s|$)|(?<=\s)-(?=\S)", r"\\-", words)


def _guard(line: str) -> str:
    """Keep a line that begins like a request from being one."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
