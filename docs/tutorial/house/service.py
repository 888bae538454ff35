"""What doors ask. They know this file and nothing behind it."""

from collections.abc import Mapping
from typing import Protocol

import trio

LONGEST = 200  # characters of a status


class Unavailable(Exception):  # noqa: N818 - it is an answer, too
    """There is no answer now. The reason has been logged, and is no business of the client."""


class Service(Protocol):
    """What a door can ask."""

    async def get_user(self, user: str) -> str | None:
        """Return a status, or None if there is no such user. Raise Unavailable."""

    async def set_user(self, user: str, status: str) -> None:
        """Store a status. Raise ValueError, with words for the user, or Unavailable."""


def check_status(user: str, status: str) -> None:
    """Raise ValueError, with words for the user, if a name or a status is not acceptable."""
    if not (user.isascii() and user.isalnum() and len(user) <= 32):
        raise ValueError("A user name has 1 to 32 letters and digits")
    if not status.isprintable() or len(status) > LONGEST:
        raise ValueError(f"A status has at most {LONGEST} printable characters")


class DictService:
    """A service that keeps its statuses in memory."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = dict(users)

    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self._users.get(user)

    async def set_user(self, user: str, status: str) -> None:
        await trio.lowlevel.checkpoint()
        check_status(user, status)
        self._users[user.lower()] = status
