from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.accounts.tokens import TokensError, digest_of, dump, load, looks_like_token, make_token

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_a_token_can_be_found_by_scanners_and_has_256_random_bits():
    secret, token = make_token("ada", now=NOW, label="phone")
    other, _ = make_token("ada", now=NOW)
    assert re.fullmatch(r"ft_[a-z2-7]{52}", secret)
    assert looks_like_token(secret)
    assert secret != other
    assert (token.user, token.label, token.scope, token.created) == ("ada", "phone", "set", NOW)
    assert re.fullmatch(r"[a-z2-7]{8}", token.id)


def test_the_document_does_not_have_the_secret():
    secret, token = make_token("ada", now=NOW)
    document = dump([token]).decode()
    assert secret not in document
    assert secret.removeprefix("ft_") not in document
    assert digest_of(secret) in document
    assert secret not in repr(token)


def test_it_expires_at_its_time():
    _, token = make_token("ada", now=NOW, expires=NOW + timedelta(hours=1))
    assert not token.has_expired(NOW + timedelta(minutes=59))
    assert token.has_expired(NOW + timedelta(hours=1))
    assert not make_token("ada", now=NOW)[1].has_expired(NOW + timedelta(days=10_000))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user": ""}, "user name"),
        ({"user": "-x"}, "user name"),
        ({"label": "x" * 101}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"expires": NOW}, "expired already"),
    ],
)
def test_what_cannot_be_a_token(changes: Any, reason: str):
    with pytest.raises(ValueError, match=reason):
        make_token(**{"user": "ada", "now": NOW, **changes})


@pytest.mark.parametrize(
    "text", ["", "ft_", "ft_" + "a" * 51, "ft_" + "a" * 53, "ft_" + "A" * 52, "ft_" + "1" * 52, "x" * 55]
)
def test_what_does_not_look_like_a_token(text: str):
    assert not looks_like_token(text)


@given(
    st.text(st.characters(categories=["L", "N"]), max_size=50),
    st.sampled_from(["set", "admin"]),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=3000)),
    st.booleans(),
)
def test_the_document_comes_back(label: str, scope, ahead: timedelta | None, used: bool):
    expires = None if ahead is None else NOW + ahead
    token = make_token("ada", now=NOW, label=label, scope=scope, expires=expires)[1]
    if used:
        token = replace(token, last_used=NOW)
    assert load(dump([token, token])) == [token, token]


def test_no_document_is_no_tokens():
    assert load(None) == []


DOCUMENT = json.loads(dump([make_token("ada", now=NOW)[1]]))


def damaged(**changes: object) -> bytes:
    return json.dumps({"version": 1, "tokens": [DOCUMENT["tokens"][0] | changes]}).encode()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"null",
        b'{"version": 1}',
        b'{"version": 1, "tokens": 5}',
        b'{"version": 1, "tokens": [5]}',
        b"[" * 100_000,
        damaged(user=5),
        damaged(scope="everything"),
        damaged(sha256="xyz"),
        damaged(created="yesterday"),
        damaged(created="2026-11-29T12:00:00"),
        damaged(expires=5),
    ],
    ids=range(15),
)
def test_a_damaged_document_is_an_error_that_says_what_to_do(document: bytes):
    with pytest.raises(TokensError, match="restore the file from a backup"):
        load(document)


def test_a_document_of_a_later_version_is_not_guessed_at():
    with pytest.raises(TokensError, match="version 2; this fingertrio reads version 1"):
        load(b'{"version": 2, "tokens": []}')
