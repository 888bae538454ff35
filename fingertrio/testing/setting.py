"""The second chapter of the contract: setting statuses."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import trio

from fingertrio.backend import ListsUsers, SetsStatus
from fingertrio.testing.kit import (
    Attempt,
    Chapter,
    Setter,
    Subject,
    ask,
    cancel_everywhere,
    expect,
    listed,
    new_name,
    require,
    set_status,
    shown,
)
from fingertrio.wire.status import STATUS_LIMIT

chapter = Chapter()

# Valid statuses, known to break programs: quoting, formats, encodings, normal forms, widths, sizes.
_STATUSES = (
    *("0", "None", "null", "-l", "# no comment", "a: b: c", 'it\'s "quoted"', "'; DROP TABLE users; --", "%s {} \\n"),
    *("<b>&amp;</b>", "  spaces around  ", "tab\there", "two\nlines", "a paragraph\n\nand another\n  indented"),
    *(
        "Gr\u00fc\u00dfe",
        "e\u0301 is not \u00e9",
        "\u7720\u3044",
        "\u05e9\u05dc\u05d5\u05dd",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
    ),
    "\u7720" * (STATUS_LIMIT // 3),
)

# The clocks of two machines of one system differ by less; a wrong time zone makes a larger difference.
_CLOCKS_DIFFER = timedelta(minutes=5)


@chapter.clause(SetsStatus)
async def what_is_set_is_answered(_subject: Subject, backend: Setter) -> None:
    """After set_user of a new user, get_user returns the status, and get_users has the name once."""
    user = new_name()
    for status in ("Happy and well", "In the garden"):
        await set_status(backend, user, status)
        await expect(backend, user, status)
        if isinstance(backend, ListsUsers):
            users = await listed(backend)
            require(users.count(user) == 1, f"get_users() returned {user!r} {users.count(user)} times")


@chapter.clause(SetsStatus)
async def setting_returns_the_answer(_subject: Subject, backend: Setter) -> None:
    """set_user returns what get_user returns from then on."""
    user = new_name()
    for status in ("Happy and well", "In the garden"):
        returned = await set_status(backend, user, status)
        answered = await ask(backend, user)
        require(returned == answered, f"set_user returned {returned!r}, then get_user returned {answered!r}")


@chapter.clause(SetsStatus)
async def since_is_when_it_was_set(_subject: Subject, backend: Setter) -> None:
    """`since`, if it is given, is the time of the set."""
    user = new_name()
    info = await set_status(backend, user, "Happy and well")
    now = datetime.now(UTC)
    require(info.since is None or abs(info.since - now) < _CLOCKS_DIFFER, f"since={info.since}, set at {now}")


@chapter.clause(SetsStatus)
async def statuses_come_back_as_they_were(_subject: Subject, backend: Setter) -> None:
    """A status comes back unchanged: quotes, lines, spaces, every script, up to the limit of the service."""
    user = new_name()
    for status in _STATUSES:
        await set_status(backend, user, status)
        await expect(backend, user, status)


@chapter.clause(SetsStatus)
async def names_are_kept_apart(_subject: Subject, backend: Setter) -> None:
    """Every name that names.check_user_name accepts can be set: any script, 64 characters, twins in another case."""
    users = _new_names()
    for user in users:
        await set_status(backend, user, f"I am {user}")
    for user in users:
        await expect(backend, user, f"I am {user}")
    if isinstance(backend, ListsUsers):
        found = await listed(backend)
        wrong = [user for user in users if found.count(user) != 1]
        require(not wrong, f"get_users() did not give each of these once: {wrong!a}")


@chapter.clause(SetsStatus)
async def the_last_set_wins(_subject: Subject, backend: Setter) -> None:
    """Of statuses set one after the other, equal ones included, the last is returned."""
    user = new_name()
    statuses = ("one", "two", "one", "one", "three")
    for status in statuses:
        await set_status(backend, user, status)
    await expect(backend, user, statuses[-1])


@chapter.clause(SetsStatus)
async def a_set_touches_nobody_else(subject: Subject, backend: Setter) -> None:
    """set_user of one user does not change the status of another."""
    people = await subject.people(backend)
    await set_status(backend, new_name(), "In the garden")
    for user, status in people.items():
        await expect(backend, user, status)


@chapter.clause(SetsStatus)
async def sets_at_once_are_all_kept(_subject: Subject, backend: Setter) -> None:
    """Of simultaneous sets, those of different users are all stored; of those for one user, one is."""
    people = {new_name(): f"Status {number}" for number in range(10)}
    one = new_name()
    statuses = [f"Status {number}" for number in range(10)]
    async with trio.open_nursery() as nursery:
        for user, status in people.items():
            nursery.start_soon(set_status, backend, user, status)
        for status in statuses:
            nursery.start_soon(set_status, backend, one, status)
    for user, status in people.items():
        await expect(backend, user, status)
    answers = [await ask(backend, one) for _ in range(3)]
    seen = {info and info.status for info in answers}
    require(len(seen) == 1 and seen <= set(statuses), f"get_user({one!r}) returned {seen} in a row")


@chapter.clause(SetsStatus)
async def a_set_is_never_seen_halfway(_subject: Subject, backend: Setter) -> None:
    """A query during a set returns the old or the new status; after the new one, never the old one again."""
    user = new_name()
    statuses = [f"Status {number}" for number in range(20)]
    await set_status(backend, user, statuses[0])
    latest = 0

    async def set_all() -> None:
        for status in statuses[1:]:
            await set_status(backend, user, status)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(set_all)
        while latest < len(statuses) - 1:
            info = await ask(backend, user)
            seen = info and info.status
            right = statuses[latest:]
            require(seen in right, f"get_user({user!r}) returned {shown(seen)} after {statuses[latest]!r}")
            latest = statuses.index(seen or "")
            if isinstance(backend, ListsUsers):
                require(user in await listed(backend), f"get_users() was without {user!r} during a set")
            await trio.lowlevel.checkpoint()  # a backend may answer without a checkpoint, and the other task must run


@chapter.clause(SetsStatus)
async def a_cancelled_set_is_whole_or_nothing(_subject: Subject, backend: Setter) -> None:
    """set_user, cancelled at any checkpoint, leaves the old or the new status, and the next set works.

    If it returns, the new one. A remote backend cannot know whether a call without an answer was carried out, so this
    is all that can be checked.
    """
    user = new_name()
    old = "Status 0"
    await set_status(backend, user, old)
    rounds = 0

    async def afterwards(attempt: Attempt) -> None:
        nonlocal old, rounds
        info = await ask(backend, user)
        seen = info and info.status
        new = f"Status {rounds}, cancelled"
        right = {new} if attempt.returned else {old, new}
        how = "returned" if attempt.returned else "was cancelled"
        require(seen in right, f"set_user({new!r}) {how}, then get_user returned {shown(seen)}; before it was {old!r}")
        rounds += 1
        old = f"Status {rounds}"
        await set_status(backend, user, old)
        await expect(backend, user, old)

    await cancel_everywhere(lambda: set_status(backend, user, f"Status {rounds}, cancelled"), afterwards)


@chapter.clause(SetsStatus)
async def a_cancelled_new_user_is_whole_or_nobody(_subject: Subject, backend: Setter) -> None:
    """set_user of a new user, cancelled at any checkpoint, leaves no user, or a listed user with that status."""
    user = new_name()

    async def afterwards(attempt: Attempt) -> None:
        nonlocal user
        info = await ask(backend, user)
        seen = info and info.status
        right = {"New here"} if attempt.returned else {None, "New here"}
        require(seen in right, f"get_user({user!r}) returned {shown(seen)} after its first set_user was cancelled")
        if isinstance(backend, ListsUsers):
            is_listed = user in await listed(backend)
            require(is_listed == (info is not None), f"get_user({user!r}) returned {shown(seen)}; listed: {is_listed}")
        user = new_name()

    await cancel_everywhere(lambda: set_status(backend, user, "New here"), afterwards)


def _new_names() -> list[str]:
    """Unused login names that some program folds, normalizes, encodes, cuts or takes for another."""
    name, digits = new_name(), f"{secrets.randbelow(10**12):012}"
    odd = (name, name.upper(), name.title(), f"_{name}", f"{name}.last", f"{name}+tag", f"{name}$", name.ljust(64, "x"))
    scripts = (
        "zo\u00eb",
        "\u0437\u043e\u044f",
        "\u5f20\u4e09",
        "\u3086\u304d",
        "\u05d3\u05d5\u05d3",
        "\u0905\u092e\u093f\u0924",
    )
    return [*odd, digits, *(f"{word}-{digits}" for word in scripts)]
