"""A feed reader as people use it: newsboat (Debian package newsboat) reads our Atom feeds and asks for them again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.frontends.web.kit import Site, serving
from tests.frontends.web.people import HOUR, People, Person

PLAN = "Plan:\n\n  /\\_/\\   <-- a cat & <b>more</b>\n ( o.o )"
ADA = Person("ada", PLAN, HOUR, "Ada Lovelace", before=[(2, "☕ Tea", 0), (1, "Weaving", 0)])


class Newsboat:
    """The program, with files of its own in a directory."""

    def __init__(self, directory: Path, *urls: str) -> None:
        self.cache = directory / "cache.db"
        program = shutil.which("newsboat")
        if program is None:
            pytest.skip("needs newsboat (Debian package newsboat)")
        (directory / "urls").write_text("".join(f"{url}\n" for url in urls))
        (directory / "config").touch()
        self._command = [
            program,
            *("-u", str(directory / "urls"), "-C", str(directory / "config"), "-c", str(self.cache)),
        ]

    async def execute(self, command: str) -> str:
        done = await trio.run_process([*self._command, "-x", command], capture_stdout=True, capture_stderr=True)
        assert done.stderr == b""
        return done.stdout.decode()

    def items(self) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.cache)) as database:
            return database.execute(
                "SELECT guid, title, author, url, content FROM rss_item ORDER BY pubDate DESC, title"
            ).fetchall()


def sizes(site: Site, path: str) -> list[int]:
    """The bytes of each answer."""
    lines = [json.loads(line) for line in site.log.getvalue().splitlines()]
    return [line["bytes"] for line in lines if line.get("asked") == f"GET {path}" and line["outcome"] == "list"]


async def test_a_feed_is_read_and_not_sent_again(tmp_path: Path) -> None:
    backend = People()
    await backend.enter(ADA, Person("bob", "Out", 2 * HOUR))
    async with serving(backend) as site:
        reader = Newsboat(tmp_path, f"{site.url}/ada/feed.atom")
        assert await reader.execute("reload") == ""
        assert await reader.execute("print-unread") == "3 unread articles\n"
        first, _, last = reader.items()
        assert last[1:3] == ("☕ Tea", "Ada Lovelace")
        assert first[0] == first[3]
        assert first[0].startswith(f"{site.url}/ada/at/")
        assert first[1] == "Plan:"
        assert "<pre>Plan:\n\n  /\\_/\\   &lt;-- a cat &amp; &lt;b&gt;more&lt;/b&gt;" in first[4]
        for _ in range(2):  # newsboat keeps the ETag of a feed that it knows already, so not from its first visit
            await reader.execute("reload")
        await wait_all_tasks_blocked()  # the application logs when it has answered
        whole, again, nothing = sizes(site, "/ada/feed.atom")
        assert whole == again > 1000
        assert nothing == 0, "304"
        await backend.set_user("ada", "New")
        await reader.execute("reload")
        assert await reader.execute("print-unread") == "4 unread articles\n"


async def test_the_feed_of_everybody_names_the_authors(tmp_path: Path) -> None:
    backend = People()
    await backend.enter(ADA, Person("bob", "Out", 2 * HOUR))
    async with serving(backend) as site:
        reader = Newsboat(tmp_path, f"{site.url}/-/feed.atom")
        await reader.execute("reload")
        assert [item[1:3] for item in reader.items()] == [("Plan:", "Ada Lovelace"), ("Out", "bob")]
