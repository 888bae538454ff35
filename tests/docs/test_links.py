"""Links in the documentation lead somewhere: files, headings, and the programs that the pages name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that forges make of a page's headings: lower case, punctuation dropped, blanks as hyphens."""
    headings = re.findall(r"^#{1,6} (.+)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = _CODE.sub("", page.read_text())
    pictures = re.findall(r'<(?:img|source) [^>]*(?:src|srcset)="([^"]+)"', text)
    return [*(first or second for first, second in _LINK.findall(text)), *pictures]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path):
    broken = []
    for link in links(ROOT / page):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (ROOT / page).parent / target if target else ROOT / page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert not broken, f"{page} links to {', '.join(broken)}"


def test_the_index_has_every_page():
    indexed = {
        (ROOT / "docs" / link).resolve()
        for page in ("docs/README.md",)
        for link in links(ROOT / page)
        if "://" not in link
    }
    missing = [
        str(page)
        for page in PAGES
        if page.parts[0] == "docs" and page.name != "README.md" and page.parts[1] != "decisions"
        if (ROOT / page).resolve() not in indexed
    ]
    assert not missing, f"docs/README.md lacks {', '.join(missing)}"


def test_the_index_of_decisions_has_every_record():
    index = (ROOT / "docs/decisions/README.md").read_text()
    missing = [page.name for page in (ROOT / "docs/decisions").glob("0*.md") if f"({page.name})" not in index]
    assert not missing


def test_a_broken_link_is_noticed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A heading, here\n[one](gone.md) `[code](x.md)` [two](#a-heading-here)\n")
    assert links(page) == ["gone.md", "#a-heading-here"]
    assert anchors(page) == {"a-heading-here"}
