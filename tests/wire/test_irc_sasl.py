"""SASL mechanisms, with the vectors of RFC 7677."""

from __future__ import annotations

import base64

import pytest

from fingertrio.wire.irc_sasl import Challenges, Plain, SASLError, ScramSHA256, saslprep, split_response
from fingertrio.wire.irc_secrets import Secret

# RFC 7677 section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def scram() -> ScramSHA256:
    return ScramSHA256("user", Secret("pencil"), NONCE)


def test_scram_gives_the_messages_of_the_rfc():
    mechanism = scram()
    assert mechanism.respond(b"") == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert mechanism.respond(FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    satisfied = [mechanism.is_satisfied]
    assert mechanism.respond(FINAL) == b""
    satisfied.append(mechanism.is_satisfied)
    assert satisfied == [False, True]
    with pytest.raises(SASLError):
        mechanism.respond(b"")


@pytest.mark.parametrize(
    "final",
    [b"v=AAAA", b"e=invalid-proof", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl96G4=", b"", b"v=?", b"\xff"],
)
def test_a_server_that_does_not_know_the_password_is_rejected(final: bytes):
    mechanism = scram()
    mechanism.respond(b"")
    mechanism.respond(FIRST)
    with pytest.raises(SASLError):
        mechanism.respond(final)
    assert not mechanism.is_satisfied


@pytest.mark.parametrize(
    "first",
    [
        FIRST.replace(b"rOprNGfwEbeRWgbNEkqO%", b"XOprNGfwEbeRWgbNEkqO%"),  # the nonce of somebody else
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",  # nothing added to it
        FIRST.replace(b"i=4096", b"i=4095"),
        FIRST.replace(b"i=4096", b"i=500001"),
        FIRST.replace(b"i=4096", b"i=-1"),
        FIRST.replace(b"i=4096", b""),
        FIRST.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s="),
        b"m=extension," + FIRST,
        b"",
    ],
)
def test_a_first_message_that_is_not_safe_is_rejected(first: bytes):
    mechanism = scram()
    mechanism.respond(b"")
    with pytest.raises(SASLError):
        mechanism.respond(first)


def test_names_are_escaped_and_normalized():
    assert ScramSHA256("a=b,c", Secret("x"), "n").respond(b"") == b"n,,n=a=3Db=2Cc,r=n"
    # RFC 4013 section 3.
    assert saslprep("I\u00adX") == "IX"
    assert saslprep("\u00aa") == "a"
    assert saslprep("\u2168") == "IX"
    for prohibited in ("\u0007", "\u0627\u0031"):
        with pytest.raises(SASLError):
            saslprep(prohibited)


def test_plain_has_the_account_twice():
    assert Plain("acc", Secret("p\u00e4ss")).respond(b"") == b"acc\0acc\0p\xc3\xa4ss"


@pytest.mark.parametrize("size", [0, 1, 299, 300, 301, 599, 600, 601])
def test_pieces_join_to_the_response(size: int):
    response = bytes(range(256)) * 3
    pieces = split_response(response[:size])
    assert all(len(piece) <= 400 for piece in pieces)
    assert pieces[-1] == "+" or len(pieces[-1]) < 400
    challenges = Challenges()
    results = [challenges.feed(piece) for piece in pieces]
    assert results == [None] * (len(pieces) - 1) + [response[:size]]


def test_challenges_have_a_limit_and_must_be_base64():
    challenges = Challenges()
    with pytest.raises(SASLError):
        for _ in range(30):
            challenges.feed("A" * 400)
    with pytest.raises(SASLError):
        Challenges().feed("not base64!")
    assert Challenges().feed(base64.b64encode(b"x").decode()) == b"x"
