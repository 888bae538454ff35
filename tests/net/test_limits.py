"""Caps: who counts as whom, and that what was counted is forgotten again."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.net.limits import ConnectionCaps, RateLimiter, limit_key


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


@pytest.mark.parametrize("caps", [ConnectionCaps(total=2, per_address=99), ConnectionCaps(total=99, per_address=2)])
def test_beyond_a_limit_is_room_for_a_burst_and_no_more(caps: ConnectionCaps):
    for _ in range(2):
        assert caps.admit("192.0.2.1") is None
    assert caps.admit("192.0.2.1") is not None
    for _ in range(64):
        assert caps.admit("192.0.2.1", beyond=True) is None
    assert caps.admit("192.0.2.1", beyond=True) is not None


def test_proxies_count_for_the_total_only_and_their_clients_by_their_requests():
    caps = ConnectionCaps(total=3, per_address=1)
    caps.is_proxy = "192.0.2.99".__eq__
    assert [caps.admit("192.0.2.99") for _ in range(3)] == [None] * 3
    assert [caps.admit_request("192.0.2.1") for _ in range(2)] == [None, "connections_per_address"]
    assert caps.admit_request("192.0.2.99") is None, "the proxy itself"
    assert caps.admit("192.0.2.2") == "connections"
    caps.release_request("192.0.2.1")
    caps.release_request("192.0.2.99")
    assert caps.admit_request("192.0.2.1") is None


def test_a_connection_is_released_as_it_was_admitted():
    caps = ConnectionCaps(total=9, per_address=1)
    caps.is_proxy = "192.0.2.99".__eq__
    caps.admit("192.0.2.99")
    caps.is_proxy = None
    assert caps.admit("192.0.2.99") is None
    assert caps.admit("192.0.2.99") == "connections_per_address"
    for _ in range(2):
        caps.release("192.0.2.99")
    assert (caps._open, caps._by_key, caps._by_proxy) == (0, {}, {})


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


class TestRate:
    def test_a_burst_and_then_so_many_a_second(self):
        limiter = RateLimiter(rate=2, burst=5)
        assert [limiter.allow("192.0.2.1", 100) for _ in range(6)] == [True] * 5 + [False]
        assert not limiter.allow("192.0.2.1", 100.4)
        assert limiter.allow("192.0.2.1", 100.5)
        assert not limiter.allow("192.0.2.1", 100.5)
        assert [limiter.allow("192.0.2.1", 1000) for _ in range(6)] == [True] * 5 + [False], "silence saves up a burst"

    def test_asking_in_vain_costs_nothing(self):
        """A client that keeps trying is served as soon as one that waits."""
        limiter = RateLimiter(rate=1, burst=1)
        assert limiter.allow("192.0.2.1", 0)
        assert not any(limiter.allow("192.0.2.1", tenth / 10) for tenth in range(1, 10))
        assert limiter.allow("192.0.2.1", 1.01)

    def test_addresses_are_limited_one_by_one_and_subscribers_of_ipv6_too(self):
        limiter = RateLimiter(rate=1, burst=1)
        assert limiter.allow("192.0.2.1", 0)
        assert limiter.allow("192.0.2.2", 0)
        assert limiter.allow("2001:db8::1", 0)
        assert not limiter.allow("2001:db8::2", 0)
        assert not limiter.allow("::ffff:192.0.2.1", 0)

    @pytest.mark.parametrize("peer", ["", "10.1.2.3", "::ffff:10.1.2.3", "::1"])
    def test_who_is_exempt_is_never_refused(self, peer: str):
        limiter = RateLimiter(rate=1, burst=1, exempt=[ip_network("10.0.0.0/8"), ip_network("::1/128")])
        assert all(limiter.allow(peer, 0) for _ in range(10_000))
        assert limiter.wait(peer, 0) == 0

    def test_it_says_how_long_to_wait(self):
        limiter = RateLimiter(rate=0.5, burst=1)
        assert limiter.wait("192.0.2.1", 0) == 0
        limiter.allow("192.0.2.1", 0)
        assert not limiter.allow("192.0.2.1", 0)
        assert limiter.wait("192.0.2.1", 0) == 2
        assert limiter.wait("192.0.2.1", 1.5) == 0.5
        assert limiter.wait("192.0.2.1", 9) == 0
        assert limiter.allow("192.0.2.1", 2)

    def test_a_flood_of_addresses_makes_it_neither_grow_nor_forget_whom_it_limits(self):
        limiter = RateLimiter(rate=1, burst=1, size=100)
        assert limiter.allow("192.0.2.1", 0)
        for number in range(10_000):
            now = number / 10_000
            limiter.allow(f"198.51.{number // 256}.{number % 256}", now)
            assert not limiter.allow("192.0.2.1", now)
            for kept in (limiter._young, limiter._old):
                assert max(len(kept.by_peer), len(kept.by_key)) <= 50

    def test_one_of_many_addresses_of_one_subscriber_is_limited_whichever_was_heard_last(self):
        limiter = RateLimiter(rate=1, burst=1, size=100)
        assert limiter.allow("2001:db8::ffff", 0)
        assert not any(limiter.allow(f"2001:db8::{number:x}", number / 10_000) for number in range(1000))

    def test_exempt_and_limited_neighbours_are_told_apart(self):
        """The exemption may be of one address in a /64."""
        limiter = RateLimiter(rate=1, burst=1, exempt=[ip_network("2001:db8::1/128")])
        for _ in range(2):
            assert limiter.allow("2001:db8::1", 0)
        assert limiter.allow("2001:db8::2", 0)
        assert not limiter.allow("2001:db8::2", 0)
        assert limiter.allow("2001:db8::1", 0)

    @given(st.lists(st.floats(0, 2), max_size=50), st.floats(0.1, 10), st.integers(1, 10))
    def test_never_more_than_the_burst_and_the_rate(self, pauses: list[float], rate: float, burst: int):
        limiter = RateLimiter(rate=rate, burst=burst)
        now, allowed = 0.0, 0
        for pause in pauses:
            now += pause
            allowed += limiter.allow("192.0.2.1", now)
            assert allowed <= burst + now * rate + 1e-6
