"""The contract: what a source of statuses is, and a service that works with any of them."""

import logging
from collections.abc import Mapping
from typing import Protocol

import trio

from finger07 import USERS
from house.doors import finger, open_door
from house.service import Unavailable
from house.web import make_app, serve_web

LOG = logging.getLogger("finger")


class BackendError(Exception):
    """A backend cannot answer now."""


class Backend(Protocol):
    """A source of statuses.

    It is called by many tasks at the same time, and each call may be cancelled at any checkpoint.
    """

    async def get_user(self, user: str) -> str | None:
        """Return a status, or None if there is no such user. Raise BackendError if that cannot be found out."""


class DictBackend:
    """The smallest backend."""

    def __init__(self, users: Mapping[str, str] = USERS) -> None:
        self._users = users

    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self._users.get(user)


class FingerService:
    """What doors ask; see house/service.py. It asks a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get_user(self, user: str) -> str | None:
        try:
            return await self._backend.get_user(user)
        except BackendError as error:
            LOG.warning("no answer about %r: %s", user, error)
            raise Unavailable from error

    async def set_user(self, user: str, status: str) -> None:
        raise ValueError(f"The status of {user} cannot be set to {status} here")


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FingerService(backend or DictBackend())
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, service, host, 7979))
        await nursery.start(serve_web, make_app(service), host, 8000)
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
