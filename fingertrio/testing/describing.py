"""The contract's chapter on full names and details."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from fingertrio.backend import (
    Backend,
    BackendError,
    ClearsStatus,
    EmitsChanges,
    ListsUsers,
    SetsDetails,
    SetsStatus,
    UserInfo,
)
from fingertrio.testing.changing import hear
from fingertrio.testing.kit import (
    Attempt,
    Chapter,
    Subject,
    ask,
    cancel_everywhere,
    check_form,
    listed,
    new_name,
    require,
    set_status,
)

chapter = Chapter()

_NAME = 'Zo\u00eb "Z" O\'Neill'
_DETAILS = {
    "project": "two\nlines, and tabs\tthere",
    "pronouns": "they/them",
    "Home page": "https://example.org/~zo\u00eb?a=1&b=2",
    "pubkey": "\u7720" * 1000,
}


class _Describer(Backend, SetsDetails, SetsStatus, Protocol):
    """What a clause that needs SetsDetails and SetsStatus is given."""


class _EmittingDescriber(_Describer, EmitsChanges, Protocol):
    """What a clause that needs EmitsChanges as well is given."""


@chapter.clause(SetsDetails, SetsStatus)
async def details_come_back_as_they_were(_subject: Subject, backend: _Describer) -> None:
    """After set_details, get_user returns the name and the details, unchanged and in order, and so did set_details."""
    user = new_name()
    before = await set_status(backend, user, "Happy and well")
    for name, details in ((_NAME, _DETAILS), (None, {"project": "another"}), ("Zo\u00eb", {})):
        returned = await _describe(backend, user, name, details)
        info = await ask(backend, user)
        require(returned == info, f"set_details returned {returned!r}, then get_user returned {info!r}")
        seen = info and (info.name, list(info.details.items()))
        require(seen == (name, list(details.items())), f"after set_details, get_user returned {seen}")
        status = info and (info.status, info.since, info.until)
        require(
            status == (before.status, before.since, before.until), f"set_details changed the status or its time: {info}"
        )


@chapter.clause(SetsDetails, SetsStatus)
async def details_outlast_statuses(_subject: Subject, backend: _Describer) -> None:
    """set_user and clear_user keep the name and the details, and return them."""
    user = new_name()
    await set_status(backend, user, "Happy and well")
    await _describe(backend, user, _NAME, _DETAILS)
    infos = [await set_status(backend, user, "In the garden")]
    with suppress(BackendError):  # it may take no ends
        infos.append(await set_status(backend, user, "Lunch", until=datetime.now(UTC) + timedelta(hours=1)))
    if isinstance(backend, ClearsStatus) and (cleared := await backend.clear_user(user)) is not None:
        infos.append(cleared)
    for info in infos:
        seen = (info.name, dict(info.details))
        require(seen == (_NAME, _DETAILS), f"after set_details, the status {info.status!r} was returned with {seen}")
    answered = await ask(backend, user)
    require(answered == infos[-1], f"{infos[-1]!r} was returned, then get_user returned {answered!r}")


@chapter.clause(SetsDetails, SetsStatus)
async def details_wait_for_the_first_status(_subject: Subject, backend: _Describer) -> None:
    """set_details of a user without a status returns None and lists no user; the first status shows the details."""
    user = new_name()
    returned = await _describe(backend, user, _NAME, _DETAILS)
    answered = await ask(backend, user)
    require(returned is None, f"set_details of a user without a status returned {returned!r}")
    require(answered is None, f"set_details made a user: get_user returned {answered!r}")
    if isinstance(backend, ListsUsers):
        require(user not in await listed(backend), f"get_users() had {user!r}, who has no status")
    info = await set_status(backend, user, "Happy and well")
    seen = (info.name, dict(info.details))
    require(seen == (_NAME, _DETAILS), f"the first status after set_details was returned with {seen}")


@chapter.clause(SetsDetails, SetsStatus)
async def details_are_of_one_user(_subject: Subject, backend: _Describer) -> None:
    """set_details of one user does not change another."""
    other = new_name()
    before = await set_status(backend, other, "Happy and well")
    await _describe(backend, new_name(), _NAME, _DETAILS)
    info = await ask(backend, other)
    require(info == before, f"after set_details of another user, get_user returned {info!r} instead of {before!r}")


@chapter.clause(SetsDetails, SetsStatus, EmitsChanges)
async def details_are_a_change(subject: Subject, backend: _EmittingDescriber) -> None:
    """set_details is reported as a change of the user."""
    user = new_name()
    await set_status(backend, user, "Happy and well")
    async with backend.changes() as feed:
        await _describe(backend, user, _NAME, _DETAILS)
        await hear(feed, user, subject.patience)
        info = await ask(backend, user)
        require(info is not None and info.name == _NAME, f"after the change, get_user returned {info!r}")


@chapter.clause(SetsDetails, SetsStatus)
async def a_cancelled_description_is_whole_or_nothing(_subject: Subject, backend: _Describer) -> None:
    """set_details, cancelled at any checkpoint, leaves the old or the new name and details, and the next one works."""
    user = new_name()
    old = "Name 0"
    rounds = 0
    await set_status(backend, user, "Happy and well")
    await _describe(backend, user, old, {"name": old})

    async def afterwards(attempt: Attempt) -> None:
        nonlocal old, rounds
        info = await ask(backend, user)
        new = f"Name {rounds}, cancelled"
        right = [(name, {"name": name}) for name in ((new,) if attempt.returned else (old, new))]
        seen = info and (info.name, dict(info.details))
        require(seen in right, f"after set_details was cancelled, get_user returned {seen} instead of one of {right}")
        rounds += 1
        old = f"Name {rounds}"
        await _describe(backend, user, old, {"name": old})

    def cancelled() -> Awaitable[object]:
        name = f"Name {rounds}, cancelled"
        return _describe(backend, user, name, {"name": name})

    await cancel_everywhere(cancelled, afterwards)


async def _describe(backend: SetsDetails, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
    """The result of set_details, validated."""
    info = await backend.set_details(user, name, details)
    if info is not None:
        check_form(info, user, f"set_details({user!r}, ...)")
    return info
