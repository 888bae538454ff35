"""Doors that know only the contract: whatever a backend does, they get an answer or Unavailable, and in time."""

import logging

import trio

from finger19_1 import Backend, BackendError, DictBackend
from house.doors import finger, open_door
from house.service import Unavailable
from house.web import make_app, serve_web

LOG = logging.getLogger("finger")
PATIENCE = 3.0  # seconds that a backend has for one answer


class FingerService:
    """What doors ask; see house/service.py. It bounds what a backend may do to them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get_user(self, user: str) -> str | None:
        try:
            with trio.fail_after(PATIENCE):
                status = await self._backend.get_user(user)
        except (BackendError, trio.TooSlowError) as error:
            LOG.warning("no answer about %r: %s", user, str(error) or f"nothing for {PATIENCE:g} s")
            raise Unavailable from error
        except Exception as error:
            LOG.exception("the backend broke its contract about %r", user)
            raise Unavailable from error
        return (
            None if status is None else "".join(each if each.isprintable() or each == "\n" else "?" for each in status)
        )

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
