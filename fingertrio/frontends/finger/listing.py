"""Reads many users for one answer: the list, and the candidates of an ambiguous name. No rendering.

A user that the backend cannot read must not make the whole answer fail, so the result has None for it. If the backend
itself has failed, the answer fails, after a bounded number of calls and a bounded time.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from fingertrio.backend import BackendError, UserInfo
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer

# Concurrent calls. With seven users whose calls hang until the service's deadline (unresponsive home directories), one
# call at a time still reads all other users.
_READERS = 8

# Seconds for all users together, twice the service's default deadline for one call. Users not read by then are missing.
READ_ALL_DEADLINE = 10.0

# If so many users fail and none succeeds, the backend has failed, not the users.
_FAILURE_LIMIT = 32

UserAnswer = Answer[UserInfo | None]


async def read_users(service: FingerService, users: Sequence[str]) -> list[UserAnswer | None]:
    """The answers for `users`, in the same order; None: this user cannot be read.

    Raises:
        BackendError: no user can be read.
    """
    answers: list[UserAnswer | None] = [None] * len(users)
    failures: list[BackendError] = []
    can_read = False
    queue = iter(enumerate(users))  # shared by the readers

    async def read() -> None:
        nonlocal can_read
        for number, user in queue:
            try:
                answers[number] = await service.ask_user(user)
                can_read = True
            except BackendError as error:
                failures.append(error)
                if not can_read and len(failures) >= _FAILURE_LIMIT:
                    return

    if users:
        with trio.move_on_after(READ_ALL_DEADLINE):
            async with trio.open_nursery() as nursery:
                for _ in range(min(_READERS, len(users))):
                    nursery.start_soon(read)
    if users and not can_read:
        raise BackendError(failures[0].public_message) from failures[0] if failures else BackendError()
    return answers
