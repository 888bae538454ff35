"""Statuses as feeds: Atom (RFC 4287), JSON Feed 1.1 and twtxt. Sans-IO: what goes in is clean text.

A status has no title. Atom requires one, so it is the first line, cut at 80 characters; JSON Feed allows none, and has
none, since readers of notes show the text instead. A status of several lines is preformatted: plans have columns.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from fingertrio.wire.live import timestamp
from fingertrio.wire.text import first_line

ATOM = "application/atom+xml"
JSON = "application/feed+json"

_TITLE_LIMIT = 80  # characters
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # RFC 4287 section 4.1.1 wants a time of an empty feed too

# XML 1.0, production 2: what no document can contain, escaped or not.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Author:
    """Whose status it is.

    Attributes:
        name: for people.
        url: the user's page.
    """

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One status.

    Attributes:
        id: a URL that stays the same for as long as the status is known; it is the status's page.
        text: as written; not empty.
        at: when it was set; aware.
        author: whose it is.
    """

    id: str
    text: str
    at: datetime
    author: Author


@dataclass(frozen=True, slots=True)
class Feed:
    """Statuses, the newest first.

    Attributes:
        title: of the feed.
        home: the URL of the page that shows the same.
        url: of the feed itself.
        icon: the URL of a picture.
        entries: the newest first.
        next: the URL of the feed with older entries; None: there are no more.
        author: of all entries; None: each has its own.
    """

    title: str
    home: str
    url: str
    icon: str
    entries: Sequence[Entry]
    next: str | None = None
    author: Author | None = None


def title_of(text: str) -> str:
    """The first line that is not blank, cut at 80 characters."""
    line = first_line(text)
    return line if len(line) <= _TITLE_LIMIT else f"{line[: _TITLE_LIMIT - 1].rstrip()}…"


def dump_atom(feed: Feed) -> bytes:
    """The Atom document."""
    return "".join(f"{line}\n" for line in _atom(feed)).encode()


def _atom(feed: Feed) -> Iterator[str]:
    updated = max((entry.at for entry in feed.entries), default=_NEVER)
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield '<feed xmlns="http://www.w3.org/2005/Atom">'
    yield f"<id>{_text(feed.url)}</id>"
    yield f"<title>{_text(feed.title)}</title>"
    yield f"<updated>{timestamp(updated)}</updated>"
    yield f'<link rel="self" type="{ATOM}" href={_quoted(feed.url)}/>'
    yield f'<link rel="alternate" type="text/html" href={_quoted(feed.home)}/>'
    if feed.next is not None:  # RFC 5005 section 3
        yield f'<link rel="next" type="{ATOM}" href={_quoted(feed.next)}/>'
    yield f"<icon>{_text(feed.icon)}</icon>"
    yield '<generator uri="https://pypi.org/project/fingertrio/">fingertrio</generator>'
    if feed.author is not None:
        yield _atom_author(feed.author)
    elif not feed.entries:  # section 4.1.1: without entries, the feed itself needs an author
        yield _atom_author(Author(feed.title, feed.home))
    for entry in feed.entries:
        yield "<entry>"
        yield f"<id>{_text(entry.id)}</id>"
        yield f"<title>{_text(title_of(entry.text))}</title>"
        yield f"<published>{timestamp(entry.at)}</published>"
        yield f"<updated>{timestamp(entry.at)}</updated>"
        yield f'<link rel="alternate" type="text/html" href={_quoted(entry.id)}/>'
        yield _atom_author(entry.author)  # also that of the whole feed: newsboat looks here only
        yield _atom_content(entry.text)
        yield "</entry>"
    yield "</feed>"


def _atom_author(author: Author) -> str:
    return f"<author><name>{_text(author.name)}</name><uri>{_text(author.url)}</uri></author>"


def _atom_content(text: str) -> str:
    if "\n" not in text.strip("\n"):
        return f'<content type="text">{_text(text)}</content>'
    preformatted = f"<pre>{html.escape(_NOT_XML.sub('', text), quote=False)}</pre>"
    return f'<content type="html">{escape(preformatted)}</content>'


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


def _quoted(text: str) -> str:
    return quoteattr(_NOT_XML.sub("", text))


def dump_json_feed(feed: Feed) -> bytes:
    """The JSON Feed document (https://www.jsonfeed.org/version/1.1/)."""
    document: dict[str, Any] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed.title,
        "home_page_url": feed.home,
        "feed_url": feed.url,
        "icon": feed.icon,
    }
    if feed.next is not None:
        document["next_url"] = feed.next
    if feed.author is not None:
        document["authors"] = [_json_author(feed.author)]
    document["items"] = [
        {
            "id": entry.id,
            "url": entry.id,
            "content_text": entry.text,
            "date_published": timestamp(entry.at),
            **({} if feed.author is not None else {"authors": [_json_author(entry.author)]}),
        }
        for entry in feed.entries
    ]
    return f"{json.dumps(document, ensure_ascii=False)}\n".encode()


def _json_author(author: Author) -> dict[str, str]:
    return {"name": author.name, "url": author.url}


def dump_twtxt(nick: str, url: str, entries: Sequence[Entry]) -> bytes:
    """The twtxt file of a user: the oldest first, line breaks as U+2028.

    Sources: https://twtxt.readthedocs.io/en/stable/user/twtxtfile.html; for the first lines and the line breaks the
    extensions of https://dev.twtxt.net (metadata, multiline).
    """
    lines = [f"# nick = {nick}", f"# url = {url}"]
    lines += [f"{timestamp(entry.at)}\t{_one_line(entry.text)}" for entry in reversed(entries)]
    return "".join(f"{line}\n" for line in lines).encode()


def _one_line(text: str) -> str:
    return text.strip("\n").replace("\n", "\u2028")
