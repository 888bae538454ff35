"""The first chapter of the contract: what every backend answers, and the list of users."""

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

# Valid login names, known to break programs: a number, a wildcard of SQL, a keyword, a device name, the
# longest name, letters that fold, compose, or grow when their case changes.
_ODD_NAMES = (
    *("0", "1000", "_", "____", "None", "null", "nan", "NUL", "__proto__", "constructor", "first.last", "user+tag"),
    *("dollar$", "dash-", "a..b", "x" * 64, "\u0130stanbul", "stra\u00dfe", "e\u0301va", "\uff4doshez", "\u5f20\u4e09"),
    *("\u05d0\u05d1", "\u0663", "\U0001d4b6"),
)

_LISTED_ASKED = 100  # users of the list that are queried: enough to find a mistake, even if the list is long


@chapter.clause()
async def what_opens_is_a_backend(_subject: Subject, backend: object) -> None:
    """The context returns an object with get_user."""
    require(isinstance(backend, Backend), f"it returned {backend!r}")


@chapter.clause()
async def known_users_are_answered(subject: Subject, backend: Backend) -> None:
    """get_user of a known user returns a UserInfo with that login name, a status, aware times, and no past `until`."""
    for user, status in (await subject.people(backend)).items():
        await expect(backend, user, status)


@chapter.clause()
async def unknown_users_are_none(_subject: Subject, backend: Backend) -> None:
    """get_user of an unknown user returns None, at every call."""
    user = new_name()
    for _ in range(2):
        await expect(backend, user, None)


@chapter.clause()
async def odd_names_are_names(subject: Subject, backend: Backend) -> None:
    """get_user of an unknown user returns None, for every valid login name."""
    taken = await _taken(subject, backend)
    for user in _ODD_NAMES:
        if user not in taken:
            await expect(backend, user, None)


@chapter.clause()
async def names_match_exactly(subject: Subject, backend: Backend) -> None:
    """get_user matches the whole login name: not a part, an extension, or a pattern of it."""
    people = await subject.people(backend)
    taken = {*people, *await _taken(subject, backend)}
    for user in people:
        for near in (user[:-1], user[1:], user + "0", user[:-1] + "_", "_" * len(user), user + ".", user + "$"):
            if is_user_name(near) and near not in taken:
                await expect(backend, near, None)


@chapter.clause(ListsUsers)
async def the_list_is_of_the_users(subject: Subject, backend: Lister) -> None:
    """get_users returns each known user's login name once, and only users that get_user knows."""
    people = await subject.people(backend)
    users = await listed(backend)
    twice = sorted({user for user in users if users.count(user) > 1}) if len(set(users)) < len(users) else []
    require(not twice, f"get_users() returned {twice} more than once")
    missing = sorted(people.keys() - set(users))
    require(not missing, f"get_users() returned {list(islice(users, 10))}, and {missing} not at all")
    for user in islice(filter(is_user_name, users), _LISTED_ASKED):
        require(
            await ask(backend, user) is not None, f"get_users() returned {user!r}, but get_user does not know that user"
        )


@chapter.clause(TellsStaleness)
async def staleness_is_a_time(subject: Subject, backend: Ageing) -> None:
    """stale_since() returns None or an aware time that is not in the future."""
    await subject.people(backend)  # before its first query, a backend may not have contacted its source
    since = backend.stale_since()
    if since is not None:
        require(isinstance(since, datetime), f"stale_since() was {since!r}")
        require(since.tzinfo is not None, f"stale_since() was {since!r}, without a time zone")
        require(since <= datetime.now(UTC), f"stale_since() was {since!r}, which is in the future")


@chapter.clause()
async def questions_at_once_are_answered(subject: Subject, backend: Backend) -> None:
    """Simultaneous queries are answered as if each were the only one."""
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
    """get_user, cancelled at any checkpoint, raises Cancelled or returns, and the backend answers as before."""
    people = await subject.people(backend)
    user, status = next(iter(people.items()))

    async def afterwards(_attempt: Attempt) -> None:
        await expect(backend, new_name(), None)  # first, because the cancelled query must not be answered now
        await expect(backend, user, status)

    await cancel_everywhere(lambda: expect(backend, user, status), afterwards)


@chapter.clause()
async def a_cancelled_question_harms_no_other(subject: Subject, backend: Backend) -> None:
    """get_user, cancelled at any checkpoint, does not harm a simultaneous query for the same user."""
    people = await subject.people(backend)
    user, status = next(iter(people.items()))

    async def others(_attempt: Attempt) -> None:
        """The nursery waits for the other queries."""

    async with trio.open_nursery() as nursery:

        async def together() -> None:
            nursery.start_soon(expect, backend, user, status)
            await expect(backend, user, status)

        await cancel_everywhere(together, others)


@chapter.clause(ListsUsers)
async def a_cancelled_list_harms_nothing(subject: Subject, backend: Lister) -> None:
    """get_users, cancelled at any checkpoint, raises Cancelled or returns, and the backend lists users as before."""
    people = set(await subject.people(backend))

    async def afterwards(_attempt: Attempt) -> None:
        await _expect_listed(backend, people)

    await cancel_everywhere(lambda: _expect_listed(backend, people), afterwards)


async def _expect_listed(backend: ListsUsers, people: set[str]) -> None:
    users = await listed(backend)
    require(
        people <= set(users), f"get_users() returned {list(islice(users, 10))} without {sorted(people - set(users))}"
    )


async def _taken(subject: Subject, backend: Backend) -> set[str]:
    """Names that may be in use."""
    return {*subject.known, *(await listed(backend) if isinstance(backend, ListsUsers) else ())}
