"""What a user wrote, as HTML: links, lines, and plans whose columns stay aligned.

A status is shown in one of two ways. A few words are a paragraph, in the font of the page. A plan, a text of several
lines that is laid out by spaces, tabs or drawn lines, is monospaced. Of a plan, prose wraps at the edge of the screen;
paragraphs with columns or drawings do not wrap, since that would destroy them, but scroll in a box of their own.

Links are the addresses that stand in the text, unchanged: no markup, nothing added to them, and nothing else becomes
one. Their schemes are harmless in a browser, other than javascript: or data:.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup, escape

from fingertrio.wire.text import clean

# An address does not start inside a word. Japanese and Chinese do not separate words, so an address may follow one of
# their characters. It ends before a blank, a quote, an angle bracket, an invisible character or CJK punctuation.
_NO_WORD_BEFORE = r"(?<![^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff])(?<![@/.+-])"
_INSIDE = r"[^\s<>\"`\u00ad\u200b-\u200f\u2060-\u2064\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
_ADDRESS = re.compile(
    rf"{_NO_WORD_BEFORE}(?:(?i:https?|gemini|gopher|finger)://(?=[^\W_]|\[){_INSIDE}+"
    rf"|(?i:mailto):[\w.+-]+@(?=[^\W_]){_INSIDE}+)"
)

# At the end of an address, these belong to the sentence around it, a bracket only if it is closed but not opened.
_SENTENCE_ENDS = frozenset(".,;:!?'*|\u2026\u2019\u201d\u00bb")
_OPENED_BY = {")": "(", "]": "[", "}": "{"}

_OPEN, _SHOWN, _CLOSE = Markup('<a href="'), Markup('" rel="nofollow ugc noopener">'), Markup("</a>")
_SHOWN_AS_OWN = Markup('" rel="me nofollow ugc noopener">')  # sites such as Mastodon look for "me", and ignore the rest

# Tabs, drawn lines, blocks, braille; columns: two or more blanks, except after the end of a sentence.
_LAID_OUT = re.compile(r"\t|[\u2500-\u259f\u2800-\u28ff]|[^\s.!?:]  +\S")
_INDENTED = re.compile(r"^ {2,}\S", re.MULTILINE)
_MARKS = re.compile(r"[!-/:-@\[-`{-~]")

# Columns that fit on a phone. A drawing that is wider gets a scroll bar, which a keyboard has to reach.
_PHONE = 38

# Terminals and this page have a tab stop at every eighth column.
_TAB = 8


def href(name: str) -> str:
    """A user name as a relative link. Without ":" and "/" it is always a path segment, never a scheme or a host."""
    return quote(name, safe="")


# Login names whose page would be at an address that the site or a protocol needs. Every other front end knows them.
RESERVED = frozenset({"api", "RPC2", "robots.txt", "favicon.ico"})


def home(name: str) -> str:
    """Where a user is found, from the root of the site: the page, or what stands for it under a reserved name."""
    return f"api/users/{href(name)}" if name in RESERVED else href(name)


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a plan.

    Attributes:
        html: the lines, escaped, with links.
        drawn: whether they are columns or a drawing, which must not wrap.
        wide: whether they are wider than a phone.
    """

    html: Markup
    drawn: bool
    wide: bool


@dataclass(frozen=True, slots=True)
class Written:
    """A text as it is shown; exactly one of the two is empty.

    Attributes:
        words: a text without layout; its lines are separated by <br>.
        plan: the blocks of a plan.
    """

    words: Markup
    plan: tuple[Block, ...]

    @property
    def is_short(self) -> bool:
        """Whether it is a few words, which may be shown large."""
        return bool(self.words) and "<br>" not in self.words and len(self.words) <= 140


def written(text: str) -> Written:
    """A status, or another text of a user."""
    lines = clean(text).strip("\n").split("\n")
    if not is_plan(lines):
        return Written(in_lines(lines), ())
    return Written(Markup(""), tuple(_blocks(lines)))


