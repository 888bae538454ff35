import os
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from harness import Step

CLOCK_JUMPS = True


def replace(path: Path, text: str) -> None:
    """Write a file as a whole. One that is written in place is empty for a moment, and an empty file is a good file."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def becomes(step: Step, answer: bytes) -> None:
    """Wait until the step gives this answer about Ada."""
    said = b""
    with trio.move_on_after(600):
        while said != answer:
            await trio.sleep(1)
            said = await step.ask(b"ada\r\n")
    assert said == answer, f"the answer stays {said!r}"


async def attack(step: Step) -> None:
    """The file changes, then breaks, then becomes a pipe without a writer: the last good statuses stay."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "users.txt")
        path.write_text("ada: Weaving\n")
        async with step.running(path=path):
            replace(path, "ada: Reading\n")
            await becomes(step, b"Reading\r\n")
            replace(path, "ada: Sleeping\nthis line is only half wri")
            await trio.sleep(10)
            await becomes(step, b"Reading\r\n")
            path.unlink()
            os.mkfifo(path)
            await trio.sleep(10)
            await becomes(step, b"Reading\r\n")
            replace(path, "ada: Back\n")
            await becomes(step, b"Back\r\n")
