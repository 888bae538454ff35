"""The contract's first chapter: what every backend answers, and the list of users."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import trio

from fingertrio.backend import Backend, ListsUsers, TellsStaleness
from fingertrio.names import is_user_name
from fingertrio.testing.kit import (
    Ageing,
    Attempt,
    Chapter,
    Lister,
    Subject,
    ask,
    cancel_everywhere,
    expect,
    listed,
    new_name,
    require,
)

chapter = Chapter()

# Names that the service lets through to a backend, each an accident elsewhere: a number, a wildcard of SQL, a word of
# some language, a device of some system, the longest, letters that fold, compose, or grow when their case changes.
_ODD_NAMES = (
    *("0", "1000", "_", "____", "None", "null", "nan", "NUL", "__proto__", "constructor", "first.last", "user+tag"),
    *("dollar$", "dash-", "a..b", "x" * 64, "\u0130stanbul", "stra\u00dfe", "e\u0301va", "\uff4doshez", "\u5f20\u4e09"),
    *("\u05d0\u05d1", "\u0663", "\U0001d4b6"),
)

_LISTED_ASKED = 100  # users of the list who are asked for: enough to see a mistake, also where the list is long


@chapter.clause()
async def what_opens_is_a_backend(_subject: Subject, backend: object) -> None:
    """The context gives an object with get_user."""
    require(isinstance(backend, Backend), f"it gave {backend!r}")


@chapter.clause()
async def known_users_are_answered(subject: Subject, backend: Backend) -> None:
    """get_user of a known user gives a UserInfo of that login name: the status as text, times aware, none passed."""
    for user, status in (await subject.people(backend)).items():
        await expect(backend, user, status)


@chapter.clause()
async def unknown_users_are_none(_subject: Subject, backend: Backend) -> None:
    """get_user of a name that nobody has gives None, each time it is asked."""
    user = new_name()
    for _ in range(2):
        await expect(backend, user, None)


@chapter.clause()
async def odd_names_are_names(subject: Subject, backend: Backend) -> None:
    """get_user of a name that nobody has gives None, however odd a login name it is."""
    taken = await _taken(subject, backend)
    for user in _ODD_NAMES:
        if user not in taken:
            await expect(backend, user, None)


@chapter.clause()
async def names_match_exactly(subject: Subject, backend: Backend) -> None:
    """get_user finds a user by the whole login name: not by a part of it, more than it, or a pattern."""
    people = await subject.people(backend)
    taken = {*people, *await _taken(subject, backend)}
    for user in people:
        for near in (user[:-1], user[1:], user + "0", user[:-1] + "_", "_" * len(user), user + ".", user + "$"):
            if is_user_name(near) and near not in taken:
                await expect(backend, near, None)


@chapter.clause(ListsUsers)
async def the_list_is_of_the_users(subject: Subject, backend: Lister) -> None:
    """get_users gives each known user's login name once, and names only whom get_user knows."""
    people = await subject.people(backend)
    users = await listed(backend)
    twice = sorted({user for user in users if users.count(user) > 1}) if len(set(users)) < len(users) else []
    require(not twice, f"get_users() gave {twice} more than once")
    missing = sorted(people.keys() - set(users))
    require(not missing, f"get_users() gave {list(islice(users, 10))}, and {missing} not at all")
    for user in islice(filter(is_user_name, users), _LISTED_ASKED):
        require(await ask(backend, user) is not None, f"get_users() gave {user!r}, of whom get_user knows nothing")


@chapter.clause(TellsStaleness)
async def staleness_is_a_time(subject: Subject, backend: Ageing) -> None:
    """stale_since() is None, or since when answers may be out of date: an aware time, and none to come."""
    await subject.people(backend)  # who has not been asked yet may not have looked whether its source is there
    since = backend.stale_since()
    if since is not None:
        require(isinstance(since, datetime), f"stale_since() was {since!r}")
        require(since.tzinfo is not None, f"stale_since() was {since!r}, without a time zone")
        require(since <= datetime.now(UTC), f"stale_since() was {since!r}, which is to come")


@chapter.clause()
async def questions_at_once_are_answered(subject: Subject, backend: Backend) -> None:
    """Questions asked at the same time are answered as if each were alone."""
    people = await subject.people(backend)
    questions = [*islice(people.items(), 5), (new_name(), None), (new_name(), None)]
    async with trio.open_nursery() as nursery:
        for user, status in questions * 5:
            nursery.start_soon(expect, backend, user, status)
        if isinstance(backend, ListsUsers):
            for _ in range(5):
                nursery.start_soon(_expect_listed, backend, set(people))


@chapter.clause()
async def a_cancelled_question_harms_nothing(subject: Subject, backend: Backend) -> None:
    """get_user cancelled at any checkpoint raises Cancelled or answers, and the backend answers as before."""
    people = await subject.people(backend)
    user, status = next(iter(people.items()))

    async def afterwards(_attempt: Attempt) -> None:
        await expect(backend, new_name(), None)  # first, because what was cancelled must not be answered now
        await expect(backend, user, status)

    await cancel_everywhere(lambda: expect(backend, user, status), afterwards)


@chapter.clause()
async def a_cancelled_question_harms_no_other(subject: Subject, backend: Backend) -> None:
    """get_user cancelled at any checkpoint leaves alone who asks for the same user at the same time."""
    people = await subject.people(backend)
    user, status = next(iter(people.items()))

    async def others(_attempt: Attempt) -> None:
        """The nursery waits for them."""

    async with trio.open_nursery() as nursery:

        async def together() -> None:
            nursery.start_soon(expect, backend, user, status)
            await expect(backend, user, status)

        await cancel_everywhere(together, others)


@chapter.clause(ListsUsers)
async def a_cancelled_list_harms_nothing(subject: Subject, backend: Lister) -> None:
    """get_users cancelled at any checkpoint raises Cancelled or answers, and the backend lists as before."""
    people = set(await subject.people(backend))

    async def afterwards(_attempt: Attempt) -> None:
        await _expect_listed(backend, people)

    await cancel_everywhere(lambda: _expect_listed(backend, people), afterwards)


async def _expect_listed(backend: ListsUsers, people: set[str]) -> None:
    users = await listed(backend)
    require(people <= set(users), f"get_users() gave {list(islice(users, 10))} without {sorted(people - set(users))}")


async def _taken(subject: Subject, backend: Backend) -> set[str]:
    """Names that somebody may have."""
    return {*subject.known, *(await listed(backend) if isinstance(backend, ListsUsers) else ())}
