"""What is kept of a server's demand for TLS."""

from __future__ import annotations

import pytest

from fingertrio.wire.irc_sts import Policies, parse_duration, parse_port


def test_a_policy_lasts_from_the_last_connection_on():
    now = 1000.0
    policies = Policies(lambda: now)
    assert policies.learn("IRC.example.net", 6697, 60)
    assert policies.port("irc.EXAMPLE.net") == 6697
    now += 59
    assert policies.port("irc.example.net") == 6697
    assert policies.closed("irc.example.net")
    now += 59
    assert policies.port("irc.example.net") == 6697
    now += 2
    assert policies.port("irc.example.net") is None


def test_a_duration_of_zero_deletes():
    policies = Policies(lambda: 0.0)
    policies.learn("a.example", 6697, 60)
    assert policies.learn("a.example", 6697, 0)
    assert policies.port("a.example") is None
    assert not policies.closed("a.example")
    assert not policies.learn("a.example", 6697, 0)


def test_policies_survive_a_restart():
    policies = Policies(lambda: 0.0)
    policies.learn("a.example", 6697, 60)
    policies.learn("b.example", 7000, 10)
    later = Policies(lambda: 30.0, policies.dump())
    assert (later.port("a.example"), later.port("b.example")) == (6697, None)
    assert "b.example" not in later.dump()


@pytest.mark.parametrize("document", ["", "x", "{}", '[{"host": 1}]', "[1]", '[{"host":"a","port":"x"}]', "null", "5"])
def test_a_damaged_file_counts_as_empty(document: str):
    assert Policies(lambda: 0.0, document).dump() == "[]"


@pytest.mark.parametrize(
    ("value", "port", "duration"),
    [
        ("port=6697,duration=60", 6697, 60),
        ("duration=0", None, 0),
        ("x=1,port=1", 1, None),
        ("port=0,duration=-1", None, None),
        ("port=65536", None, None),
        ("port,duration", None, None),
        ("duration=99999999999", None, 10 * 365 * 86400),
        ("", None, None),
    ],
)
def test_values(value: str, port: int | None, duration: int | None):
    assert (parse_port(value), parse_duration(value)) == (port, duration)
