"""Caps: who counts as whom, and that what was counted is forgotten again."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.net.limits import ConnectionCaps, limit_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),  # one subscriber's /64
        ("fe80::1%eth0", "fe80::2%eth0"),
        ("192.0.2.1", "::ffff:192.0.2.1"),  # IPv4 as a socket for both families shows it
    ],
)
def test_who_counts_as_one(one: str, other: str):
    assert limit_key(one) == limit_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),  # a /64 of these is the whole internet of IPv4
        ("::ffff:192.0.2.1", "::1"),
        ("", "192.0.2.1"),
    ],
)
def test_who_counts_as_two(one: str, other: str):
    assert limit_key(one) != limit_key(other)


def test_an_address_may_have_so_many_and_others_are_not_touched():
    caps = ConnectionCaps(total=10, per_address=2)
    assert [caps.admit("192.0.2.1") for _ in range(3)] == [None, None, "connections_per_address"]
    assert caps.admit("192.0.2.2") is None
    caps.release("192.0.2.1")
    assert caps.admit("192.0.2.1") is None


def test_all_together_may_have_so_many():
    caps = ConnectionCaps(total=2, per_address=2)
    assert [caps.admit(f"192.0.2.{number}") for number in range(3)] == [None, None, "connections"]
    caps.release("192.0.2.0")
    assert caps.admit("192.0.2.2") is None


def test_unix_sockets_count_for_the_total_only():
    caps = ConnectionCaps(total=3, per_address=1)
    assert [caps.admit("") for _ in range(4)] == [None, None, None, "connections"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["a", "b", "", "::1", "::2"])), max_size=60))
def test_nothing_is_remembered_of_who_left(steps: list[tuple[bool, str]]):
    """Never more open than the caps say; and once all have left, no trace of an address that a flood would add up."""
    caps = ConnectionCaps(total=4, per_address=2)
    present: list[str] = []
    for arrives, peer in steps:
        if arrives and caps.admit(peer) is None:
            present.append(peer)
        elif not arrives and peer in present:
            present.remove(peer)
            caps.release(peer)
        assert len(present) <= 4
        by_key = Counter(limit_key(peer) for peer in present if peer)
        assert all(count <= 2 for count in by_key.values())
    for peer in present:
        caps.release(peer)
    assert not caps._by_key
    assert [caps.admit(f"192.0.2.{number}") for number in range(5)] == [None] * 4 + ["connections"]
