from functools import partial
from unittest import mock

import trio

import house.doors
from harness import Step
from house.doors import finger, read_lines, serve_client
from house.service import DictService, Service

USERS = {"moshez": "Happy and well"}
door = partial(serve_client, finger, DictService(USERS))


async def without_guard(stream: trio.abc.HalfCloseableStream) -> None:
    text = await finger(DictService(USERS), stream)
    await stream.send_all(f"{text}\r\n".encode())


async def one_piece(service: Service, stream: trio.abc.HalfCloseableStream) -> str:
    """It takes what comes first for the whole query, which works on every developer's machine."""
    query = bytes(await stream.receive_some()).decode(errors="replace")
    return await service.get_user(query.strip()) or "No such user"


async def echoing(service: Service, stream: trio.abc.HalfCloseableStream) -> str:
    """It tells which user it does not know, escape sequences included."""
    [query] = await read_lines(stream, 1)
    return await service.get_user(query.strip()) or f"No such user: {query}"


async def patient(stream: trio.abc.HalfCloseableStream) -> None:
    with mock.patch.object(house.doors, "DEADLINE", 1e6):
        await door(stream)


MUTANTS = {
    "no guard for broken connections": without_guard,
    "a query in pieces is misread": partial(serve_client, one_piece, DictService(USERS)),
    "control characters come back": partial(serve_client, echoing, DictService(USERS)),
    "no deadline": patient,
}


def attack(step: Step) -> None:
    """Mistakes are put into the door, one at a time: its tests must notice each, and accept the door as it is."""
    check_door = step["check_door"]
    check_door(door)
    for mistake, mutant in MUTANTS.items():
        try:
            check_door(mutant)
        except Exception:  # noqa: BLE001, S112 - whatever it is, it has been noticed
            continue
        raise AssertionError(f"not noticed: {mistake}")
