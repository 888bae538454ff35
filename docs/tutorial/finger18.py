"""The same server in rooms: this file puts them together, and says which room may import which."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import trio

from finger07 import USERS
from house.doors import finger, open_door, setter
from house.service import DictService
from house.web import make_app, serve_web

HOUSE = Path(__file__).with_name("house")

# A room may import what is in its row, and the standard library.
ROOMS = {
    "wire": set[str](),
    "rpc": set[str](),
    "service": {"trio"},
    "doors": {"trio", "house.service", "house.wire"},
    "web": {"trio", "hypercorn", "quart", "quart_trio", "house.service", "house.rpc"},
}
FOREIGN = {"trio", "hypercorn", "quart", "quart_trio", "httpx", "sqlite3"}


def imports(path: Path) -> Iterator[str]:
    """Return what a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def violations(folder: Path = HOUSE) -> list[str]:
    """Return the imports that the table forbids."""
    found = []
    for path in sorted(folder.glob("[a-z]*.py")):
        for name in imports(path):
            ours = name.startswith(("house", "finger")) or name.partition(".")[0] in FOREIGN
            if ours and not any(name == each or name.startswith(f"{each}.") for each in ROOMS.get(path.stem, ())):
                found.append(f"{path.stem} must not import {name}")
    return found


async def main(
    users: Mapping[str, str] = USERS,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = DictService(users)
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, service, host, 7979))
        await nursery.start(open_door(setter, service, host, 1079))
        await nursery.start(serve_web, make_app(service), host, 8000)
        task_status.started()


if __name__ == "__main__":
    for violation in violations():
        print(violation)
    trio.run(main)
