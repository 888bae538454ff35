"""The contract's chapter on statuses that are taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

from fingertrio.backend import Backend, BackendError, ClearsStatus, ListsUsers, SetsStatus, UserInfo
from fingertrio.testing.kit import (
    Chapter,
    SkippedClauseError,
    Subject,
    ask,
    listed,
    new_name,
    require,
    set_status,
    shown,
)

chapter = Chapter()


class _Clearer(Backend, ClearsStatus, SetsStatus, Protocol):
    """A backend whose statuses can be set and cleared."""


def _is_empty(info: UserInfo | None) -> bool:
    return info is not None and info.status == "" and info.until is None


@chapter.clause(ClearsStatus, SetsStatus)
async def clearing_leaves_an_empty_status(_subject: Subject, backend: _Clearer) -> None:
    """clear_user leaves the user, listed as before, with an empty status, and returns what get_user answers then."""
    user = new_name()
    await set_status(backend, user, "Happy and well")
    returned = await backend.clear_user(user)
    answered = await ask(backend, user)
    require(_is_empty(answered), f"get_user({user!r}) gave {shown(answered and answered.status)} after clear_user")
    require(returned == answered, f"clear_user returned {returned!r}, then get_user gave {answered!r}")
    if isinstance(backend, ListsUsers):
        require(user in await listed(backend), f"get_users() was without {user!r} after clear_user")


@chapter.clause(ClearsStatus, SetsStatus)
async def clearing_reaches_what_lies_beneath(_subject: Subject, backend: _Clearer) -> None:
    """A status that would come back when a passing one ends is taken back with it."""
    user = new_name()
    await set_status(backend, user, "Happy and well")
    try:
        await backend.set_user(user, "At lunch", until=datetime.now(UTC) + timedelta(hours=1))
    except BackendError:  # it takes no ends, so nothing lies beneath
        raise SkippedClauseError from None
    require(_is_empty(await backend.clear_user(user)), "clear_user did not return an empty status")
    require(_is_empty(await ask(backend, user)), "a status was left after clear_user")


@chapter.clause(ClearsStatus, SetsStatus)
async def a_cleared_status_can_be_set_again(_subject: Subject, backend: _Clearer) -> None:
    """set_user after clear_user is like any other; clear_user twice is like once."""
    user = new_name()
    await set_status(backend, user, "one")
    await backend.clear_user(user)
    require(_is_empty(await backend.clear_user(user)), "a second clear_user did not return an empty status")
    await set_status(backend, user, "two")
    info = await ask(backend, user)
    require(info is not None and info.status == "two", "the status that was set after clear_user is not there")


@chapter.clause(ClearsStatus)
async def clearing_a_missing_user_changes_nothing(_subject: Subject, backend: _Clearer) -> None:
    """clear_user of a user who does not exist returns None and makes none."""
    user = new_name()
    require(await backend.clear_user(user) is None, f"clear_user({user!r}) returned something for a missing user")
    require(await ask(backend, user) is None, f"clear_user made the user {user!r}")
