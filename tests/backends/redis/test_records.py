from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.redis.records import Record, Roster, Said, write_details
from fingertrio.wire.times import from_microseconds

NOON = 1_800_000_000_000_000
LASTING = Said(NOON, None, "Happy and well")
PASSING = Said(NOON + 1, NOON + 100, "Back soon")


def record(lasting: Said | None, passing: Said | None) -> Record:
    return Record("moshez", lasting, passing, None, {})


def status_at(record: Record, now: int) -> str | None:
    info = record.info(now)
    return None if info is None else info.status


def test_a_status_is_read_with_its_spaces_and_lines() -> None:
    assert Said.read(b"17 - a  b\nc ") == Said(17, None, "a  b\nc ")
    assert Said.read("17 18 Gr\u00fc\u00dfe".encode()) == Said(17, 18, "Gr\u00fc\u00dfe")


@pytest.mark.parametrize("stored", [b"", b"17", b"17 -", b"x - y", b"17 x y", b"17 - \xff"])
def test_what_no_fingertrio_has_written_is_a_failure_with_its_cause(stored: bytes) -> None:
    with pytest.raises(BackendError) as caught:
        Said.read(stored)
    assert caught.value.__cause__ is not None
    assert caught.value.public_message == "Internal error in server"


def test_what_passes_is_answered_up_to_its_end_and_not_at_it() -> None:
    both = record(LASTING, PASSING)
    assert status_at(both, NOON + 99) == "Back soon"
    assert status_at(both, NOON + 100) == "Happy and well"
    alone = record(None, PASSING)
    assert status_at(alone, NOON + 99) == "Back soon"
    assert status_at(alone, NOON + 100) is None


def test_a_record_is_read_from_a_hash() -> None:
    found = Record.read("moshez", [b"17 - Happy and well", None, b"Moshe Zadka", b'{"project": "x", "a": "y"}'])
    info = found.info(NOON)
    assert info == UserInfo(
        "moshez", "Happy and well", "Moshe Zadka", from_microseconds(17), details={"project": "x", "a": "y"}
    )
    assert list(info.details) == ["project", "a"]


def test_nobody_is_a_record_without_a_status() -> None:
    assert Record.read("moshez", [None, None, b"Moshe Zadka", None]).info(NOON) is None


@pytest.mark.parametrize("details", [b"", b"[]", b'{"a": 1}', b"\xff"])
def test_details_that_are_no_object_of_texts_are_a_failure(details: bytes) -> None:
    with pytest.raises(BackendError):
        Record.read("moshez", [None, None, None, details])


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))))
def test_details_come_back_in_their_order(details: dict[str, str]) -> None:
    found = Record.read("moshez", [b"17 - x", None, None, write_details(details)]).info(NOON)
    assert found is not None
    assert list(found.details.items()) == list(details.items())


def test_the_list_is_of_those_with_a_status_each_once_by_name() -> None:
    roster = Roster(["moshez", "alice"], [("moshez", NOON + 100), ("bob", NOON + 100), ("zoe", NOON)])
    assert roster.names(NOON) == ["alice", "bob", "moshez"]
    assert roster.names(NOON + 100) == ["alice", "moshez"]
