from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import UserInfo
from fingertrio.backends.redis.records import Roster, StoredDataError, StoredStatus, UserRecord, write_details
from fingertrio.wire.times import from_microseconds

NOON = 1_800_000_000_000_000
LASTING = StoredStatus(NOON, None, "Happy and well")
PASSING = StoredStatus(NOON + 1, NOON + 100, "Back soon")


def record(lasting: StoredStatus | None, passing: StoredStatus | None) -> UserRecord:
    return UserRecord("moshez", lasting, passing, None, {})


def status_at(record: UserRecord, now: int) -> str | None:
    info = record.info(now)
    return None if info is None else info.status


def test_a_status_is_read_with_its_spaces_and_lines() -> None:
    assert StoredStatus.read(b"17 - a  b\nc ") == StoredStatus(17, None, "a  b\nc ")
    assert StoredStatus.read("17 18 Gr\u00fc\u00dfe".encode()) == StoredStatus(17, 18, "Gr\u00fc\u00dfe")


@pytest.mark.parametrize(
    "stored",
    [b"", b"17", b"17 -", b"x - y", b"17 x y", b"17 - \xff", b"-1 - x", b"1_7 - x", b"9" * 17 + b" - x", b"1e9 - x"],
)
def test_a_malformed_status_is_an_error(stored: bytes) -> None:
    with pytest.raises(StoredDataError, match="not a status"):
        StoredStatus.read(stored)


def test_a_temporary_status_holds_up_to_its_end() -> None:
    both = record(LASTING, PASSING)
    assert status_at(both, NOON + 99) == "Back soon"
    assert status_at(both, NOON + 100) == "Happy and well"
    alone = record(None, PASSING)
    assert status_at(alone, NOON + 99) == "Back soon"
    assert status_at(alone, NOON + 100) is None


def test_a_record_is_read_from_a_hash() -> None:
    found = UserRecord.read("moshez", [b"17 - Happy and well", None, b"Moshe Zadka", b'{"project": "x", "a": "y"}'])
    info = found.info(NOON)
    assert info == UserInfo(
        "moshez", "Happy and well", "Moshe Zadka", from_microseconds(17), details={"project": "x", "a": "y"}
    )
    assert list(info.details) == ["project", "a"]


def test_a_record_without_a_status_answers_none() -> None:
    assert UserRecord.read("moshez", [None, None, b"Moshe Zadka", None]).info(NOON) is None


@pytest.mark.parametrize(
    "details",
    [
        b"",
        b"[]",
        b'{"a": 1}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"0" + b"}" * 20_000,
        b'{"a": "\\ud800"}',
        json.dumps({f"{number}": "" for number in range(257)}).encode(),
    ],
    ids=range(8),
)
def test_details_other_than_an_object_of_strings_are_an_error(details: bytes) -> None:
    with pytest.raises(StoredDataError, match="details"):
        UserRecord.read("moshez", [None, None, None, details])


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=20))
def test_details_come_back_in_their_order(details: dict[str, str]) -> None:
    found = UserRecord.read("moshez", [b"17 - x", None, None, write_details(details)]).info(NOON)
    assert found is not None
    assert list(found.details.items()) == list(details.items())


def test_the_list_has_each_user_with_a_status_once_sorted() -> None:
    roster = Roster(["moshez", "alice"], [("moshez", NOON + 100), ("bob", NOON + 100), ("zoe", NOON)])
    assert roster.names(NOON) == ["alice", "bob", "moshez"]
    assert roster.names(NOON + 100) == ["alice", "moshez"]
