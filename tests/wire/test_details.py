from __future__ import annotations

import pytest

from fingertrio.wire.details import (
    DETAIL_LIMIT,
    DETAILS,
    DetailsError,
    WebFingerLink,
    check_details,
    check_link,
    clean_details,
    is_link,
    webfinger_links,
)

LINKS = [
    "https://example.org/~ada?a=1#b",
    "HTTP://example.org",
    "mailto:ada@example.org?subject=hi",
    "gemini://example.org/",
    "gopher://example.org/0/ada",
    "finger://example.org/ada",
]
NO_LINKS = [
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "https:example.org",
    "https://",
    "mailto:ada",
    "https://example.org/ and more",
    'https://example.org/"onclick=',
    "ada@example.org",
    "",
]


@pytest.mark.parametrize("text", LINKS)
def test_links(text: str):
    assert is_link(text)
    assert check_link(text) == text
    assert check_details(None, {"Home": text}) == (None, {"Home": text})


@pytest.mark.parametrize("text", NO_LINKS)
def test_what_is_no_link(text: str):
    assert not is_link(text)
    with pytest.raises(ValueError, match="https://"):
        check_link(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Home", "javascript:alert(1)"),
        ("Home", "file:///etc/passwd"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("emoji", "\U0001f600\U0001f600"),
        ("emoji", "x"),
        ("fediverse", "social.example"),
        ("webfinger", "me"),
        ("webfinger", "me javascript:alert(1)"),
        ("webfinger", "me https://example.org html"),
        ("webfinger", "\n".join(["me https://example.org"] * 21)),
        ("", "x"),
        ("x" * 41, "x"),
        ("project", "\u7720" * (DETAIL_LIMIT // 3 + 1)),
    ],
)
def test_a_detail_that_is_not_valid_is_named(name: str, text: str):
    with pytest.raises(DetailsError) as caught:
        check_details(None, {name: text, "project": "kept"} if name != "project" else {name: text})
    assert list(caught.value.errors) == [name[:40]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timezone", "Europe/Berlin"),
        ("emoji", "\u2615"),
        ("fediverse", "@ada@social.example"),
        ("pubkey", "openpgp4fpr:0123456789ABCDEF"),
        ("project", "note: this is text"),
        ("webfinger", "me https://example.org text/html"),
    ],
)
def test_a_detail_that_is_valid_is_kept(name: str, text: str):
    assert check_details("Ada", {name: text}) == ("Ada", {name: text})


def test_details_are_clean_in_order_and_without_empty_ones():
    given = {"project": "one\r\ntwo\n", "pubkey": " ", "Home\npage": "https://example.org", "pronouns": "they\x1b"}
    right = {"project": "one\ntwo", "Home page": "https://example.org", "pronouns": "they"}
    name, details = check_details("  Moshe\nZadka\x1b ", given)
    assert (name, list(details.items())) == ("Moshe Zadka", list(right.items()))
    assert clean_details(given) == right
    assert check_details(" ", {}) == (None, {})


def test_there_is_a_limit_for_all_of_them():
    with pytest.raises(DetailsError, match="more than 50"):
        check_details(None, {f"link {number}": "x" for number in range(DETAILS + 1)})


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(DetailsError) as caught:
        check_details("x" * 201, {"timezone": "Mars", "emoji": "x"})
    assert list(caught.value.errors) == ["name", "timezone", "emoji"]


def test_files_from_elsewhere_may_have_details_of_any_meaning():
    assert clean_details({"timezone": "Mars", "chat": "xmpp:ada@example.org"}) == {
        "timezone": "Mars",
        "chat": "xmpp:ada@example.org",
    }


def test_webfinger_links():
    details = {"webfinger": "me https://example.org/ada\n\nself https://example.org/u/ada  application/activity+json"}
    assert webfinger_links(details) == [
        WebFingerLink("me", "https://example.org/ada", None),
        WebFingerLink("self", "https://example.org/u/ada", "application/activity+json"),
    ]
    assert webfinger_links({}) == []
