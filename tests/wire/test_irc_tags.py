"""The age of a message, and whether a program sent it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fingertrio.wire.irc import Source
from fingertrio.wire.irc_tags import Batches, is_automated, is_stamped, sent_at


def test_reads_the_time() -> None:
    assert sent_at({"time": "2026-11-29T16:40:51.620Z"}) == datetime(2026, 11, 29, 16, 40, 51, 620_000, UTC)
    assert sent_at({"time": "2026-11-29T16:40:51"}) == datetime(2026, 11, 29, 16, 40, 51, tzinfo=UTC)
    assert sent_at({}) is None
    assert sent_at({"time": "yesterday"}) is None
    assert sent_at({"time": ""}) is None


@pytest.mark.parametrize(
    "text",
    ["[12:34] x", "[12:34:56] x", "[2:34] x", "12:34:56> x", "[2026-11-29 12:34:56] x", "29-11-2026 12:34:56> x"],
)
def test_the_stamps_of_bouncers(text: str) -> None:
    assert is_stamped(text)


@pytest.mark.parametrize("text", ["moshez", "12:34", "1234", "42", "[moshez]", "12:34 moshez", "a 12:34:56> x"])
def test_what_is_not_a_stamp(text: str) -> None:
    assert not is_stamped(text)


def test_bots_and_services() -> None:
    alice = Source("alice", "al", "host.example")
    assert not is_automated(alice, {"time": "x", "account": "alice"})
    assert is_automated(alice, {"bot": ""})
    assert is_automated(Source("NickServ", "s", "services.example.net"), {})
    assert not is_automated(Source("NickServ", "s", "host.example"), {})
    assert not is_automated(Source("alice", "s", "services.example.net"), {})


def test_batches_end_nest_and_are_bounded() -> None:
    batches = Batches()
    batches.handle("+a", ["netsplit", "x"], {})
    assert not batches.has({"batch": "a"})
    batches.handle("+b", ["chathistory", "#x"], {})
    batches.handle("+c", ["labeled-response"], {"batch": "b"})
    assert batches.has({"batch": "b"})
    assert batches.has({"batch": "c"})
    assert not batches.has({})
    batches.handle("-b", [], {})
    assert not batches.has({"batch": "b"})
    for number in range(1000):
        batches.handle(f"+{number}", [], {})
    assert len(batches._open) <= 100
