"""Draws tasks, nurseries and cancel scopes as SVG. A drawing is a tree: nurseries and scopes enclose what runs in them.

- A nursery is a box with a solid border. It does not end before everything in it has ended.
- A cancel scope is a box with a dashed border. Cancelling it ends everything in it, and nothing else.
- A task is a filled box. A note is plain text.
- Boxes in a row run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

FONT = 14
WIDE = 8.0  # pixels of one character of the font
HIGH = 20  # pixels of one line
GAP = 14


@dataclass(frozen=True)
class Box:
    """A task (kind "task") or a note; the base of what encloses others. Lines of the label are split by newlines."""

    label: str
    kind: str = "task"
    children: tuple[Box, ...] = ()

    @property
    def lines(self) -> list[str]:
        return self.label.split("\n")

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        width = max(len(line) for line in self.lines) * WIDE + 2 * GAP
        height: float = len(self.lines) * HIGH + GAP
        if self.children:
            sizes = [child.size for child in self.children]
            width = max(width, sum(size[0] for size in sizes) + GAP * (len(sizes) + 1))
            height += max(size[1] for size in sizes) + GAP
        return width, height

    def draw(self, x: float, y: float, width: float, height: float) -> str:
        """Return the SVG of this box and all that it encloses."""
        parts = []
        if self.kind != "note":
            parts.append(
                f'<rect class="{self.kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'
            )
        middle = not self.children
        for number, line in enumerate(self.lines):
            start = x + width / 2 if middle else x + GAP
            top = y + (height - len(self.lines) * HIGH) / 2 if middle else y + GAP / 2
            anchor = ' text-anchor="middle"' if middle else ""
            parts.append(f'<text x="{start:g}" y="{top + HIGH * (number + 0.75):g}"{anchor}>{escape(line)}</text>')
        inner = height - len(self.lines) * HIGH - 2 * GAP
        left = x + GAP
        extra = (width - sum(child.size[0] for child in self.children) - GAP * (len(self.children) + 1)) / max(
            1, len(self.children)
        )
        for child in self.children:
            share = child.size[0] + max(0.0, extra)
            parts.append(child.draw(left, y + len(self.lines) * HIGH + GAP, share, inner))
            left += share + GAP
        return "\n".join(parts)


def task(label: str, *children: Box) -> Box:
    return Box(label, "task", children)


def note(label: str) -> Box:
    return Box(label, "note")


def nursery(label: str, *children: Box) -> Box:
    return Box(label, "nursery", children)


def scope(label: str, *children: Box) -> Box:
    return Box(label, "scope", children)


STYLE = """
svg { background: #ffffff; }
text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #1b2430; }
.task { fill: #dcebff; stroke: #3465a4; }
.nursery { fill: #f6f8fa; stroke: #1b2430; stroke-width: 1.5; }
.scope { fill: none; stroke: #b35900; stroke-width: 1.5; stroke-dasharray: 6 4; }
"""


def svg(box: Box, title: str) -> str:
    """Return a whole SVG file."""
    width, height = box.size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 2 * GAP:.0f}" height="{height + 2 * GAP:.0f}" '
        f'role="img">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{box.draw(GAP, GAP, width, height)}\n</svg>\n'
    )
