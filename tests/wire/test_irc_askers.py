"""Who is muted, for how long, and that the memory of it is bounded."""

from __future__ import annotations

from fingertrio.wire.irc_askers import ASKER_LIMIT, FAILURE_LIMIT, PERIOD, QUESTION_LIMIT, Askers


def test_twenty_questions_in_ten_minutes() -> None:
    askers = Askers()
    assert all(askers.hears("alice", float(number)) for number in range(QUESTION_LIMIT))
    assert not askers.hears("alice", 20.0)
    assert askers.hears("bob", 20.0)
    assert not askers.hears("alice", 20.0 + PERIOD - 1)
    assert askers.hears("alice", 20.0 + PERIOD)


def test_a_person_who_asks_every_minute_is_never_muted() -> None:
    askers = Askers()
    assert all(askers.hears("alice", number * 60.0) for number in range(500))


def test_failures_mute_only_in_a_row() -> None:
    askers = Askers()
    for _ in range(10):
        for _ in range(FAILURE_LIMIT - 1):
            askers.failed("alice", 0.0)
        askers.succeeded("alice")
    assert askers.hears("alice", 0.0)
    for _ in range(FAILURE_LIMIT):
        askers.failed("alice", 0.0)
    assert not askers.hears("alice", 0.0)


def test_the_same_question_is_answered_again_after_a_while_or_a_failure() -> None:
    askers = Askers()
    assert not askers.is_repeated("alice", "moshez", 0.0)
    assert askers.is_repeated("alice", "moshez", 29.0)
    assert not askers.is_repeated("alice", "moshez", 30.0)
    assert not askers.is_repeated("bob", "moshez", 30.0)
    askers.forget_question("alice", "moshez")
    assert not askers.is_repeated("alice", "moshez", 31.0)


def test_the_memory_is_bounded_and_keeps_who_was_heard_last() -> None:
    askers = Askers()
    askers.mute("alice", 0.0)
    for number in range(ASKER_LIMIT * 3):
        askers.is_repeated(f"asker{number}", f"name{number}", 0.0)
        assert not askers.hears("alice", 1.0)
    assert len(askers._askers) == ASKER_LIMIT
    for number in range(1000):
        askers.is_repeated("alice", f"name{number}", float(number))
    assert len(askers._askers["alice"].names) <= QUESTION_LIMIT
