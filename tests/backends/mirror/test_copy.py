"""The memory that a mirror's statuses take is counted as it is, and bounded."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Mapping

import pytest

from fingertrio.backend import UserInfo
from fingertrio.backends.mirror.copy import StatusCopy, TooLargeError
from fingertrio.clients.live import LiveError
from fingertrio.wire import live

UNLIMITED = 10**12


def received(user: str, **members: object) -> UserInfo:
    """A status as it arrives from an origin: each string a new object."""
    event = live.parse(live.present(live.render_user({"user": user, **members})).decode())
    assert isinstance(event, live.Present)
    info = event.info
    return UserInfo(info.user, info.status, info.name, info.since, info.until, info.details)


def filled(copy: StatusCopy, *users: str, **members: object) -> StatusCopy:
    for user in users:
        copy.put(user, received(user, **members))
    return copy


USERS = [f"user{number}" for number in range(500)]


@pytest.mark.parametrize(
    ("users", "members"),
    [
        (500, {"status": "x", "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}),
        (500, {"status": "x" * 2000}),
        (500, {"status": "x" * 2000 + "\N{GRINNING FACE}"}),  # one wide character makes each take four bytes
        (50, {"status": "x", "name": "Moshe Zadka", "details": {f"k{number}": f"v{number}" for number in range(500)}}),
        (50, {"status": "x", "details": {chr(0x4E00 + number): "" for number in range(500)}}),
    ],
    ids=["short", "ascii", "emoji", "details", "empty details"],
)
def test_what_is_counted_is_what_is_held(users: int, members: Mapping[str, object]) -> None:
    copy = StatusCopy(UNLIMITED)
    gc.collect()  # empties Python's lists of freed objects: one taken from there is not counted
    tracemalloc.start()
    try:
        filled(copy, *USERS[:users], **members).complete()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.95 < copy.size / held < 1.25


def test_what_a_snapshot_repeats_is_held_once() -> None:
    old = filled(StatusCopy(UNLIMITED), *USERS, status="x" * 1000)
    old.complete()
    new = filled(StatusCopy(int(old.size * 1.1), old), *USERS, status="x" * 1000)
    assert all(new.users[user] is old.users[user] for user in USERS)
    new.complete()
    assert new.size == old.size


def test_a_snapshot_that_does_not_fit_beside_the_present_copy_is_refused() -> None:
    old = filled(StatusCopy(UNLIMITED), *USERS, status="x" * 1000)
    new = StatusCopy(int(old.size * 1.5), old)
    with pytest.raises(TooLargeError, match="the present copy and what differs"):
        filled(new, *USERS, status="y" * 1000)
    assert 0.4 < len(new.users) / len(USERS) <= 0.5


def test_a_status_that_does_not_fit_leaves_the_copy_unchanged() -> None:
    copy = filled(StatusCopy(10_000), "ada", status="x" * 1000)
    size, before = copy.size, copy.users["ada"]
    with pytest.raises(TooLargeError, match="need more than `memory`, which is 10000 bytes"):
        filled(copy, "ada", status="x" * 10_000)
    with pytest.raises(LiveError, match="invalid user name"):
        copy.put("-l", None)
    assert (copy.size, copy.users) == (size, {"ada": before})


def test_what_is_removed_and_replaced_is_no_longer_counted() -> None:
    chance = random.Random(7)
    old = filled(StatusCopy(UNLIMITED), *USERS[:20], status="Happy and well")
    copy = StatusCopy(UNLIMITED, old)
    for _ in range(1000):
        user = chance.choice(USERS[:30])
        match chance.randrange(4):
            case 0:
                copy.remove(user)
            case 1:
                copy.put(user, None)
            case 2:
                filled(copy, user, status="Happy and well")
            case _:
                filled(copy, user, status="x" * chance.randrange(100))
    copy.complete()
    fresh = StatusCopy(UNLIMITED)
    for user, info in copy.users.items():
        fresh.put(user, info)
    assert copy.size == fresh.size
    for user in list(copy.users):
        copy.remove(user)
    assert copy.size == 0
