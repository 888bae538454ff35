"""The code blocks of the documentation, and how each is checked.

A block is checked as its language says (`test_blocks.py`, `test_console.py`), unless a comment right above it says
otherwise. Readers do not see these comments:

    <!-- checked by tests/docs/test_irc.py -->         another test runs this block; the page tells it which
    <!-- not run: needs root and a running systemd --> it cannot be run in a test, for this reason
    <!-- first: printf 'ada: Weaving\n' > users -->    shell commands that run before the block, not shown
    <!-- skip "fingertrio set": opens an editor -->    one command of a console block that is not run, for this reason

Several can stand above one block, each on lines of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs/tutorial"

PAGES = sorted(
    path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*/*.md"),
    )
    if not path.is_relative_to(TUTORIAL)
)

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_COMMENTS = re.compile(r"(?:<!-- (?:(?!-->).)*-->\s*)*\Z", re.DOTALL)
_WRITTEN = re.compile(r"<!-- (?:file|diff|attack|solution)[^>]*-->\n.*?<!-- end -->", re.DOTALL)
_COMMENT = re.compile(r"<!-- (.*?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file.
        line: of its opening fence, from 1.
        language: the word after the fence; empty: text, such as a drawing.
        text: what is in it.
        comments: what the comments right above it say.
    """

    page: Path
    line: int
    language: str
    text: str
    comments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def said(self, what: str) -> list[str]:
        """What the comments say that begin with `what`."""
        return [each.removeprefix(what).strip() for each in self.comments if each.startswith(what)]

    @property
    def runs(self) -> bool:
        """Whether this block is checked here, as its language says."""
        return not self.said("checked by") and not self.said("not run:")


@dataclass
class Command:
    """A command of a console block, with the output that the page shows and the line on which it stands."""

    text: str
    line: int
    expected: list[str] = field(default_factory=list)

    @property
    def bare(self) -> str:
        """The command without the remark behind it."""
        return re.sub(r"\s+# .*", "", self.text).strip()

    @property
    def is_make(self) -> bool:
        """Whether it is for the repository and takes minutes: test_blocks.py looks only whether its target exists."""
        return self.bare.startswith("make ")


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        above = _COMMENTS.search(text, 0, match.start())
        comments = _COMMENT.findall(above[0]) if above else []
        words: list[str] = match["info"].split()
        language = words[0] if words else ""
        inside = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, language, inside, tuple(comments)))
    return found


def tutorial_blocks() -> list[Block]:
    """Return the blocks of the tutorial that its own tests (test_tutorial.py) leave out.

    `build.py` writes listings, diffs, attacks and solutions between two comments; `sessions.py` replays console blocks.
    """
    found = []
    for page in sorted(TUTORIAL.rglob("*.md")):
        text = page.read_text()
        written = [match.span() for match in _WRITTEN.finditer(text)]
        starts = [len("".join(text.splitlines(keepends=True)[: block.line - 1])) for block in blocks(page)]
        for block, start in zip(blocks(page), starts, strict=True):
            if block.language != "console" and not any(first <= start < last for first, last in written):
                found.append(block)
    return found


def commands(block: Block) -> list[Command]:
    """Return the commands of a console block: lines after `$ `, with lines that continue them.

    Raises:
        ValueError: a line before the first command, or a command for root.
    """
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append(Command(line[2:], number))
        elif line.startswith("# ") or not found:
            raise ValueError(f"{block}: {line!r} is not a command of a user; say why it is not run")
        elif found[-1].text.endswith("\\") and not found[-1].expected:
            found[-1].text += f"\n{line}"
        else:
            found[-1].expected.append(line)
    return found
