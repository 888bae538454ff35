"""Questions and descriptors of WebFinger (RFC 7033)."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.webfinger import (
    RELATIONS,
    Account,
    Descriptor,
    Link,
    Question,
    WebFingerError,
    dump_descriptor,
    parse_account,
    parse_descriptor,
    parse_page,
    parse_question,
    to_query,
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"resource=acct:ada@example.org", Question("acct:ada@example.org")),
        (b"resource=acct%3Aada%40example.org", Question("acct:ada@example.org")),
        (b"rel=a&resource=acct:ada@example.org&rel=b", Question("acct:ada@example.org", ("a", "b"))),
        (b"resource=acct:ada@example.org&rel=a&rel=a", Question("acct:ada@example.org", ("a",))),
        (b"x=1&resource=https://example.org/a%3Fb%3Dc&", Question("https://example.org/a?b=c")),
        (b"resource=acct:ada+tag@example.org", Question("acct:ada+tag@example.org")),
        (b"resource=acct:zo%C3%AB@example.org", Question("acct:zo\u00eb@example.org")),
    ],
)
def test_a_question_is_read(query: bytes, expected: Question):
    assert parse_question(query) == expected


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"", "missing"),
        (b"rel=a", "missing"),
        (b"Resource=acct:ada@example.org", "missing"),
        (b"resource=acct:a@b.example&resource=acct:c@b.example", "only once"),
        (b"resource=", "not a URI"),
        (b"resource=ada@example.org", "not a URI"),
        (b"resource=acct:ada@example.org%0D%0AX", "not a URI"),
        (b"resource=acct:%zz@example.org", "percent-encoded"),
        (b"resource=acct:%ff@example.org", "percent-encoded"),
        (b"resource=acct:ada@example.org" + b"&rel=a" * (RELATIONS + 1), "More than"),
    ],
)
def test_what_is_no_question_is_refused_with_a_reason(query: bytes, reason: str):
    with pytest.raises(WebFingerError, match=reason):
        parse_question(query)


@given(st.binary(max_size=60))
def test_any_query_is_a_question_or_refused(query: bytes):
    for attempt in (query, b"resource=acct:" + query):
        with suppress(WebFingerError):
            assert parse_question(attempt).resource


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=20),
    st.lists(st.text(max_size=9), max_size=RELATIONS),
)
def test_a_question_comes_back(user: str, rels: list[str]):
    question = Question(str(Account(user, "example.org")), tuple(dict.fromkeys(rels)))
    assert parse_question(to_query(question).encode()) == question
    assert parse_account(question.resource) == Account(user, "example.org")


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("acct:ada@Example.ORG", Account("ada", "example.org")),
        ("ACCT:Ada@example.org", Account("Ada", "example.org")),
        ("acct:zo%C3%AB@example.org", Account("zo\u00eb", "example.org")),
        (
            "acct:juliet%40capulet.example@shoppingsite.example",
            Account("juliet@capulet.example", "shoppingsite.example"),
        ),
        ("acct:ada", None),
        ("acct:@example.org", None),
        ("acct:a%zz@example.org", None),
        ("acct:a%ff@example.org", None),
        ("acct:a@b@example.org", None),
        ("mailto:ada@example.org", None),
    ],
)
def test_an_account_has_a_user_and_a_host(resource: str, expected: Account | None):
    assert parse_account(resource) == expected


@pytest.mark.parametrize(
    ("resource", "user"),
    [
        ("https://example.org/people/ada", "ada"),
        ("https://EXAMPLE.org/people/zo%C3%AB", "zo\u00eb"),
        ("http://example.org/people/ada", None),
        ("https://example.org/people/", None),
        ("https://example.org/people", None),
        ("https://example.org/ada", None),
        ("https://example.org/people/ada/history", None),
        ("https://example.org/people/ada?x=1", None),
        ("https://example.org.evil.example/people/ada", None),
        ("https://example.org/people/%ff", None),
        ("acct:ada@example.org", None),
        ("https://[", None),
        ("https://[v1]/people/ada", None),
        ("https://\uff0f/people/ada", None),
    ],
)
def test_a_page_of_the_site_is_of_a_user(resource: str, user: str | None):
    assert parse_page(resource, "https://example.org/people") == user


WHOLE = Descriptor(
    "acct:ada@example.org",
    ("https://example.org/ada",),
    {"http://example.org/role": "mathematician", "http://example.org/none": None},
    (Link("self", "https://example.org/ada", "text/html", {"en": "Ada"}), Link("b")),
)


def test_a_descriptor_comes_back():
    assert parse_descriptor(dump_descriptor(WHOLE)) == WHOLE


def test_relations_filter_links_only():
    found = parse_descriptor(dump_descriptor(WHOLE, ["b", "c"]))
    assert found.links == (Link("b"),)
    assert (found.subject, found.aliases, found.properties) == (WHOLE.subject, WHOLE.aliases, WHOLE.properties)


def test_what_is_not_known_is_ignored():
    body = json.dumps({"subject": "acct:a@b.example", "expires": 1, "links": [{"rel": "self", "x": [1]}]}).encode()
    assert parse_descriptor(body) == Descriptor("acct:a@b.example", links=(Link("self"),))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"subject": 1}',
        b'{"links": {}}',
        b'{"links": ["a"]}',
        b'{"links": [{"href": "https://a.example"}]}',
        b'{"links": [{"rel": "a", "href": 1}]}',
        b'{"aliases": [1]}',
        b'{"properties": [1]}',
        b'{"links": [' + b",".join([b'{"rel": "a"}'] * 101) + b"]}",
        b'{"subject": "' + b"a" * 2001 + b'"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_descriptor_is_refused(body: bytes):
    with pytest.raises(WebFingerError):
        parse_descriptor(body)
