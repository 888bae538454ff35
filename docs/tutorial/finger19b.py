"""A backend that asks the finger program of this machine."""

import subprocess
from collections.abc import Sequence
from functools import partial

import trio

import finger19a
from finger09 import read
from finger19_1 import Backend, BackendError

AT_ONCE = 4  # programs that run at the same time


class CommandBackend:
    """What a program prints about a user. No output means: no such user. A bad exit status means: ask later."""

    def __init__(self, program: Sequence[str] = ("finger",)) -> None:
        self._program = list(program)
        self._turns = trio.CapacityLimiter(AT_ONCE)

    async def get_user(self, user: str) -> str | None:
        if not user or "@" in user:
            await trio.lowlevel.checkpoint()
            return None
        command = [*self._program, "--", user]
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        async with self._turns, trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            output = await read(process.stdout)
            with trio.move_on_after(1):
                await process.wait()
            nursery.cancel_scope.cancel()
        if process.returncode != 0:
            raise BackendError(f"{self._program[0]} ended with status {process.returncode}")
        return output.decode(errors="replace").strip() or None


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await finger19a.main(backend or CommandBackend(), host, task_status=task_status)


if __name__ == "__main__":
    trio.run(main)
