"""`make docs`: the site is built without a warning, is whole without a network, and reads well on a phone."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, sync_playwright

from docs.site.build import run_sphinx
from tests.chromium import launch, need_chromium

# It builds the site: 8 s of CPU time, more than a minute on a machine that does ten other things.
pytestmark = [pytest.mark.release, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()

# Attributes by which a page makes the browser fetch something. What follows a link is the reader's decision.
_FETCHES = {"src", "srcset", "poster", "data", "action"}


@dataclass
class Parsed(HTMLParser):
    """What one page of the site refers to, and the anchors that it has."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name == "href" and value and tag == "a":
                self.links.append(value)
            elif value and (name in _FETCHES or (name == "href" and tag != "a")):
                self.fetched.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once for all workers of pytest-xdist."""
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip("needs what builds the site: make .venv/.documents")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared
    path = shared / "site" / "docs"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            command: list[str | Path] = [sys.executable, ROOT / "docs/site/build.py", path]
            built = subprocess.run(command, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stdout + built.stderr
    return path


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Parsed]:
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = Parsed()
        pages[path].feed(path.read_text())
    return pages


def test_every_page_of_the_documentation_is_on_the_site(site: Path):
    names = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert names - {Path("README")} <= built
    assert Path("index") in built


def test_every_link_and_anchor_leads_somewhere(site: Path, parsed: dict[Path, Parsed]):
    """Sphinx checks the links of Markdown; here are all of them, also those in HTML of our own."""
    broken = []
    for path, page in parsed.items():
        for link in [*page.links, *page.fetched]:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (path.parent / target.partition("?")[0]).resolve() if target else path
            missing = anchor and there in parsed and anchor not in parsed[there].ids
            if not there.exists() or missing:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_a_link_or_an_anchor_that_leads_nowhere_fails_the_build(
    site: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert site.exists()
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text("# Index\n\n[one](gone.md), [two](other.md#gone), [three](#gone)\n")
    (pages / "other.md").write_text("# Other\n")
    with pytest.raises(subprocess.CalledProcessError):
        run_sphinx(pages, tmp_path / "built")
    complaints = capfd.readouterr().err
    assert complaints.count("xref_missing") == 3
    assert "other.md: WARNING: document isn't included in any toctree" in complaints  # it has no place in the side bar


def test_nothing_is_fetched_from_elsewhere(site: Path, parsed: dict[Path, Parsed]):
    elsewhere = [link for page in parsed.values() for link in page.fetched if re.match(r"([a-z]+:)?//", link)]
    assert elsewhere == []
    for path in site.rglob("*.css"):
        found = re.findall(r"@import[^;]+|url\(\s*[\"']?(?!data:)(?:[a-z]+:)?//[^)]*", path.read_text())
        assert found == [], path


def test_the_side_bar_has_its_order(site: Path):
    titles = re.findall(r'<span class="caption-text">([^<]+)</span>', (site / "index.html").read_text())
    wanted = ["First hour", "Guides", "Recipes", "Tutorial", "Reference", "Operating", "Design", "Troubleshooting"]
    assert [title for title in titles if title in wanted] == [title for title in wanted if title in titles]
    assert titles[-1] == "About"


def search(page: Page, site: Path) -> None:
    page.goto(f"{site.as_uri()}/search.html?q=peer+credentials")
    page.locator("#search-results a", has_text="Who may write").first.wait_for()


def read_on_a_phone(page: Page, site: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    for name in ("index", "reference/configuration", "tutorial/04-read-a-line", "troubleshooting"):
        page.goto(f"{site.as_uri()}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


def look_for_barriers(page: Page, site: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{site.as_uri()}/guide/backends.html")
    page.evaluate(AXE)
    assert violations(page, "wcag2a", "wcag2aa") == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == []


def violations(page: Page, *tags: str) -> list[str]:
    result = page.evaluate("(tags) => axe.run({runOnly: tags})", list(tags))
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in result["violations"]]


def test_in_a_browser_from_the_file_system(site: Path):
    """One visit: the search finds, a phone scrolls one way only, axe-core finds nothing, and only files are fetched."""
    need_chromium()
    fetched: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: fetched.append(request.url))
        search(page, site)
        read_on_a_phone(page, site)
        look_for_barriers(page, site)
        browser.close()
    assert fetched
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
