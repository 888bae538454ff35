"""Capabilities, asked for once: what a backend can do beside answering decides which doors open."""

import logging
from typing import Protocol, runtime_checkable

import trio

from finger19_1 import Backend, BackendError, DictBackend
from finger19_2 import PATIENCE
from finger19_2 import FingerService as ReadingService
from house.doors import finger, open_door, setter
from house.service import Unavailable, check_status
from house.web import make_app, serve_web

LOG = logging.getLogger("finger")


@runtime_checkable
class SetsStatus(Protocol):
    """A backend that can store statuses."""

    async def set_user(self, user: str, status: str) -> None:
        """Store a status, whole or not at all. Raise BackendError."""


class FingerService(ReadingService):
    """What doors ask. `can_set` says at once, and once for all, whether statuses can be set."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._sets = backend if isinstance(backend, SetsStatus) else None

    @property
    def can_set(self) -> bool:
        return self._sets is not None

    async def set_user(self, user: str, status: str) -> None:
        check_status(user, status)
        if self._sets is None:
            raise ValueError("Statuses cannot be set here")
        try:
            with trio.fail_after(PATIENCE):
                await self._sets.set_user(user.lower(), status)
        except (BackendError, trio.TooSlowError) as error:
            LOG.warning("cannot set the status of %r: %s", user, error)
            raise Unavailable from error


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    setter_port: int | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FingerService(backend or DictBackend())
    if setter_port is not None and not service.can_set:
        raise SystemExit("A setter needs a backend with set_user; this one can only be read")
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, service, host, 7979))
        await nursery.start(serve_web, make_app(service), host, 8000)
        if setter_port is not None:
            await nursery.start(open_door(setter, service, host, setter_port))
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
