"""The third chapter of the contract: statuses that expire. A backend without that feature refuses them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import trio

from fingertrio.backend import BackendError, ListsUsers, SetsStatus
from fingertrio.testing.kit import (
    Chapter,
    Setter,
    SkippedClauseError,
    Subject,
    ask,
    expect,
    listed,
    new_name,
    require,
    set_status,
)

chapter = Chapter()

# How far ahead `until` is set: longer than a call to any backend, yet short for a test.
_SOON = timedelta(milliseconds=300)

_FAR_AWAY = timezone(timedelta(hours=5, minutes=30))


@chapter.clause(SetsStatus)
async def what_has_passed_is_not_answered(_subject: Subject, backend: Setter) -> None:
    """set_user with `until` in the past raises BackendError, or changes no answer."""
    user = new_name()
    for before in (None, "Happy and well"):
        if before is not None:
            await set_status(backend, user, before)
        with suppress(BackendError):
            await backend.set_user(user, "Gone already", until=datetime.now(UTC) - timedelta(hours=1))
        await expect(backend, user, before)


@chapter.clause(SetsStatus)
async def until_ends_a_status(_subject: Subject, backend: Setter) -> None:
    """A status set with `until` is returned until then, and not afterwards: then the one before it, or no user.

    `until` may be in any time zone. A backend without that feature raises BackendError.
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
                require(seen == ("Back soon", until), f"get_user({name!r}), before {until}, returned {info!r}")
    except BackendError:
        raise SkippedClauseError from None
    await wait_for_the_calendar(until)
    for name, right in ((user, {"Happy and well", None}), (passer_by, {None})):
        info = await ask(backend, name)
        require((info and info.status) in right, f"get_user({name!r}), after {until}, returned {info!r}")
        if isinstance(backend, ListsUsers):
            is_listed = name in await listed(backend)
            require(
                is_listed == (info is not None),
                f"get_user({name!r}), after {until}, returned {info!r}; listed: {is_listed}",
            )


@chapter.clause(SetsStatus)
async def an_old_until_ends_nothing_else(_subject: Subject, backend: Setter) -> None:
    """A status that replaces one with `until`, and has none or a later one itself, outlasts that moment."""
    lasting, longer = new_name(), new_name()
    until = soon()
    later = until + timedelta(hours=1)
    try:
        for user in (lasting, longer):
            await set_status(backend, user, "Back soon", until=until)
        await set_status(backend, longer, "Back later", until=later)
    except BackendError:
        raise SkippedClauseError from None
    await set_status(backend, lasting, "Back")
    await wait_for_the_calendar(until + _SOON / 3)  # with time for a task that removes expired statuses
    await expect(backend, lasting, "Back")
    await expect(backend, longer, "Back later")


def soon() -> datetime:
    """A moment in the near future, in a time zone that a backend is unlikely to use."""
    moment = datetime.now(_FAR_AWAY) + _SOON
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)  # a backend may store milliseconds


async def wait_for_the_calendar(moment: datetime) -> None:
    """Wait until the wall clock has passed `moment`. Trio's clocks do not follow it."""
    while True:
        ahead = (moment - datetime.now(UTC)).total_seconds()
        if ahead < 0:
            return
        await trio.sleep(ahead + 0.001)
