"""The program, with an exception on demand in each supervised task.

    SABOTAGE=DIRECTORY python -m faults.sabotaged serve --config FILE

Each running task has a datagram socket DIRECTORY/TASK; a datagram makes the task fail. While the task is down there is
no socket. SABOTAGE_POLICY may hold changes to the restart policy, as JSON.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from fingertrio.cli import main as cli
from fingertrio.server import app
from fingertrio.server.supervisor import RestartPolicy, Serve, Supervised, supervise


class SabotageError(Exception):
    """Raised in a task by request."""


def sabotaged(task: Supervised, directory: Path) -> Supervised:
    """The same task, which can be made to fail."""
    path = directory / task.name

    async def wait_for_sabotage(order: trio.socket.SocketType) -> None:
        await order.recv(16)
        raise SabotageError(f"{task.name} was sabotaged")

    async def serve(stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]]) -> None:
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as order:
            await order.bind(os.fspath(path))
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait_for_sabotage, order)
                    await task.serve(stopping, task_status=task_status)
                    nursery.cancel_scope.cancel()
            finally:
                path.unlink()

    served: Serve = serve
    return Supervised(task.name, served)


def main() -> None:
    """As `python -m fingertrio`, with tasks that fail on demand."""
    directory = Path(os.environ.pop("SABOTAGE"))
    policy = RestartPolicy(**json.loads(os.environ.pop("SABOTAGE_POLICY", "{}")))

    async def supervise_sabotaged(tasks: Sequence[Supervised], **options: Any) -> None:
        await supervise([sabotaged(task, directory) for task in tasks], policy=policy, **options)

    vars(app)["supervise"] = supervise_sabotaged
    cli.main()


if __name__ == "__main__":
    main()
