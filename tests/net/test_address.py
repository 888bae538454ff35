"""Addresses as people write them: what is one, what is not and why, and which of them only this machine can reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.net.address import Address, parse_address

WRITTEN = [
    ("127.0.0.1:7979", Address("127.0.0.1", 7979)),
    ("0.0.0.0:0", Address("0.0.0.0", 0)),
    ("[::1]:79", Address("::1", 79)),
    ("[::]:65535", Address("::", 65535)),
    ("[fe80::1%eth0]:79", Address("fe80::1%eth0", 79)),
    ("localhost:79", Address("localhost", 79)),
    ("finger.example.net:79", Address("finger.example.net", 79)),
    ("unix:/run/finger.sock", Address(path=Path("/run/finger.sock"))),
    ("unix:/run/with space:and colon", Address(path=Path("/run/with space:and colon"))),
]


@pytest.mark.parametrize(("text", "address"), WRITTEN)
def test_what_is_written_is_read_and_written_again(text: str, address: Address):
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1", 'expected "127.0.0.1:7979"'),
        ("7979", 'expected "127.0.0.1:7979"'),
        (":7979", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1:", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1:-1", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1:65536", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1:http", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1: 79", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1:\u0667\u0669", 'expected "127.0.0.1:7979"'),  # digits, but not ASCII
        ("127.0.0.1:\u00b2", 'expected "127.0.0.1:7979"'),
        ("127.0.0.1:" + "9" * 5000, 'expected "127.0.0.1:7979"'),
        ("::1:79", "in brackets"),
        ("[::1]", 'expected "127.0.0.1:7979"'),
        ("[127.0.0.1]:79", "is not an IPv6 address"),
        ("[]:79", "is not an IPv6 address"),
        ("[::g]:79", "is not an IPv6 address"),
        ("unix:finger.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        ("unix:/" + "\u00e9" * 54, "at most 107 bytes"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_what_is_no_address_is_refused_with_what_was_expected(text: str, expected: str):
    with pytest.raises(ValueError, match=expected):
        parse_address(text)


@given(st.text(st.sampled_from("[]:%/.unix0127a \x00\u00e9")))
def test_an_address_or_a_value_error_and_never_anything_else(text: str):
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.10:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.0.2.1:1", False),
        ("[2001:db8::1]:1", False),
        ("example.net:1", False),  # it may resolve to anything, at any time
        ("localhost.example.net:1", False),
        ("127.0.0.1.example.net:1", False),
    ],
)
def test_what_only_this_machine_can_reach(text: str, local: bool):
    assert parse_address(text).is_local is local
