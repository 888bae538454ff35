import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from harness import Step

WRONG = """
hots = "127.0.0.1"
[users]
moshez = "Happy and well"
[doors.finger]
port = "79"
[doors.seter]
port = 1079
"""
RIGHT = """
[users]
moshez = "Happy and well"
[doors.finger]
port = 7979
"""


async def output_of(process: trio.Process) -> str:
    assert process.stdout is not None
    output = b""
    async for data in process.stdout:
        output += data
    return output.decode()


async def attack(step: Step) -> None:
    """The file has three mistakes: all are told at once, nothing starts, and the status says that it is the file."""
    assert step["read_config"]
    with TemporaryDirectory() as folder, trio.fail_after(100):
        file = Path(folder, "finger.toml")
        file.write_text(WRONG)
        async with step.program(file) as process:
            output = await output_of(process)
            for part in ("hots: no such key", "finger.port: expected int", "did you mean setter?"):
                assert part in output, f"{part!r} is not said, only: {output}"
            assert await process.wait() == 78
        file.write_text(RIGHT)
        async with step.program(file) as process:
            assert process.stdout is not None
            assert b"Serving finger" in await process.stdout.receive_some()
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
            process.send_signal(signal.SIGTERM)
            assert "Stopping" in await output_of(process)
            assert await process.wait() == 0
