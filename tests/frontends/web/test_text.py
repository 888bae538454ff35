"""What users write, as HTML: which addresses become links, and which lines stay aligned."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.frontends.web.text import is_link, linked, written


def links(text: str) -> list[str]:
    return [
        unescape(found) for found in re.findall(r'<a href="([^"]*)" rel="nofollow ugc noopener">\1</a>', linked(text))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://example.org/a?b=1&c=2.", ["https://example.org/a?b=1&c=2"]),
        ("(https://example.org/a_(b)), https://x.example/;", ["https://example.org/a_(b)", "https://x.example/"]),
        ("HTTPS://Example.org!!!", ["HTTPS://Example.org"]),
        ("*https://example.org/* blog:https://b.example", ["https://example.org/", "https://b.example"]),
        ("finger://tilde.example/ken gemini://g.example gopher://g.example:70/1x", 3),
        ("write to mailto:ada@example.org.", ["mailto:ada@example.org"]),
        ("日本語https://example.org/です。次", ["https://example.org/です"]),
        ("http://[::1]:8000/", ["http://[::1]:8000/"]),
        ("http://a.example/\u200bhttp://b.example", ["http://a.example/", "http://b.example"]),
        ("xhttp://a.example über.http://a.example éhttp://a.example a@http://a.example", []),
        ("javascript:alert(1) data:text/html,x file:///etc/passwd vbscript:x ftp://a.example", []),
        ("https:// https://... http://?x http:/a.example mailto:ada mailto:@", []),
        ("example.org ada@example.org www.example.org", []),
        ('"http://a.example"', ["http://a.example"]),
    ],
)
def test_addresses_become_links_as_they_are_written(text: str, expected: list[str] | int) -> None:
    found = links(text)
    assert (len(found) if isinstance(expected, int) else found) == expected


@given(st.text(alphabet=st.sampled_from("ahtps:/.?&<>\"'()[] 本\n\u200b@"), max_size=60))
def test_whatever_is_written_is_shown_and_nothing_else(text: str) -> None:
    html = linked(text)
    assert unescape(re.sub(r"<[^>]*>", "", html)) == text
    assert set(re.findall(r"<[a-z/]+", html)) <= {"<a", "</a"}


@pytest.mark.parametrize(
    "text", ["https://x.example/" + ")" * 16_000, "http://" * 2_300, "mailto:a" * 2_000, "a." * 8_000]
)
def test_the_longest_status_takes_linear_time(text: str) -> None:
    began = time.process_time()
    linked(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example", True),
        ("finger://a.example/x", True),
        ("https://a.example b", False),
        ("javascript:x", False),
    ],
)
def test_a_detail_that_is_an_address(text: str, expected: bool) -> None:
    assert is_link(text) is expected


ART = "  /\\_/\\\n ( o.o )\n  > ^ <"


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Happy and well", None),
        ("One.  Two spaces after a full stop.", None),
        ("In prose.\nOn two lines.  With two spaces.", None),
        ("a\tb", None),
        ("name\tage\nada\t36", [True]),
        ("Plan:\n  indented", [False]),
        (ART, [True]),
        (f"Hello\n\n{ART}\n\nBye, and a long line of prose", [False, True, False]),
        (f"{ART}\n\n{ART}", [True]),
        (f"{ART}\nA line of prose right below it that is longer than a phone is wide.\n\nBye", [True, False]),
        (f"A line of prose right above it that is longer than a phone is wide.\n{ART}\n\n", [False, True]),
        ("┌──┐\n└──┘", [True]),
        ("Title\n=====", [True]),
        ("see\nhttps://a.example/~b/?c=1&d=2#e", None),
        ("👍\n🎉🎉🎉", None),
    ],
)
def test_what_is_laid_out_keeps_its_columns(text: str, drawn: list[bool] | None) -> None:
    shown = written(text)
    assert [block.drawn for block in shown.plan] == (drawn or [])
    assert bool(shown.words) == (drawn is None)


def test_no_line_of_a_plan_is_lost_between_its_blocks() -> None:
    text = f"One\n\n\n{ART}\n\nTwo\n \nThree"
    shown = "\n".join(unescape(block.html.removeprefix("\n").removesuffix("\n")) for block in written(text).plan)
    assert shown == text.replace("\n\n\n", "\n\n\n", 1)


def test_only_what_is_wider_than_a_phone_needs_a_scroll_bar() -> None:
    assert [block.wide for block in written("a  b\n" + "c" * 30).plan] == [False]
    assert [block.wide for block in written("a  b\n" + "\t" * 5 + "c").plan] == [True]
    assert [block.wide for block in written("  prose\n" + "word " * 30).plan] == [False], "it wraps"


def test_a_few_words_may_be_large() -> None:
    assert written("Happy and well").is_short
    assert not written("word " * 60).is_short
    assert not written("two\nlines").is_short
