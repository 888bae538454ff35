"""Another capability: a backend that can list its users, and a finger door that lists them only then."""

from typing import Protocol, runtime_checkable

import trio

from finger19_1 import Backend, DictBackend
from finger19_3 import FingerService
from harness import Step
from house.doors import open_door, read_lines
from house.service import Service
from house.wire import user_of


@runtime_checkable
class ListsUsers(Protocol):
    async def get_users(self) -> list[str]: ...


class ListingBackend(DictBackend):
    async def get_users(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return sorted(self._users)


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    backend = backend or ListingBackend()
    lists = backend if isinstance(backend, ListsUsers) else None

    async def finger(service: Service, stream: trio.abc.HalfCloseableStream) -> str:
        [query] = await read_lines(stream, 1)
        if not (user := user_of(query)):
            return "\r\n".join(await lists.get_users()) if lists else "The users are not listed here"
        return await service.get_user(user) or "No such user"

    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, FingerService(backend), host, 7979))
        task_status.started()


async def check(step: Step) -> None:
    async with step.running():
        assert await step.ask(b"\r\n") == b"moshez\r\n"
    async with step.running(backend=DictBackend()):
        assert await step.ask(b"\r\n") == b"The users are not listed here\r\n"


if __name__ == "__main__":
    trio.run(main)
