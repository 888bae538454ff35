from __future__ import annotations

from fingertrio.backends.redis.copies import Copies
from fingertrio.backends.redis.records import Roster, StoredStatus, UserRecord


def record(user: str, status: str | None = "Happy and well", since: int = 1) -> UserRecord:
    return UserRecord(user, None if status is None else StoredStatus(since, None, status), None, None, {})


def keep(copies: Copies, record: UserRecord) -> None:
    with copies.reading(record.user) as pending:
        copies.keep(record, pending)


def test_what_was_read_is_there_until_its_change_is_heard() -> None:
    copies = Copies(10)
    keep(copies, record("moshez"))
    keep(copies, record("alice"))
    copies.forget("moshez", None, listed=False)
    assert copies.record("moshez") is None
    assert copies.record("alice") == record("alice")


def test_those_asked_for_longest_ago_go_first() -> None:
    copies = Copies(2)
    for user in ("moshez", "alice", "moshez", "bob"):
        keep(copies, record(user))
    assert [user for user in ("moshez", "alice", "bob") if copies.record(user)] == ["moshez", "bob"]


def test_unknown_names_are_not_kept_and_evict_no_user() -> None:
    copies = Copies(1)
    keep(copies, record("moshez"))
    keep(copies, record("nobody", None))
    assert copies.record("nobody") is None
    assert copies.record("moshez") is not None


def test_a_user_without_a_status_has_no_copy() -> None:
    copies = Copies(1)
    keep(copies, record("moshez"))
    keep(copies, record("moshez", None))
    assert copies.record("moshez") is None


def test_what_a_change_overtook_is_not_kept() -> None:
    copies = Copies(10)
    with copies.reading("moshez") as first, copies.reading("moshez") as second, copies.reading("alice") as other:
        copies.forget("moshez", None, listed=False)
        copies.keep(record("moshez"), first)
        copies.keep(record("moshez"), second)
        copies.keep(record("alice"), other)
    assert copies.record("moshez") is None
    assert copies.record("alice") is not None
    keep(copies, record("moshez"))
    assert copies.record("moshez") is not None


def test_a_late_change_does_not_take_away_what_already_knows_of_it() -> None:
    copies = Copies(10)
    keep(copies, record("moshez", since=7))
    copies.forget("moshez", 7, listed=False)
    assert copies.record("moshez") is not None
    copies.forget("moshez", 8, listed=False)
    assert copies.record("moshez") is None


def test_an_answer_under_way_is_kept_if_it_knows_of_what_was_heard_meanwhile() -> None:
    copies = Copies(10)
    for since, kept in ((7, False), (8, True), (9, True)):
        with copies.reading("moshez") as pending:
            copies.forget("moshez", 8, listed=False)
            copies.forget("moshez", 6, listed=False)
            copies.keep(record("moshez", since=since), pending)
        assert (copies.record("moshez") is not None) == kept


def test_the_list_goes_with_a_change_that_concerns_it_only() -> None:
    copies = Copies(10)
    roster = Roster(["moshez"], [])
    with copies.reading(None) as pending:
        copies.forget("moshez", None, listed=False)
        copies.keep_roster(roster, pending)
    assert copies.roster == roster
    with copies.reading(None) as pending:
        copies.forget("moshez", None, listed=True)
        copies.keep_roster(roster, pending)
    assert copies.roster is None


def test_missed_changes_overtake_everything() -> None:
    copies = Copies(10)
    keep(copies, record("moshez"))
    with copies.reading("alice") as pending, copies.reading(None) as listing:
        copies.forget_all()
        copies.keep(record("alice"), pending)
        copies.keep_roster(Roster([], []), listing)
    assert [copies.record("moshez"), copies.record("alice"), copies.roster] == [None, None, None]


def test_of_size_0_it_keeps_nothing() -> None:
    copies = Copies(0)
    keep(copies, record("moshez"))
    with copies.reading(None) as pending:
        copies.keep_roster(Roster([], []), pending)
    assert copies.record("moshez") is None
    assert copies.roster is None
