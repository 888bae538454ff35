"""Builds the documentation as a site: `make docs` writes it into dist/docs.

The pages stay plain Markdown that reads well without a site. So they are first copied into a folder of their own, where
this script adds what only a site needs:

- the front page: `hero.html`, and below it the index, docs/README.md;
- the order of the pages in the side bar (`sections`);
- CONTRIBUTING, SECURITY, CHANGELOG and the examples' own pages;
- each program that a page links to, as a text file, so that the site is whole without a network.

Then Sphinx builds it. Every warning is an error: a link or an anchor that leads nowhere, a page without a place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCS = ROOT / "docs"
SITE = ROOT / "dist" / "docs"

BESIDE = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")  # pages that stand at the root of the repository

_CODE = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2`*[ ]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Section:
    """One heading of the side bar and its pages in their order; a pattern takes the pages that no section names."""

    title: str
    pages: tuple[str, ...]


SECTIONS = (
    Section("First hour", ("guide/first-hour", "guide/install")),
    Section("Guides", ("guide/*", "examples/*")),
    Section("Recipes", ("recipes/README", "recipes/*")),
    Section("Tutorial", ("tutorial/README",)),
    Section("Reference", ("reference/command-line", "reference/configuration", "reference/*")),
    Section(
        "Operating",
        ("guide/operating", "guide/doctor", "guide/security", "guide/backends", "guide/sqlite", "guide/scaling"),
    ),
    Section("Design", ("design/architecture", "design/*", "decisions/README")),
    Section("Troubleshooting", ("troubleshooting",)),
    Section("About", ("CONTRIBUTING", "SECURITY", "CHANGELOG", "*")),
)
# Pages that are in the side bar below another.
BELOW = {"tutorial/README": "tutorial/[0-9]*"}
# Pages that are only in the table of another: the side bar is made again for every page, and costs half of the build.
LISTED = "decisions/[0-9]*"


@dataclass
class Staging:
    """The folder from which Sphinx builds.

    Attributes:
        folder: where the pages are copied to.
        sources: the programs that pages link to, relative to the repository.
    """

    folder: Path
    sources: set[Path] = field(default_factory=set)

    def fill(self) -> None:
        """Write every page, with its links changed to places on the site."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for pictures in ("images", "tutorial/drawings"):
            shutil.copytree(DOCS / pictures, self.folder / pictures)
        for path in pages_of_docs():
            self._write(self.place(path), self._page(path))

    def add_files(self, site: Path) -> None:
        """Copy what pages refer to by HTML of their own, which Sphinx does not follow, into the site."""
        shutil.copytree(DOCS / "images", site / "images")
        for source in sorted(self.sources):
            copy = site / text_file(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, copy)

    def place(self, path: Path) -> Path:
        """Where a page of the repository is on the site, relative to its root."""
        if path == DOCS / "README.md":
            return Path("index.md")
        return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT)

    def name(self, path: Path) -> str:
        """What Sphinx calls a page: its place without the suffix."""
        return str(self.place(path).with_suffix(""))

    def _write(self, place: Path, text: str) -> None:
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _page(self, path: Path) -> str:
        text = outside_code(path.read_text(), lambda part: _LINK.sub(lambda link: self._link(path, link), part))
        name = self.name(path)
        if name == "index":
            hero, body = (HERE / "hero.html").read_text(), text[text.index("\n## ") :]
            trees = [tree(pages, title) for title, pages in order(map(self.name, pages_of_docs())).items()]
            return "\n".join(["# fingertrio\n", hero, body, *trees])
        if name in BELOW:
            below = sorted(page for page in map(self.name, pages_of_docs()) if fnmatch(page, BELOW[name]))
            text += "\n" + tree(below)
        return f"---\norphan: true\n---\n{text}" if fnmatch(name, LISTED) else text

    def _link(self, page: Path, link: re.Match[str]) -> str:
        label, target = link.groups()
        name, hash_, anchor = target.partition("#")
        if not name or "://" in target or target.startswith("mailto:"):
            return link[0]
        there = (page.parent / name).resolve()
        if there == ROOT / "README.md":  # its place is taken by the front page
            there = DOCS / "README.md"
        if there.is_dir():  # a folder has no page
            return label
        up = "../" * (len(self.place(page).parts) - 1)
        if there.suffix == ".md":
            return f"[{label}]({up}{self.place(there)}{hash_}{anchor})"
        source = there.relative_to(ROOT)
        self.sources.add(source)
        return f'<a href="{up}{text_file(source)}">{label}</a>'


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return a page with `change` applied to what is not code. Code in it shows as one character, between two NULs."""
    code: list[str] = []

    def hide(found: re.Match[str]) -> str:
        code.append(found[0])
        return f"\0{len(code) - 1}\0"

    return re.sub("\0([0-9]+)\0", lambda found: code[int(found[1])], change(_CODE.sub(hide, text)))


def text_file(source: Path) -> Path:
    """Where a program is on the site: under a name that every browser shows as text instead of saving it."""
    return Path("source", f"{source}.txt")


def pages_of_docs() -> list[Path]:
    """Every page that the site has, but those of programs."""
    beside = [*(ROOT / name for name in BESIDE), *sorted(ROOT.glob("examples/*/README.md"))]
    return [*sorted(DOCS.rglob("*.md")), *beside]


def order(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the pages of each section in their order. A pattern takes what no section names."""
    elsewhere = ("index", LISTED, *BELOW.values())
    left = [name for name in names if not any(fnmatch(name, pattern) for pattern in elsewhere)]
    named = {page for section in SECTIONS for page in section.pages}
    found: dict[str, list[str]] = {}
    for section in SECTIONS:
        pages = []
        for pattern in section.pages:
            pages += [name for name in left if name == pattern or (fnmatch(name, pattern) and name not in named)]
        left = [name for name in left if name not in pages]
        if pages:
            found[section.title] = pages
    return found


def tree(pages: Iterable[str], title: str = "") -> str:
    """Return a hidden list of pages, from which Sphinx makes a part of the side bar."""
    caption = f":caption: {title}\n" if title else ""
    lines = "\n".join(f"/{page}" for page in pages)
    return f"```{{toctree}}\n:hidden:\n{caption}\n{lines}\n```\n"


def build(site: Path = SITE) -> None:
    """Write the site into `site`, which is emptied first. What else is needed for building is kept beside it."""
    staging = Staging(site.with_name(site.name + "-pages"))
    staging.fill()
    shutil.rmtree(site, ignore_errors=True)
    run_sphinx(staging.folder, site)
    staging.add_files(site)
    shutil.rmtree(staging.folder)
    (site / ".buildinfo").unlink(missing_ok=True)
    (site / "_sources").rmdir()


def run_sphinx(pages: Path, site: Path) -> None:
    """Build a site from a folder of pages.

    Raises:
        subprocess.CalledProcessError: Sphinx had something to complain about; it is on standard error.
    """
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env"]
    subprocess.run(
        [*command, "-b", "html", "-d", pages / ".trees", "-c", HERE, pages, site],
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def main() -> None:
    try:
        build(Path(sys.argv[1]) if len(sys.argv) > 1 else SITE)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    print(f"open {(SITE / 'index.html').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
