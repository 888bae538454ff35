"""Writes what a benchmark measured into docs/design/performance.md, so that no figure there is typed by hand.

Each benchmark has a part of the page between two comments that bear its name; everything else is left as it is.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import ROOT, BenchmarkError

PAGE = ROOT / "docs" / "design" / "performance.md"


def write_part(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the part of the benchmark `name` by `text`, which is Markdown.

    Raises:
        BenchmarkError: the page has no such part, or more than one.
    """
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    content = page.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise BenchmarkError(f"{page} needs one pair of lines {begin.strip()} and {end.strip()}")
    before, _, rest = content.partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}{text.strip()}\n{end}{after}", encoding="utf-8")
