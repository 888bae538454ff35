"""Writes the generated parts of the pages (listings, diffs, attacks, solutions, drawings, tables): run `make tutorial`.

A page marks each place with an HTML comment, such as `<!-- file finger04.py -->`, and `<!-- end -->` after it. What
stands between them is written here and never by hand; a test compares. Drawings are in drawings.py.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable
from pathlib import Path

import attack
from draw import svg
from drawings import DRAWINGS

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TWISTED = "https://github.com/twisted/twisted/blob/twisted-{release}/docs/core/howto/tutorial/listings/finger/{name}"
_BLOCK = re.compile(
    r"<!-- (file|diff|attack|solution|drawing|twisted|table|navigation)([^>]*) -->\n.*?<!-- end -->", re.DOTALL
)


def pages() -> list[Path]:
    """Return the pages of the steps in their order."""
    return sorted((path for path in HERE.glob("[0-9]*.md")), key=lambda path: (path.name[:2], path.name))


def number_of(page: Path) -> str:
    """Return the number of a page's step: "04", "19a"."""
    return page.name.split("-")[0]


def title_of(page: Path) -> str:
    """Return a page's title without its number."""
    return page.read_text().splitlines()[0].removeprefix("# ").split(" · ", 1)[1]


def code(path: Path, language: str = "python") -> str:
    return f"```{language}\n{path.read_text().rstrip()}\n```"


def listing(name: str) -> str:
    """Return a file, with a link to it."""
    return f"[{name}]({name}):\n\n{code(HERE / name, 'python' if name.endswith('.py') else '')}"


def definitions(text: str) -> dict[str, tuple[int, int]]:
    """Return the top-level classes, functions and constants of a module with their first and last line."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[node.name] = (first, node.end_lineno or first)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                found[target.id] = (node.lineno, node.end_lineno or node.lineno)
    return found


def imports(text: str) -> set[str]:
    """Return the modules from which a listing imports names."""
    return {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module}


def diff(before: str, after: str) -> str:
    """Return the change from one listing to the next.

    If the new listing imports from the old one, what it no longer defines is still there, and is left out of the diff.
    """
    old, new = ((HERE / f"{name}").read_text() for name in (before, after))
    stays: list[str] = []
    lines = old.splitlines()
    if before.removesuffix(".py") in imports(new):
        there = definitions(old)
        stays = [name for name in there if name not in definitions(new)]
        gone = {line for name in stays for line in range(there[name][0], there[name][1] + 1)}
        lines = [line for number, line in enumerate(lines, 1) if number not in gone]
        lines = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).split("\n")
    changes = list(difflib.unified_diff(lines, new.splitlines(), before, after, n=1, lineterm=""))
    text = "```diff\n" + "\n".join(line.rstrip() for line in changes) + "\n```"
    if stays:
        text += (
            f"\n\nNot in the diff, because it stays in `{before}`: " + ", ".join(f"`{name}`" for name in stays) + "."
        )
    return text


def attack_of(number: str) -> str:
    """Return an attack and how the step before and this step fare."""
    path = f"attacks/attack{number}.py"
    lines = [f"$ python attack.py {number}", *attack.report(number, attack.names_for(number))]
    session = "\n".join(lines)
    return f"[{path}]({path}):\n\n{code(HERE / path)}\n\n```console\n{session}\n```"


def solution(number: str) -> str:
    path = f"solutions/solution{number}.py"
    return f"<details><summary>Solution: {path}</summary>\n\n{code(HERE / path)}\n\n</details>"


def results() -> dict[str, object]:
    found: dict[str, object] = json.loads((HERE / "twisted/results.json").read_text())
    return found


def verdict(name: str) -> str:
    """Return a link to a listing of Twisted, and whether it runs."""
    found = results()
    listings = found["listings"]
    assert isinstance(listings, dict)
    link = f"[{name}]({TWISTED.format(release=found['twisted'], name=name)})"
    said = str(listings[name])
    return f"{link}: {said}" if said == "runs" else f"{link}: `{said.replace('|', '/').replace('`', '')}`"


def twisted_of(page: Path) -> list[str]:
    """Return the names of Twisted's listings that a page is about."""
    marked = re.search(r"<!-- twisted([^>]*) -->", page.read_text())
    return marked.group(1).split() if marked else []


def table() -> str:
    """Return the comparison, step by step."""
    found = results()
    tried = f"Twisted {found['twisted']}, Python {found['python']}, tried on {found['date']}"
    rows = [f"| step | ours: runs in CI, with its attack, session and exercise | {tried} |", "|---|---|---|"]
    for page in pages():
        step = number_of(page)
        theirs = "; ".join(verdict(name) for name in twisted_of(page)) or "(has no such step)"
        ours = f"{title_of(page)}: [finger{step}.py](finger{step}.py)"
        rows.append(f"| [{step.replace('_', '.')}]({page.name}) | {ours} | {theirs} |")
    return "\n".join(rows)


def drawing_names(page: Path) -> list[str]:
    """Return the names of the drawings on a page."""
    return re.findall(r"<!-- drawing (\w+) -->", page.read_text())


def navigation(page: Path) -> str:
    everything = pages()
    here = everything.index(page)
    links = []
    if here:
        links.append(f"Before: [{title_of(everything[here - 1])}]({everything[here - 1].name})")
    links.append("[All steps](README.md)")
    if here + 1 < len(everything):
        links.append(f"Next: [{title_of(everything[here + 1])}]({everything[here + 1].name})")
    return " · ".join(links)


def drawing(name: str) -> str:
    return f"![{DRAWINGS[name][0]}](drawings/{name}.svg)"


def block(page: Path, kind: str, arguments: str) -> str:
    """Return what belongs between a mark and its end."""
    words = arguments.split()
    makers: dict[str, Callable[[], str]] = {
        "file": lambda: listing(words[0]),
        "diff": lambda: diff(*words),
        "attack": lambda: attack_of(number_of(page)),
        "solution": lambda: solution(number_of(page)),
        "drawing": lambda: drawing(words[0]),
        "twisted": lambda: "\n".join(f"- {verdict(name)}" for name in words),
        "table": table,
        "navigation": lambda: navigation(page),
    }
    return makers[kind]()


def build(page: Path) -> str:
    """Return the text of a page with every marked block up to date."""

    def replace(found: re.Match[str]) -> str:
        kind, arguments = found.groups()
        return f"<!-- {kind}{arguments} -->\n{block(page, kind, arguments)}\n<!-- end -->"

    return _BLOCK.sub(replace, page.read_text())


def drawings() -> dict[Path, str]:
    """Return the path and the text of every drawing."""
    return {HERE / "drawings" / f"{name}.svg": svg(box, title) for name, (title, box) in DRAWINGS.items()}


def main() -> None:
    for path, text in drawings().items():
        path.write_text(text)
    for page in [*pages(), HERE / "README.md"]:
        text = build(page)
        if text != page.read_text():
            page.write_text(text)
            print(f"wrote {page.name}")


if __name__ == "__main__":
    main()
