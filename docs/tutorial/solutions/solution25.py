"""A door as a package would have it: the time of day (RFC 867), with an option for its greeting."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from unittest import mock

import trio

import doors25
import finger25
from doors25 import Door, Start
from harness import Step


@dataclass(frozen=True)
class Daytime:
    port: int
    greeting: str


def open_daytime(options: Daytime, door: Door) -> Start:
    async def serve(stream: trio.SocketStream) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(f"{options.greeting} {now}\r\n".encode())

    return partial(trio.serve_tcp, serve, options.port, host=door.host)


DOORS: Mapping[str, Mapping[str, object]] = {"daytime": {"port": 1300, "greeting": "It is"}}


async def main(host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    # In a package of its own, an entry point in pyproject.toml takes the place of this line.
    with mock.patch.dict(doors25.BUILT_IN, {"daytime": open_daytime}):
        await finger25.main(DOORS, host, task_status=task_status)


async def check(step: Step) -> None:
    async with step.running():
        assert (await step.ask(b"", port=1300)).startswith(b"It is 20")


if __name__ == "__main__":
    trio.run(main)