def in_lines(lines: list[str]) -> Markup:
    """Lines with links, separated by <br>."""
    return Markup("<br>").join(map(linked, lines))


def is_plan(lines: list[str]) -> bool:
    """Whether lines were laid out for a fixed width."""
    return len(lines) > 1 and (any(map(_is_drawn, lines)) or _INDENTED.search("\n".join(lines)) is not None)


def _is_drawn(line: str) -> bool:
    """Whether a line has columns, or is a part of a drawing: more marks than letters."""
    if _LAID_OUT.search(line):
        return True
    inked = len(line) - line.count(" ")
    return inked >= 3 and "://" not in line and 2 * len(_MARKS.findall(line)) > inked


def _blocks(lines: list[str]) -> Iterator[Block]:
    """Paragraphs, each with the blank lines after it; drawings that follow each other are one block."""
    gathered: list[str] = []
    drawn = False
    for paragraph in _paragraphs(lines):
        for part, is_drawn in _parts(paragraph):
            if gathered and is_drawn != drawn:
                yield _block(gathered, drawn)
                gathered = []
            drawn = is_drawn
            gathered += part
    yield _block(gathered, drawn)


def _parts(paragraph: list[str]) -> Iterator[tuple[list[str], bool]]:
    """A paragraph, without the prose right before and after a drawing: lines that are too long for a phone."""
    if not any(map(_is_drawn, paragraph)):
        yield paragraph, False
        return
    inked = len("\n".join(paragraph).rstrip().split("\n"))  # lines before the blank ones at the end
    is_prose = [len(line) > _PHONE and not line[0].isspace() and not _is_drawn(line) for line in paragraph[:inked]]
    start, end = is_prose.index(False), inked - is_prose[::-1].index(False)
    parts = [(paragraph[:start], False), (paragraph[start:end], True), (paragraph[end:inked], False)]
    parts = [(part, is_drawn) for part, is_drawn in parts if part]
    parts[-1][0].extend(paragraph[inked:])
    yield from parts


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    paragraph: list[str] = []
    ended = False
    for line in lines:
        is_blank = not line.strip()
        if ended and not is_blank:
            yield paragraph
            paragraph = []
        paragraph.append(line)
        ended = is_blank and bool(paragraph)
    yield paragraph


def _block(lines: list[str], drawn: bool) -> Block:
    wide = drawn and max(len(line.expandtabs(_TAB)) for line in lines) > _PHONE
    # HTML drops the line end at the start of <pre>, and shows nothing for the one at its end.
    html = Markup("\n") + Markup("\n").join(map(linked, lines))
    return Block(html if lines[-1].strip() else html + "\n", drawn, wide)


def linked(text: str) -> Markup:
    """One line as HTML, with its addresses as links."""
    if ":" not in text:
        return escape(text)
    parts: list[Markup] = []
    end = 0
    for found in _ADDRESS.finditer(text):
        address = _without_sentence(found[0])
        parts += (escape(text[end : found.start()]), link(address))
        end = found.start() + len(address)
    return Markup("").join((*parts, escape(text[end:])))


def link(address: str, *, is_own: bool = False) -> Markup:
    """An address as a link that shows itself; if it is the user's own, with rel="me"."""
    escaped = escape(address)
    return _OPEN + escaped + (_SHOWN_AS_OWN if is_own else _SHOWN) + escaped + _CLOSE


def _without_sentence(address: str) -> str:
    """`address` without the punctuation at its end that belongs to the sentence."""
    unclosed = {closing: address.count(closing) - address.count(opening) for closing, opening in _OPENED_BY.items()}
    end = len(address)
    while end:
        char = address[end - 1]
        if unclosed.get(char, 0) > 0:
            unclosed[char] -= 1
        elif char not in _SENTENCE_ENDS:
            break
        end -= 1
    return address[:end]


def is_link(text: str) -> bool:
    """Whether `text` is one address and nothing else."""
    return _ADDRESS.fullmatch(text) is not None
