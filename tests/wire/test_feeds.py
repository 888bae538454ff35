"""Feeds, read by feedparser and by a JSON parser."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import feedparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.feeds import Author, Entry, Feed, dump_atom, dump_json_feed, dump_twtxt, title_of
from tests.wire.valid import check_atom, check_json_feed

ADA = Author("Ada <Lovelace>", "https://a.example/ada")
AT = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
NS = {"atom": "http://www.w3.org/2005/Atom"}


def feed_of(*texts: str, author: Author | None = ADA, following: str | None = None) -> Feed:
    entries = [
        Entry(f"https://a.example/ada/at/{n}", text, AT.replace(minute=59 - n), ADA) for n, text in enumerate(texts)
    ]
    return Feed(
        title="Ada & friends",
        home="https://a.example/ada",
        url="https://a.example/ada/feed.atom",
        icon="https://a.example/-/icon.png",
        entries=entries,
        next=following,
        author=author,
    )


def read(feed: Feed) -> Any:
    found = feedparser.parse(dump_atom(feed))
    assert not found.bozo, found.get("bozo_exception")
    return found


def test_a_reader_of_atom_gets_everything():
    found = read(feed_of("coffee & <b>cake</b>", "older", following="https://a.example/ada/feed.atom?before=1&x"))
    assert (found.version, found.feed.title, found.feed.id) == (
        "atom10",
        "Ada & friends",
        "https://a.example/ada/feed.atom",
    )
    assert {link["rel"]: link["href"] for link in found.feed.links} == {
        "self": "https://a.example/ada/feed.atom",
        "alternate": "https://a.example/ada",
        "next": "https://a.example/ada/feed.atom?before=1&x",
    }
    first = found.entries[0]
    assert (first.id, first.link) == ("https://a.example/ada/at/0", "https://a.example/ada/at/0")
    assert first.content[0].value == "coffee & <b>cake</b>"
    assert first.updated == "2026-11-29T12:59:00.123456Z"
    assert found.feed.author == "Ada <Lovelace>"


def test_several_lines_keep_their_columns():
    plan = "Plan:\n\n  /\\_/\\   <-- a cat\n ( o.o )"
    [entry] = read(feed_of(plan)).entries
    assert entry.content[0].type == "text/html"
    assert ET.fromstring(entry.content[0].value).text == plan
    assert entry.title == "Plan:"


@pytest.mark.parametrize("author", [ADA, None])
@pytest.mark.parametrize("texts", [(), ("one",), ("one", "two\nlines")])
@pytest.mark.parametrize("following", [None, "https://a.example/ada/feed.atom?before=1&x"])
def test_each_feed_is_valid(texts: tuple[str, ...], author: Author | None, following: str | None):
    feed = feed_of(*texts, author=author, following=following)
    check_atom(dump_atom(feed))
    check_json_feed(dump_json_feed(feed))


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("<id>https://a.example/ada/at/0</id>", ""),
        ("<id>https://a.example/ada/at/0</id>", "<id>https://a.example/ada/at/1</id><id>x</id>"),
        ("<title>one</title>", ""),
        ("2026-11-29T12:59:00.123456Z</updated>", "2026-11-29 12:59</updated>"),
        ('rel="self"', 'rel="alternate" hreflang="no language"'),
        ('type="text"', 'type="word"'),
        ('<link rel="self" type="application/atom+xml" href=', '<link rel="self" type="atom" href='),
        ("<author>", "<author><surname>L</surname>"),
        ("<icon>", "<icon/><icon>"),
        ("<published>", "<until/><published>"),
    ],
)
def test_the_check_of_atom_finds_what_is_wrong(part: str, wrong: str):
    document = dump_atom(feed_of("one", "two")).decode()
    assert part in document
    with pytest.raises(AssertionError):
        check_atom(document.replace(part, wrong, 1).encode())


@pytest.mark.parametrize("author", [ADA, None])
@pytest.mark.parametrize("texts", [(), ("one",), ("one", "two\nlines")])
def test_what_rfc_4287_requires_is_there(texts: tuple[str, ...], author: Author | None):
    root = ET.fromstring(dump_atom(feed_of(*texts, author=author)))
    for element in (root, *root.findall("atom:entry", NS)):
        for name in ("id", "title", "updated"):  # sections 4.1.1, 4.1.2: exactly one
            assert len(element.findall(f"atom:{name}", NS)) == 1
    entries = root.findall("atom:entry", NS)
    assert len({entry.findtext("atom:id", None, NS) for entry in entries}) == len(entries) == len(texts)
    # Section 4.1.1: the feed has an author, or there are entries and each has one.
    assert root.findall("atom:author", NS) or (entries and all(entry.findall("atom:author", NS) for entry in entries))
    assert len(root.findall("atom:link[@rel='self']", NS)) == 1
    latest = max((entry.findtext("atom:updated", "", NS) for entry in entries), default="1970-01-01T00:00:00Z")
    assert root.findtext("atom:updated", None, NS) == latest


def test_json_feed_has_what_version_1_1_requires_and_no_titles():
    document = json.loads(dump_json_feed(feed_of("coffee\ncake", following="https://a.example/next")))
    assert document["version"] == "https://jsonfeed.org/version/1.1"
    assert document["next_url"] == "https://a.example/next"
    assert document["authors"] == [{"name": "Ada <Lovelace>", "url": "https://a.example/ada"}]
    assert document["items"] == [
        {
            "id": "https://a.example/ada/at/0",
            "url": "https://a.example/ada/at/0",
            "content_text": "coffee\ncake",
            "date_published": "2026-11-29T12:59:00.123456Z",
        }
    ]
    shared = json.loads(dump_json_feed(feed_of("coffee", author=None)))
    assert shared["items"][0]["authors"] == document["authors"]
    assert "authors" not in shared


@pytest.mark.parametrize(
    ("text", "title"),
    [("\n\n one\ntwo", "one"), ("a" * 80, "a" * 80), ("a" * 81, "a" * 79 + "…"), ("a" * 78 + " bcd", "a" * 78 + "…")],
)
def test_a_title_is_the_first_line_cut_at_80(text: str, title: str):
    assert title_of(text) == title


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_whatever_the_text_each_feed_is_valid(text: str):
    feed = feed_of(text)
    read(feed)
    check_atom(dump_atom(feed))
    check_json_feed(dump_json_feed(feed))
    assert json.loads(dump_json_feed(feed))["items"][0]["content_text"] == text


def test_twtxt_is_the_oldest_first_and_one_line_each():
    feed = feed_of("new\nlines", "old")
    assert dump_twtxt("ada", "https://a.example/ada/twtxt.txt", feed.entries).decode() == (
        "# nick = ada\n# url = https://a.example/ada/twtxt.txt\n"
        "2026-11-29T12:58:00.123456Z\told\n"
        "2026-11-29T12:59:00.123456Z\tnew\u2028lines\n"
    )
