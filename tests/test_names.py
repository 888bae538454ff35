"""Valid user names: people's names are accepted, known attacks are rejected."""

from __future__ import annotations

import json
import socket
import unicodedata
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.clients.xmlrpc import open_xmlrpc_client
from fingertrio.names import USER_NAME_LIMIT, canonical_name, check_user_name, is_user_name
from fingertrio.testing.program import running

PEOPLE = [
    *("moshez", "Moshe", "m", "0", "_", "_apt", "first.last", "user+tag", "dollar$", "dash-", "x" * USER_NAME_LIMIT),
    *("s\u00f8ren", "\u0391\u03b8\u03ae\u03bd\u03b1", "\u041c\u043e\u0448\u0435", "\u05de\u05e9\u05d4"),
    "\u0645\u064f\u062d\u064e\u0645\u064e\u0651\u062f",  # with vowel marks
    "\u0928\u092e\u0938\u094d\u0924\u0947",  # marks that carry vowels
    "\uae40\ucca0\uc218",
    "\u304b\u306a\u6f22\u5b57\u30ab\u30ca",  # three scripts, one language
    "\u30b3\u30fc\u30d2\u30fc",  # the sign for a long vowel
    "\u4f50\u3005\u6728",  # Sasaki, with the sign for repetition
    "\u3105\u3106\u4e2d",
    "\U00020000" * USER_NAME_LIMIT,
]

ATTACKS = [
    "",
    *("-l", "--", "-", "--help"),  # options
    *("../x", "/etc/passwd", "a/b", "..", "."),  # paths
    *("|id", "a;b", "`id`", "$(id)", "$HOME", "a&b", "a>b", "*", "?", "~root"),  # shells
    *("a@b", "@b", "a@b@c"),  # hosts
    *("a b", " a", "a ", "\ta", "a\n", "a\r", "a\r\nQUIT", "\n"),  # lines and words
    *("a\x00", "a\x1b[2J", "a\x7f", "a\x9b", "a\u202eb", "a\u200bb", "a\u2028", "\ud800", "a\udcff"),  # terminals
    *("a:b", "a%s", "a%00", "a,b", "a=b", 'a"b', "a'b", "a\\b", "<b>", "a#b", "a!b", "[a]", "{a}"),
    *("+a", ".a", "$a"),  # allowed, but not first
    *("\u0301a", "\ufe0fa"),  # a combining mark cannot come first
    *("\u2603", "\U0001f600", "a\u20ac", "a\u00a0b"),
    *("x" * (USER_NAME_LIMIT + 1), "\u00e9" * (USER_NAME_LIMIT + 1), "x" * 100_000),
]


@pytest.mark.parametrize("name", PEOPLE, ids=lambda name: ascii(name)[:40])
def test_people_may_be_called_what_they_are_called(name: str):
    assert is_user_name(name)
    assert check_user_name(name) == name


@pytest.mark.parametrize(
    "name", [*PEOPLE, "zo\u00eb", "\u1e68", "\u01d6", "\uac01", "\u00eb" * USER_NAME_LIMIT], ids=ascii
)
def test_every_normal_form_of_a_name_is_the_same_name(name: str):
    assert canonical_name(name) == canonical_name(unicodedata.normalize("NFD", name)) == name
    assert check_user_name(unicodedata.normalize("NFD", name)) == name


def test_a_long_text_is_not_normalised():
    """Sorting 100,000 combining marks would take minutes."""
    text = "a" + "\u0327\u0301" * 50_000
    assert canonical_name(text) is text


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: ascii(text)[:40])
def test_nothing_that_was_ever_an_attack_is_a_name(text: str):
    assert not is_user_name(text)
    with pytest.raises(ValueError, match="user name"):
        check_user_name(text)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("p\u0430ypal", "mixes letters of different scripts"),  # a Cyrillic a
        ("m\u03bfshez", "mixes letters of different scripts"),  # a Greek omicron
        ("\u6f22\uae40\u304b", "mixes letters of different scripts"),  # no language is written in these three
        ("\uff4doshez", "not in its NFKC form"),  # a full-width m
        ("\u2170", "not in its NFKC form"),  # a Roman numeral that looks like an i
        ("moshez\ufe0f", "invisible characters"),  # a variation selector
        ("mos\u034fhez", "invisible characters"),
        ("\uae40\u1160", "invisible characters"),  # a filler, which is a letter
        ("moshez\U000e0100", "invisible characters"),
    ],
)
def test_what_looks_like_somebody_else_can_be_asked_for_and_not_be_set(name: str, reason: str):
    assert is_user_name(name)
    with pytest.raises(ValueError, match=reason):
        check_user_name(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("x" * 65, "longer than 64 characters"),
        ("-l", "is made of letters, digits and _"),
    ],
)
def test_a_refusal_says_what_to_change(text: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        check_user_name(text)


async def test_a_name_in_nfd_finds_the_user_at_every_door():
    """The IRC door asks the same service, and the live feed has a test of its own."""
    doors = {
        "finger": {"listen": ["127.0.0.1:0"]},
        "setter": {"listen": ["127.0.0.1:0"]},
        "http": {"listen": ["127.0.0.1:0"]},
    }

    def exchange(address: tuple[str, int], request: str) -> str:
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read().decode()

    def fetch(url: str) -> str:
        with urlopen(url, timeout=10) as response:
            content: bytes = response.read()
            return content.decode()

    with running({"backend": {"use": "memory", "users": {"zo\u00eb": "Here"}}, **doors}) as program:
        assert exchange(program.address("finger"), "zoe\u0308\r\n") == "Here\r\n"
        assert exchange(program.address("setter"), "zoe\u0308\r\nAway\r\n") == "OK\r\n"
        assert exchange(program.address("finger"), "/W zoe\u0308\r\n").startswith("Login: zo\u00eb")
        http = program.addresses["http"]
        assert json.loads(fetch(f"{http}/api/users/zoe%CC%88"))["user"] == "zo\u00eb"
        assert "Away" in fetch(f"{http}/zoe%CC%88")
        async with open_xmlrpc_client(f"{http}/RPC2") as client:
            assert await client.call("getUser", "zoe\u0308") == "Away"


@given(st.text(st.characters(), max_size=70))
def test_whatever_the_text_the_rule_answers_and_lets_only_its_alphabet_through(text: str):
    if is_user_name(text):
        assert 0 < len(text) <= USER_NAME_LIMIT
        assert text[0] not in ".+$-"
        assert all(char in "_.+$-" or unicodedata.category(char)[0] in "LMN" for char in text)
        assert text.encode()


@given(st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=8))
def test_what_may_be_set_may_be_asked_for_and_is_in_nfkc_form(text: str):
    try:
        name = check_user_name(text)
    except ValueError:
        return
    assert name == canonical_name(text) == unicodedata.normalize("NFKC", text)
    assert is_user_name(name)
