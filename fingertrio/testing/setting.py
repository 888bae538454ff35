"""The contract's second chapter: statuses that are set, and those that hold only until a moment."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import trio

from fingertrio.backend import BackendError, ListsUsers, SetsStatus
from fingertrio.service import STATUS_LIMIT
from fingertrio.testing.kit import (
    Attempt,
    Chapter,
    PassedOver,
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

chapter = Chapter()

# What the service lets through, each an accident elsewhere: quoting, formats, encodings, normal forms, widths, sizes.
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

# How far ahead `until` is set: past the time of a call to any backend, yet short for whoever waits for the tests.
_SOON = timedelta(milliseconds=300)

_FAR_AWAY = timezone(timedelta(hours=5, minutes=30))

# Clocks of two machines that belong together differ by less; a time zone that was mistaken differs by more.
_CLOCKS_DIFFER = timedelta(minutes=5)


@chapter.clause(SetsStatus)
async def what_is_set_is_answered(_subject: Subject, backend: Setter) -> None:
    """After set_user of a new user, get_user gives the status and get_users the name, once."""
    user = new_name()
    for status in ("Happy and well", "In the garden"):
        await set_status(backend, user, status)
        await expect(backend, user, status)
        if isinstance(backend, ListsUsers):
            users = await listed(backend)
            require(users.count(user) == 1, f"get_users() gave {user!r} {users.count(user)} times")


@chapter.clause(SetsStatus)
async def setting_returns_the_answer(_subject: Subject, backend: Setter) -> None:
    """set_user returns what get_user answers from then on."""
    user = new_name()
    for status in ("Happy and well", "In the garden"):
        returned = await set_status(backend, user, status)
        answered = await ask(backend, user)
        require(returned == answered, f"set_user returned {returned!r}, then get_user gave {answered!r}")


@chapter.clause(SetsStatus)
async def since_is_when_it_was_set(_subject: Subject, backend: Setter) -> None:
    """`since`, where it is given, is the moment of setting."""
    user = new_name()
    info = await set_status(backend, user, "Happy and well")
    now = datetime.now(UTC)
    require(info.since is None or abs(info.since - now) < _CLOCKS_DIFFER, f"since={info.since}, set at {now}")


@chapter.clause(SetsStatus)
async def statuses_come_back_as_they_were(_subject: Subject, backend: Setter) -> None:
    """A status is answered character for character: quotes, lines, spaces, every script, up to the service's limit."""
    user = new_name()
    for status in _STATUSES:
        await set_status(backend, user, status)
        await expect(backend, user, status)


@chapter.clause(SetsStatus)
async def the_last_set_wins(_subject: Subject, backend: Setter) -> None:
    """Of statuses set one after the other, also the same one again, the last is answered."""
    user = new_name()
    statuses = ("one", "two", "one", "one", "three")
    for status in statuses:
        await set_status(backend, user, status)
    await expect(backend, user, statuses[-1])


@chapter.clause(SetsStatus)
async def a_set_touches_nobody_else(subject: Subject, backend: Setter) -> None:
    """set_user of one user leaves every other's status as it was."""
    people = await subject.people(backend)
    await set_status(backend, new_name(), "In the garden")
    for user, status in people.items():
        await expect(backend, user, status)


@chapter.clause(SetsStatus)
async def sets_at_once_are_all_kept(_subject: Subject, backend: Setter) -> None:
    """Statuses set at the same time for different users are all stored; for one user, one of them is."""
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
    require(len(seen) == 1 and seen <= set(statuses), f"get_user({one!r}) gave {seen} in a row")


@chapter.clause(SetsStatus)
async def a_cancelled_set_is_whole_or_nothing(_subject: Subject, backend: Setter) -> None:
    """set_user cancelled at any checkpoint leaves the old or the new status, and a backend that can be set.

    Where it returns all the same, the new one. The contract wants the old one; but where the commitment is another
    machine's, nobody can know whether a call was carried out that got no answer, so this is all that can be checked.
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
        require(seen in right, f"set_user({new!r}) {how}, then get_user gave {shown(seen)}; before it was {old!r}")
        rounds += 1
        old = f"Status {rounds}"
        await set_status(backend, user, old)
        await expect(backend, user, old)

    await cancel_everywhere(lambda: set_status(backend, user, f"Status {rounds}, cancelled"), afterwards)


@chapter.clause(SetsStatus)
async def a_cancelled_new_user_is_whole_or_nobody(_subject: Subject, backend: Setter) -> None:
    """set_user of a new user, cancelled at any checkpoint, leaves nobody or a user with that status, who is listed."""
    user = new_name()

    async def afterwards(attempt: Attempt) -> None:
        nonlocal user
        info = await ask(backend, user)
        seen = info and info.status
        right = {"New here"} if attempt.returned else {None, "New here"}
        require(seen in right, f"get_user({user!r}) gave {shown(seen)} after its first set_user was cancelled")
        if isinstance(backend, ListsUsers):
            is_listed = user in await listed(backend)
            require(is_listed == (info is not None), f"get_user({user!r}) gave {shown(seen)}; listed: {is_listed}")
        user = new_name()

    await cancel_everywhere(lambda: set_status(backend, user, "New here"), afterwards)


@chapter.clause(SetsStatus)
async def what_has_passed_is_not_answered(_subject: Subject, backend: Setter) -> None:
    """set_user with `until` in the past is refused with BackendError, or changes no answer."""
    user = new_name()
    for before in (None, "Happy and well"):
        if before is not None:
            await set_status(backend, user, before)
        with suppress(BackendError):
            await backend.set_user(user, "Gone already", until=datetime.now(UTC) - timedelta(hours=1))
        await expect(backend, user, before)


@chapter.clause(SetsStatus)
async def until_ends_a_status(_subject: Subject, backend: Setter) -> None:
    """A status set with `until` is answered up to then, and not from then on: what lasted before may be, or nobody.

    `until` may be aware of any time zone. A backend that cannot do it raises BackendError.
    """
    user, passer_by = new_name(), new_name()
    await set_status(backend, user, "Happy and well")
    until = soon()
    try:
        for name in (user, passer_by):
            returned = await set_status(backend, name, "Back soon", until=until)
            require(returned.until == until, f"set_user returned until={returned.until} instead of {until}")
            info = await ask(backend, name)
            if datetime.now(UTC) < until:
                seen = info and (info.status, info.until)
                require(seen == ("Back soon", until), f"get_user({name!r}), before {until}, gave {info!r}")
    except BackendError:
        raise PassedOver from None
    await wait_for_the_calendar(until)
    for name, right in ((user, {"Happy and well", None}), (passer_by, {None})):
        info = await ask(backend, name)
        require((info and info.status) in right, f"get_user({name!r}), after {until}, gave {info!r}")
        if isinstance(backend, ListsUsers):
            is_listed = name in await listed(backend)
            require(
                is_listed == (info is not None),
                f"get_user({name!r}), after {until}, gave {info!r}; listed: {is_listed}",
            )


def soon() -> datetime:
    """A moment shortly ahead, told in a time zone that a backend hardly lives in."""
    moment = datetime.now(_FAR_AWAY) + _SOON
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)  # what keeps milliseconds is exact enough


async def wait_for_the_calendar(moment: datetime) -> None:
    """Wait until the calendar's clock has passed `moment`, which trio's clocks know nothing of."""
    while (ahead := (moment - datetime.now(UTC)).total_seconds()) >= 0:  # noqa: ASYNC110 -- no event tells the time
        await trio.sleep(ahead + 0.001)
