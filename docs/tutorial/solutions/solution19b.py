"""An empty environment for the program: it needs no secrets of ours, and PATH is set by us."""

import trio

from finger19a import main as serve
from finger19b import CommandBackend
from harness import Step


async def main(
    program: tuple[str, ...] = ("finger",),
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    clean = ("env", "-i", "PATH=/usr/bin:/bin", "LANG=C.UTF-8", *program)
    await serve(CommandBackend(clean), host, task_status=task_status)


async def check(step: Step) -> None:
    show = "env | cut -d= -f1 | grep -vE '^(PWD|SHLVL|_)$' | sort | tr '\\n' ' '"
    async with step.running(program=("sh", "-c", show)):
        assert await step.ask(b"ada\r\n") == b"LANG PATH\r\n"


if __name__ == "__main__":
    trio.run(main)
